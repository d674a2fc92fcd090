"""Which K no camera has, and which was made for images of another size."""

from __future__ import annotations

import numpy as np

CAMERA_REMEDY = 'Write {"fx": 600, "fy": 600, "cx": 320, "cy": 240, "width": 640, "height": 480}.'
_RATIOS = (0.25, 1 / 3, 0.5, 2 / 3, 1.5, 2.0, 3.0, 4.0)  # of image sizes people confuse


def impossible(K: np.ndarray, width: int, height: int) -> tuple[str, str]:
    """What makes a K (OpenCV's convention) impossible for images of a size, and what to do."""
    if K.shape != (3, 3) or not np.isfinite(K).all():
        return "", ""  # `Camera` says so
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    text = f"fx {fx:.4g}, fy {fy:.4g}, cx {cx:.4g}, cy {cy:.4g}"
    if abs(K[2, 2]) < 1e-6 or abs(K[2, :2]).max() > 1e-6 or abs(K[1, 0]) > 1e-6 * abs(fx):
        return "camera matrix is not [[fx, s, cx], [0, fy, cy], [0, 0, 1]]", CAMERA_REMEDY
    if 0 < max(abs(fx), abs(fy)) < 20 and max(abs(cx), abs(cy)) < 2:
        return (
            f"K is not in pixels but in parts of the image's size ({text})",
            "Multiply fx and cx by the width, fy and cy by the height; make all positive.",
        )
    if fx <= 0 or fy <= 0:
        return f"K has no valid focal lengths ({text})", CAMERA_REMEDY
    if abs(cx) < 1 and abs(cy) < 1:
        return f"K has no principal point ({text})", "State cx and cy, near the image's middle."
    view = 2 * np.degrees(np.arctan(width / 2 / fx))
    if not 1 < view < 165:
        return (
            f"fx {fx:.4g} gives {width} pixels a field of view of {view:.3g} degrees",
            "State fx and fy in pixels, not in millimetres.",
        )
    if not 0.4 < fx / fy < 2.5:
        return f"fx {fx:.4g} and fy {fy:.4g} are not of one lens", CAMERA_REMEDY
    if abs(K[0, 1]) > 0.1 * fx:
        return f"K has a skew of {K[0, 1]:.4g} pixels, which no camera has", CAMERA_REMEDY
    if not (-2 * width < cx < 3 * width and -2 * height < cy < 3 * height):
        return f"K has its principal point far outside the image ({text})", CAMERA_REMEDY
    return "", ""


def size_ratio(K: np.ndarray, width: int, height: int) -> float | None:
    """How many times larger the images are that K was made for, by its principal point.

    None where it lies near the middle of images of this size, or nowhere telling.
    """
    off = ((K[0, 2] + 0.5) / (width / 2), (K[1, 2] + 0.5) / (height / 2))
    ratio = min(_RATIOS, key=lambda r: abs(off[0] / r - 1) + abs(off[1] / r - 1))
    return ratio if max(abs(off[0] / ratio - 1), abs(off[1] / ratio - 1)) < 0.12 else None
