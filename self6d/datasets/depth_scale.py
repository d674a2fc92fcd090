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
    """Metres per unit guessed from some raw depth images, (H, W) each; noted unless plain mm."""
    valid = [a[np.isfinite(a) & (a > 0)].ravel()[::7] for a in samples]
    values = np.concatenate(valid) if valid else np.zeros(0)
    if values.size == 0:
        return 1e-3
    median = float(np.median(values))
    is_float = values.dtype.kind == "f"
    if is_float and median < 50:
        return 1.0
    if _NEAR_M <= median * 1e-3 <= _FAR_M or is_float:
        if is_float:
            note(path, f"depth is a decimal number of about {median:.0f}; read as millimetres")
        return 1e-3
    for name, scale in KNOWN.items():
        if _NEAR_M <= median * scale <= _FAR_M:
            note(path, f"no depth scale stated; values of about {median:.0f} read as {name}")
            return scale
    note(path, f"no depth scale stated; values of about {median:.0f} read as millimetres")
    return 1e-3


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
