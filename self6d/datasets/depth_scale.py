"""Metres per depth unit: from what a camera file states, else from the values themselves.

Writers mean three different things by `depth_scale`: millimetres per unit (BOP: 1.0, 0.1), units
per metre (TUM 5000, Open3D 1000, YCB-Video 10000) and metres per unit (RealSense 0.001). The
three ranges do not overlap for any real depth camera.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from self6d.files import note

KNOWN = {"millimetres": 1e-3, "1/5000 m (TUM)": 1 / 5000, "1/10000 m (YCB-Video)": 1e-4}
UNSTATED = "depth scale is not stated"  # but hardly in doubt
_NEAR_M, _FAR_M = 0.15, 8.0  # where the middle of a tabletop or room recording lies


def from_statement(value: float, path: Path) -> float:
    """Metres per unit for a `depth_scale` of unknown meaning."""
    if value >= 100:
        scale, meaning = 1 / value, "units per metre"
    elif value < 0.005:
        scale, meaning = value, "metres per unit"
    else:
        scale, meaning = value / 1000, "millimetres per unit"
    if value != 1.0:
        note(path, f"depth scale {value:g} read as {meaning}")
    return scale


def from_values(samples: Iterable[np.ndarray], path: Path) -> float:
    """Metres per unit guessed from some raw depth images, (H, W) each, with a note."""
    scale, how = likely(samples)
    if how:
        note(path, f"{how}; if that is wrong, write depth_scale (mm per unit) into the camera file")
    return scale


def likely(samples: Iterable[np.ndarray]) -> tuple[float, str]:
    """Metres per unit that raw depth images look like, and how that was judged."""
    valid = [a[np.isfinite(a) & (a > 0)].ravel()[::7] for a in samples]
    values = np.concatenate(valid) if valid else np.zeros(0)
    if values.size == 0:
        return 1e-3, ""
    median = float(np.median(values))
    is_float = values.dtype.kind == "f"
    if is_float and median < 50:
        return 1.0, f"{UNSTATED}: decimals of about {median:.2g} read as metres"
    if _NEAR_M <= median * 1e-3 <= _FAR_M or is_float:
        kind = "decimals" if is_float else "values"
        return 1e-3, f"{UNSTATED}: {kind} of about {median:.0f} read as millimetres"
    name, scale = next(
        ((n, s) for n, s in KNOWN.items() if _NEAR_M <= median * s <= _FAR_M),
        ("millimetres", 1e-3),
    )
    return scale, f"no depth scale stated; values of about {median:.0f} read as {name}"


def of_floats(scale: float, samples: Iterable[np.ndarray], path: Path) -> float:
    """A stated scale, except where decimals are plainly metres and it would make them millimetres.

    Writers of decimals in metres state 1.0, which elsewhere means one millimetre a unit.
    """
    valid = [a[np.isfinite(a) & (a > 0)].ravel()[::7] for a in samples if a.dtype.kind == "f"]
    values = np.concatenate(valid) if valid else np.zeros(0)
    median = float(np.median(values)) if values.size else 0.0
    if _NEAR_M <= median <= _FAR_M and median * scale < 0.01:
        note(path, f"depth is a decimal number of about {median:.2g}; read as metres")
        return 1.0
    return scale
