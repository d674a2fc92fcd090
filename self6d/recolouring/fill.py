"""Colours for what no frame showed: the CAD's, changed as seen ones were, or the neighbours'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

Filling = Literal["none", "changed", "diffused"]

_FLAT = 2.0  # LAB units of deviation below which a CAD's colours say nothing
_PULL = 1.0  # LAB units squared: how much a change of colour is drawn to none
_ANCHOR = 1e-4  # pull to the nearest seen vertex, for parts that no edge joins to a seen one
_NEIGHBOURS = 8


@dataclass(frozen=True, eq=False)
class Filled:
    """Colours of all vertices.

    Attributes:
        color: (V, 3) float32, sRGB in [0, 1].
        filling: how those not seen got theirs: "changed": the CAD's with the change fitted on the
            seen ones; "diffused": from their neighbours; "none": all were seen.
        residual: median distance in LAB that the fitted change leaves on seen vertices; NaN unless
            "changed".
    """

    color: np.ndarray
    filling: Filling
    residual: float = float("nan")


def filled(
    own: np.ndarray,
    has_color: bool,
    seen: np.ndarray,
    color: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
) -> Filled:
    """Colours of seen vertices, and of the others by what is known.

    Args:
        own: (V, 3), sRGB, the CAD's. has_color: whether it means anything.
        seen: (n,) int64, at least one. color: (n, 3), sRGB, theirs.
        vertices: (V, 3), metres. faces: (F, 3).
    """
    whole = own.astype(np.float32).copy()
    rest = np.setdiff1d(np.arange(len(own)), seen)
    whole[seen] = color
    if not len(rest):
        return Filled(whole, "none")
    before, after = to_lab(own), to_lab(color)
    if has_color and before[seen].std(0).max() > _FLAT:
        change = lab_change(before[seen], after)
        whole[rest] = from_lab(_with_one(before[rest]) @ change)
        left = np.linalg.norm(_with_one(before[seen]) @ change - after, axis=1)
        return Filled(whole, "changed", float(np.median(left)))
    whole[rest] = from_lab(_diffused(seen, after, rest, vertices, faces))
    return Filled(whole, "diffused")


def lab_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Affine change of LAB colours, fitted by Huber's loss.

    Args:
        before, after: (n, 3), LAB.

    Returns:
        (4, 3): `[before, 1] @ change` is near `after`; drawn to the identity where the colours say
        too little.
    """
    design, identity = _with_one(before), np.eye(4, 3)
    weight = np.ones(len(before))
    pull = np.diag([_PULL * len(before)] * 3 + [0.0]) + 1e-9 * np.eye(4)
    change = identity
    for _ in range(10):
        left = design.T * weight
        change = np.linalg.solve(left @ design + pull, left @ after + pull @ identity)
        off = np.linalg.norm(design @ change - after, axis=1)
        bound = 1.345 * max(1.4826 * float(np.median(off)), 0.5)
        weight = np.minimum(1, bound / np.maximum(off, 1e-9))
    return change


def _diffused(
    seen: np.ndarray, color: np.ndarray, rest: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """(n, 3): the harmonic function on the mesh that has the seen vertices' colours."""
    # corners at one place are one, so that colours cross seams
    _, place = np.unique(vertices, axis=0, return_inverse=True)
    place = place.reshape(-1)
    count = int(place.max()) + 1
    known = np.zeros(count, bool)
    known[place[seen]] = True
    value = np.zeros((count, 3))
    share = np.bincount(place[seen], minlength=count)
    for c in range(3):
        value[:, c] = np.bincount(place[seen], color[:, c], count) / np.maximum(share, 1)
    ends = place[np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))]
    i, j = np.concatenate((ends, ends[:, ::-1])).T
    joined = coo_matrix((np.ones(len(i)), (i, j)), (count, count)).tocsr()
    joined.data[:] = 1
    degree = np.asarray(joined.sum(1)).ravel()
    near = cKDTree(vertices[seen])
    at = np.zeros((count, 3))
    at[place] = vertices
    unknown = np.flatnonzero(~known)
    if len(unknown):
        k = min(_NEIGHBOURS, len(seen))
        _, index = near.query(at[unknown], k=[*range(1, k + 1)])
        nearest = color[index].mean(1)
        matrix = (diags(degree + _ANCHOR) - joined).tocsr()[unknown]
        right = _ANCHOR * nearest - matrix[:, known] @ value[known]
        value[unknown] = splu(matrix[:, unknown].tocsc()).solve(np.asarray(right))
    return value[place[rest]]


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """(n, 3) sRGB in [0, 1] -> (n, 3) float64 CIELAB, D65."""
    return cv2.cvtColor(rgb[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0].astype(np.float64)


def from_lab(lab: np.ndarray) -> np.ndarray:
    """Inverse of `to_lab`, clipped to what sRGB holds."""
    return cv2.cvtColor(lab[None].astype(np.float32), cv2.COLOR_LAB2RGB)[0].clip(0, 1)


def _with_one(lab: np.ndarray) -> np.ndarray:
    return np.concatenate((lab, np.ones((len(lab), 1))), axis=1)
