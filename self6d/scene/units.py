"""Size of a mesh: its diameter, and which unit its file was written in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from self6d.errors import InputError
from self6d.files import note

METRES_PER_UNIT = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254}
_RARE = {"foot": 0.3048, "micrometre": 1e-6}  # that files state and people do not name
PLAUSIBLE_M = (0.01, 2.0)  # objects a hand or a table can hold
_USUAL_M = 0.15
_UNUSUAL = {  # factors of e in size that speak against a unit, by what programs write
    "stl": {"mm": 0.0, "m": 0.0, "inch": 1.0, "cm": 1.2},
    "other": {"mm": 0.0, "m": 0.0, "cm": 1.2, "inch": 2.3},
    "gltf": {"mm": 0.0, "m": 0.0, "cm": 1.2, "inch": 2.3},
}
_CLEAR = 1.5
_NAME_IT = "; if that is wrong, name it: --unit, or models.unit"
UNSTATED = "unit is not stated"  # but hardly in doubt


class Measured(NamedTuple):
    """A mesh file and what is known of its size.

    Attributes:
        size: diameter in the file's unit.
        declared_mm: the diameter a models_info file beside it states, millimetres.
        metres: metres per unit, where the file itself states that (STEP, 3MF, DAE).
    """

    path: Path
    size: float
    declared_mm: float | None = None
    metres: float | None = None


def unit_name(metres: float) -> str:
    """What a unit of that many metres is called."""
    names = {**METRES_PER_UNIT, **_RARE}
    return next((u for u, m in names.items() if abs(metres / m - 1) < 1e-6), f"{metres:g} m")


def _metres_of(name: str) -> float:
    """The inverse of `unit_name`."""
    known = {**METRES_PER_UNIT, **_RARE}.get(name)
    return float(name.removesuffix(" m")) if known is None else known


def diameter(points: np.ndarray) -> float:
    """Largest distance between two points (N, 3), in their unit (BOP's definition).

    The two farthest points lie on the convex hull, so only its corners are compared.
    """
    corners = _hull(np.unique(_far_out(np.asarray(points, dtype=np.float64)), axis=0))
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


def _far_out(points: np.ndarray) -> np.ndarray:
    """Those of points (N, 3) that the largest distance can end at, by the triangle inequality."""
    if len(points) < 8:
        return points
    out = np.linalg.norm(points - points.mean(0), axis=1)
    end = points[np.linalg.norm(points - points[out.argmax()], axis=1).argmax()]
    least = np.linalg.norm(points - end, axis=1).max()  # there are two so far apart
    return points[~(out + out.max() < least * (1 - 1e-9))]


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


def check_unit(unit: str) -> None:
    """Refuse a name that is no unit, also where no file is read in it this time.

    Raises:
        InputError: unknown unit.
    """
    if unit != "auto" and unit not in METRES_PER_UNIT:
        names = ", ".join(["auto", *METRES_PER_UNIT])
        raise InputError(f"unit {unit!r} is unknown", remedy=f"Use one of {names}.")


def metres_per_units(
    meshes: Sequence[Measured], unit: str = "auto"
) -> list[tuple[float, str | None]]:
    """Metres per unit of mesh files that belong together, and so were likely written alike.

    A file that states its unit is read in it. Where nothing states the unit, it is the one that
    brings the sizes nearest to what a hand holds, with what is usual for the format in its favour;
    every choice is noted.

    Args:
        meshes: the files and their sizes.
        unit: "auto", "m", "cm", "mm" or "inch"; one named leaves alone what states its own, unless
            all do.

    Returns:
        for each file metres per unit, and the unit where it was guessed, else None.

    Raises:
        InputError: unknown unit, or no unit gives an object between 1 cm and 2 m.
    """
    check_unit(unit)
    if unit != "auto":
        return _named(meshes, unit)
    found: list[tuple[float, str | None]] = [(1.0, None)] * len(meshes)
    alike: dict[str, list[int]] = {}
    for i, (path, size, declared_mm, metres) in enumerate(meshes):
        if not np.isfinite(size) or size <= 0:
            raise InputError("mesh has no extent", path=path, remedy="Export it again.")
        if metres is not None:
            found[i] = (_stated(meshes[i], metres), None)
        elif declared_mm is not None:
            found[i] = (_declared(size, declared_mm, path), None)
        else:
            alike.setdefault(_habit(path), []).append(i)
    for habit, rows in alike.items():
        alone = not _fitting([meshes[i].size for i in rows])  # not written alike
        for group in [[i] for i in rows] if alone else [rows]:
            scale, guessed = _guess([meshes[i][:2] for i in group], habit)
            for i in group:
                found[i] = (scale, guessed)
    return found


def _named(meshes: Sequence[Measured], unit: str) -> list[tuple[float, str | None]]:
    """The unit is for meshes that state none; where all state one, for all of them."""
    scale = METRES_PER_UNIT[unit]
    of_some = any(m.declared_mm is None and m.metres is None for m in meshes)
    found: list[tuple[float, str | None]] = []
    for path, size, declared_mm, metres in meshes:
        own, stated = metres, "" if metres is None else f"it states {unit_name(metres)}"
        if own is None and declared_mm is not None:
            agreeing = _agreeing(size, declared_mm)
            own = None if agreeing is None else METRES_PER_UNIT[agreeing]
            stated = f"its models_info states a diameter of {declared_mm:.4g} mm"
        if own is not None and abs(own / scale - 1) > 1e-6:
            if of_some:
                stays = f"so it stays in {unit_name(own)}; {unit} is for models that state none"
                note(path, f"{stated}, {stays}")
                found.append((own, None))
                continue
            note(path, f"in {unit}, as named, it measures {1000 * size * scale:.4g} mm; {stated}")
        elif not is_plausible(size * scale):
            text = f"in {unit}, as named, the object measures {size * scale:.3g} m"
            note(path, f"{text}, which is implausible; check the unit")
        found.append((scale, None))
    return found


def is_plausible(size_m: float) -> bool:
    """Whether objects of this diameter, metres, are what a hand or a table can hold."""
    return PLAUSIBLE_M[0] <= size_m <= PLAUSIBLE_M[1]


def other_units(unit: str, size_m: float) -> dict[str, float]:
    """Units that give a plausible size as well, each with the factor it differs by.

    Args:
        unit: the one taken, as `unit_name` names it. size_m: diameter it gives, metres.
    """
    taken = _metres_of(unit)
    factors = {u: m / taken for u, m in METRES_PER_UNIT.items() if u != unit}
    return {u: factor for u, factor in factors.items() if is_plausible(factor * size_m)}


def _habit(path: Path) -> str:
    suffix = path.suffix.lower()
    return "gltf" if suffix in (".glb", ".gltf") else "stl" if suffix == ".stl" else "other"


def _fitting(sizes: Sequence[float]) -> list[str]:
    return [u for u, m in METRES_PER_UNIT.items() if all(is_plausible(s * m) for s in sizes)]


def _guess(meshes: Sequence[tuple[Path, float]], habit: str) -> tuple[float, str | None]:
    path, size = meshes[0]
    fits = _fitting([s for _, s in meshes])
    if not fits:
        raise InputError(
            f"mesh of diameter {size:.4g} is larger than 2 m or smaller than 1 cm in any unit",
            path=path,
            remedy="Export it again at its right size, or name a unit all the same: "
            "--unit m, cm, mm or inch.",
        )
    middle = float(np.exp(np.mean([np.log(s) for _, s in meshes])))
    cost = {
        u: abs(np.log(middle * METRES_PER_UNIT[u] / _USUAL_M)) + _UNUSUAL[habit][u] for u in fits
    }
    if habit == "gltf" and "m" in fits:  # glTF is in metres by definition
        return 1.0, None
    first, *rest = sorted(fits, key=lambda u: cost[u])
    doubtful = [u for u in rest if cost[u] - cost[first] < _CLEAR]
    clear = not doubtful and first in ("mm", "m") and habit != "gltf"
    sizes = "; ".join(
        f"{u}: {', '.join(f'{100 * s * METRES_PER_UNIT[u]:.3g}' for _, s in meshes[:3])} cm"
        for u in (() if clear else doubtful or rest)
    )
    note(
        path,
        (UNSTATED if clear else "unit is ambiguous")
        + f" (diameter {size:.4g}): taken as {first}, so the object measures "
        + f"{100 * size * METRES_PER_UNIT[first]:.3g} cm"
        + (f" ({sizes})" if sizes else "")
        + ("" if len(meshes) == 1 else f", and so for the {len(meshes)} files there")
        + _NAME_IT,
    )
    return METRES_PER_UNIT[first], first


def _agreeing(size: float, declared_mm: float) -> str | None:
    """The unit in which a mesh is as large as models_info states, if there is one."""
    return next(
        (u for u, m in METRES_PER_UNIT.items() if abs(1000 * size * m / declared_mm - 1) < 0.1),
        None,
    )


def _stated(mesh: Measured, metres: float) -> float:
    """Metres per unit that the file itself states, and what speaks against it."""
    name, size_mm = unit_name(metres), 1000 * mesh.size * metres
    said = f"is in {name}, as it states"
    declared = mesh.declared_mm
    if declared is not None and not 0.9 < size_mm / declared < 1.1:
        said += f", and so measures {size_mm:.4g} mm, not the {declared:.4g} mm of models_info"
    elif not is_plausible(size_mm / 1000):
        said += f", and so measures {size_mm / 1000:.3g} m{_NAME_IT}"
    note(mesh.path, said)
    return metres


def _declared(size: float, declared_mm: float, path: Path) -> float:
    unit = _agreeing(size, declared_mm)
    if unit is not None:
        if unit != "mm":
            note(path, f"mesh is in {unit}, not in mm; its models_info diameter gave the unit")
        return METRES_PER_UNIT[unit]
    note(
        path,
        f"diameter {size:.4g} does not agree with models_info ({declared_mm:.4g} mm); "
        "taken as millimetres",
    )
    return METRES_PER_UNIT["mm"]
