"""What one frame shows of one posed object: which vertices, in which colours, how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from self6d.geometry import Pose
from self6d.recolouring.fuse import FuseOptions
from self6d.rendering import PackedModels, render
from self6d.scene import Frame
from self6d.scene.formats.gltf import to_linear

_NEAR_M = 0.01
_LEAST_SAMPLES = 30  # from which the sensor's noise can be told
_NOISE_M = (0.004, 0.015)  # bounds of what counts as the sensor's noise; the upper one is BOP's


@dataclass(frozen=True, eq=False)
class Look:
    """The vertices of an object that a frame shows.

    Attributes:
        vertex: (n,) int64. color: (n, 3) float32, linear light in [0, 1].
        weight: (n,) float32, cosine to the camera times pixels a metre.
    """

    vertex: np.ndarray
    color: np.ndarray
    weight: np.ndarray


def depth_of(
    frame: Frame, placed: Sequence[tuple[int, Pose]], packed: PackedModels
) -> list[np.ndarray]:
    """Rendered depth of posed objects, one by one: (H, W) float32 each, metres, infinite outside.

    Args:
        placed: position in `packed`, pose.
    """
    K = torch.tensor(frame.camera.K, dtype=packed.dtype, device=packed.device)
    found = []
    for index, pose in placed:  # one at a time: images may be large, objects many
        R, t = (
            torch.tensor(x[None], dtype=packed.dtype, device=packed.device)
            for x in (pose.R_m2c, pose.t_m2c)
        )
        place = torch.tensor([index], device=packed.device)
        view = render(R, t, K, packed, frame.camera.size, object_index=place, soft_mask=False)
        depth = view.depth_m[0].cpu().numpy()
        found.append(np.where(depth > 0, depth, np.inf))
    return found


def look(
    frame: Frame,
    pose: Pose,
    vertices: np.ndarray,
    normals: np.ndarray,
    drawn: np.ndarray,
    others: np.ndarray | None,
    step_m: float,
    options: FuseOptions,
    *,
    two_sided: bool = False,
) -> Look:
    """Vertices that a frame shows clearly, with the colours of their pixels.

    A vertex counts if it faces the camera (cosine of at least `options.cosine`), if the rendered
    depth at its pixel is its own, no silhouette or step of depth lies within `options.margin`
    pixels (poses are off by about as much), no other posed object is nearer there and, where the
    frame has depth, the sensor measured the same within its noise, and within that margin nothing
    in front.

    Args:
        vertices: (V, 3), metres. normals: (V, 3), unit or 0, outwards unless `two_sided`.
        drawn: (H, W), depth of this object alone, see `depth_of`. others: (H, W), nearest depth of
            the others, or None. step_m: change of depth that is a step, metres.
    """
    K, (h, w) = frame.camera.K, frame.camera.size
    xyz = pose.transform(vertices)
    z = xyz[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        uv = (xyz @ K.T)[:, :2] / z[:, None]
        cosine = -(normals @ pose.R_m2c.T * xyz).sum(1) / np.linalg.norm(xyz, axis=1)
    cosine = np.abs(cosine) if two_sided else cosine
    rows = np.flatnonzero(
        (z > _NEAR_M) & (cosine >= options.cosine)
        & (uv >= 0.5).all(1) & (uv[:, 0] <= w - 0.5) & (uv[:, 1] <= h - 0.5)
    )  # fmt: skip
    column, row = (np.floor(uv[rows, i]).astype(int) for i in (0, 1))
    z, cosine = z[rows], cosine[rows]
    pixel_m = z / np.sqrt(K[0, 0] * K[1, 1])
    # a pixel's centre is up to 0.7 pixels off the vertex, across which a slope changes depth
    slope = 0.75 * pixel_m * np.sqrt(1 / cosine**2 - 1) + 0.0005
    clear = ~near_edges(drawn, step_m, options.margin)
    good = clear[row, column] & (np.abs(drawn[row, column] - z) <= slope)
    if others is not None:
        hidden = _widened(others < drawn, options.margin)
        good &= ~hidden[row, column]
    if frame.depth_m is not None:
        good &= _measured(frame.depth_m, drawn, clear, options.margin)[row, column]
    rows, uv, cosine, pixel_m = rows[good], uv[rows[good]], cosine[good], pixel_m[good]
    at = (uv - 0.5).astype(np.float32)  # OpenCV's pixel centres are whole numbers
    if not len(rows):
        return Look(rows, np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    color = _sampled(frame.rgb, at) / np.float32(255)
    return Look(rows, to_linear(color), (cosine / pixel_m).astype(np.float32))


def near_edges(depth: np.ndarray, step_m: float, margin: int) -> np.ndarray:
    """(H, W) bool: pixels without depth or within so many pixels of a silhouette or a step.

    A step is a bend of depth from pixel to pixel that no smooth surface of the object makes.

    Args:
        depth: (H, W), metres, infinite outside the object. step_m: least bend, metres.
    """
    covered = np.isfinite(depth)
    filled = np.where(covered, depth, 0).astype(np.float32)
    edge = ~covered
    for axis in (0, 1):
        ahead = np.roll(filled, -1, axis)
        bend = np.abs(ahead + np.roll(filled, 1, axis) - 2 * filled)
        both = covered & np.roll(covered, -1, axis) & np.roll(covered, 1, axis)
        edge |= both & (bend > step_m)
    return _widened(edge, margin)


def _measured(sensor: np.ndarray, drawn: np.ndarray, clear: np.ndarray, margin: int) -> np.ndarray:
    """(H, W) bool: the sensor saw the object's surface there, and nothing in front beside it."""
    known = np.isfinite(sensor) & (sensor > 0)
    inside = np.isfinite(drawn)
    gap = np.where(known & inside, sensor - np.where(inside, drawn, 0), np.inf)
    near = gap[clear & (np.abs(gap) <= _NOISE_M[1])]
    middle, noise = 0.0, _NOISE_M[1]
    if len(near) >= _LEAST_SAMPLES:
        middle = float(np.median(near))
        spread = 1.4826 * float(np.median(np.abs(near - middle)))
        noise = float(np.clip(3 * spread, *_NOISE_M))
    agrees = np.abs(gap - middle) <= noise
    return agrees & ~_widened(gap < middle - noise, margin)


def _widened(mask: np.ndarray, pixels: int) -> np.ndarray:
    side = 2 * pixels + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def _sampled(rgb: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Bilinear colours (n, 3) float32, 0 to 255, at (n, 2) of OpenCV's pixel coordinates."""
    step = 30_000  # remap's outputs must be smaller than 32768 a side
    parts = [
        cv2.remap(
            rgb, a[:, None, 0], a[:, None, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        for a in np.split(at, range(step, len(at), step))
    ]
    return np.concatenate(parts)[:, 0].astype(np.float32)
