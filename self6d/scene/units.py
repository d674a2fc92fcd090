"""Size of a mesh: its diameter, and which unit its file was written in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from self6d.errors import InputError
from self6d.files import note

METRES_PER_UNIT = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254}
PLAUSIBLE_M = (0.01, 2.0)  # objects a hand or a table can hold


def diameter(points: np.ndarray) -> float:
    """Largest distance between two points (N, 3), in their unit (BOP's definition).

    The two farthest points lie on the convex hull, so only its corners are compared.
    """
    corners = _hull(np.unique(np.asarray(points, dtype=np.float64), axis=0))
    if len(corners) < 2:
        return 0.0
    if len(corners) <= 4000:
        return float(pdist(corners).max())
    largest = 0.0  # in blocks, so that memory stays flat
    squares = (corners**2).sum(1)
    for start in range(0, len(corners), 1024):
        block = corners[start : start + 1024]
        d2 = (block**2).sum(1)[:, None] + squares - 2 * block @ corners.T
        largest = max(largest, float(d2.max()))
    return float(np.sqrt(largest))


def _hull(points: np.ndarray) -> np.ndarray:
    if len(points) < 8:
        return points
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # flat: the hull in the plane that holds it
        _, _, axes = np.linalg.svd(points - points.mean(0), full_matrices=False)
        flat = (points - points.mean(0)) @ axes[:2].T
    try:
        return points[ConvexHull(flat).vertices]
    except QhullError:  # a line
        order = flat[:, 0].argsort()
        return points[order[[0, -1]]]


def metres_per_unit(
    size: float, unit: str, path: Path, *, declared_mm: float | None = None
) -> float:
    """Metres per unit of a mesh file.

    Args:
        size: diameter in the file's unit.
        unit: "auto", "m", "cm", "mm" or "inch".
        path: the mesh file, for messages and for its format (glTF is in metres by definition).
        declared_mm: the diameter a models_info file beside it states, millimetres.

    Raises:
        InputError: unknown unit, or no unit gives an object between 1 cm and 2 m.
    """
    if unit != "auto":
        if unit not in METRES_PER_UNIT:
            names = ", ".join(["auto", *METRES_PER_UNIT])
            raise InputError(f"unit '{unit}' is unknown", remedy=f"Use one of {names}.")
        return METRES_PER_UNIT[unit]
    if not np.isfinite(size) or size <= 0:
        raise InputError("mesh has no extent", path=path, remedy="Export it again.")
    if declared_mm is not None:
        return _declared(size, declared_mm, path)
    low, high = PLAUSIBLE_M
    first = "m" if path.suffix.lower() in (".glb", ".gltf") else "mm"
    fits = [u for u in METRES_PER_UNIT if low <= size * METRES_PER_UNIT[u] <= high]
    order = [u for u in (first, "mm", "m", "cm") if u in fits]
    if not order:
        raise InputError(
            f"mesh of diameter {size:.4g} is implausible in metres and in millimetres",
            path=path,
            remedy="Name the unit it was modelled in (m, cm, mm or inch).",
        )
    chosen = order[0]
    if chosen == "cm" or (chosen == "m" and "cm" in fits) or (first == "m" and chosen != "m"):
        note(
            path,
            f"unit is ambiguous (diameter {size:.4g}): taken as {chosen}, so the object measures "
            f"{100 * size * METRES_PER_UNIT[chosen]:.3g} cm; name the unit if that is wrong",
        )
    return METRES_PER_UNIT[chosen]


def _declared(size: float, declared_mm: float, path: Path) -> float:
    for scale in METRES_PER_UNIT.values():
        if abs(size * scale * 1000 / declared_mm - 1) < 0.1:
            if scale != 0.001:
                note(path, "mesh is not in millimetres; its models_info diameter gave the unit")
            return scale
    note(
        path,
        f"diameter {size:.4g} does not agree with models_info ({declared_mm:.4g} mm); "
        "taken as millimetres",
    )
    return METRES_PER_UNIT["mm"]
