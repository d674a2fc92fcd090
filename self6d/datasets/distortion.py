"""Lens distortion, undone in one place: images and depth become those of a pinhole with the same K.

Models: OpenCV's polynomial and rational one (ROS plumb_bob and rational_polynomial, RealSense brown
conrady, Kalibr radtan), OpenCV's fisheye (ROS equidistant, Kannala-Brandt) and RealSense's inverse
brown conrady. https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from self6d.errors import InputError
from self6d.files import note

Model = Literal["opencv", "fisheye", "inverse"]
_INVERSION = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-9)
_LENGTHS = {"opencv": (4, 5, 8, 12, 14), "fisheye": (4,), "inverse": (4, 5)}
_MODELS: dict[str, Model] = {
    "": "opencv", "plumbbob": "opencv", "rationalpolynomial": "opencv", "rational": "opencv",
    "brownconrady": "opencv", "modifiedbrownconrady": "opencv", "radtan": "opencv",
    "radialtangential": "opencv", "opencv": "opencv", "fullopencv": "opencv",
    "pinhole": "opencv", "perspective": "opencv", "simpleradial": "opencv", "radial": "opencv",
    "equidistant": "fisheye", "fisheye": "fisheye", "kannalabrandt": "fisheye",
    "kannalabrandt4": "fisheye", "kannalabrandt8": "fisheye", "opencvfisheye": "fisheye",
    "inversebrownconrady": "inverse",
}  # fmt: skip
_REMEDY = "Undistort the images with the calibration's own tool, and state K without distortion."


@dataclass(frozen=True)
class Distortion:
    """How a lens bends what a pinhole would show.

    Attributes:
        model: "opencv" (k1 k2 p1 p2 [k3 [k4 k5 k6 [s1..s4 [tx ty]]]]), "fisheye" (k1..k4), or
            "inverse": the polynomial of "opencv" leads from the image to the pinhole.
        coefficients: in that order; none: nothing is bent, see `STRAIGHT`.
    """

    model: Model
    coefficients: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.model} " + " ".join(f"{c:.4g}" for c in self.coefficients)


STRAIGHT = Distortion("opencv", ())
"""What a file states whose coefficients are all zero."""


def distortion(coefficients: Any, model: str = "", path: Path | None = None) -> Distortion | None:
    """What coefficients and the name of a model mean; None where there are no coefficients.

    Raises:
        InputError: not numbers, an unknown model, or a count that the model does not have.
    """
    try:
        values = [float(v) for v in np.asarray(coefficients, dtype=np.float64).reshape(-1)]
    except (TypeError, ValueError, OverflowError):
        raise InputError("distortion is not made of numbers", path=path, remedy=_REMEDY) from None
    if not np.isfinite(values).all():
        raise InputError("distortion is not finite", path=path, remedy=_REMEDY)
    if not any(values):
        return STRAIGHT if values else None
    known = _MODELS.get(re.sub(r"[^a-z0-9]", "", model.lower().rpartition(".")[2]))
    if known is None:
        raise InputError(f"distortion model '{model}' is unknown", path=path, remedy=_REMEDY)
    while len(values) > _LENGTHS[known][0] and not values[-1]:
        values.pop()
    lengths = [n for n in _LENGTHS[known] if n >= len(values)]
    if not lengths or len(values) == 3:
        raise InputError(
            f"distortion has {len(values)} coefficients, which no {known} model has",
            path=path,
            remedy=_REMEDY,
        )
    return Distortion(known, tuple(values + [0.0] * (lengths[0] - len(values))))


def undistorted(
    bent: Distortion,
    K: np.ndarray,
    path: Path,
    *images: np.ndarray | None,
) -> tuple[np.ndarray | None, ...]:
    """Images of a bent lens as a pinhole of the same K shows them.

    Colour (H, W, 3) is interpolated; depth and masks (H, W) take the nearest pixel. What the lens
    did not see is 0.

    Args:
        K: (3, 3) float64, pixels, pixel centres at whole numbers.
        path: named in the note and in errors.
        images: of one size; None stays None.

    Raises:
        InputError: the coefficients bend the image beyond all use.
    """
    height, width = next(image for image in images if image is not None).shape[:2]
    map_x, map_y, corner = _maps(bent, tuple(np.asarray(K, float).reshape(-1)), width, height)
    if not corner < 0.6 * (width + height):
        raise InputError(
            f"distortion ({bent}) would move the corners by {corner:.0f} pixels",
            path=path,
            remedy="Check the coefficients, their order (k1 k2 p1 p2 k3) and their model.",
        )
    note(path, f"lens distortion ({bent}) undone; it moves the corners by {corner:.1f} pixels")
    return tuple(None if image is None else _remap(image, map_x, map_y) for image in images)


def _remap(image: np.ndarray, map_x: np.ndarray, map_y: np.ndarray) -> np.ndarray:
    if image.dtype == np.bool_:
        return _remap(image.astype(np.uint8), map_x, map_y) > 0
    how = cv2.INTER_LINEAR if image.ndim == 3 else cv2.INTER_NEAREST
    return cv2.remap(image, map_x, map_y, how, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


@lru_cache(maxsize=8)
def _maps(
    bent: Distortion, K_flat: tuple[float, ...], width: int, height: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Where each pixel of the pinhole lies in the image, and how far the farthest corner moves."""
    K, D = np.array(K_flat).reshape(3, 3), np.array(bent.coefficients)
    if bent.model == "opencv":
        x, y = cv2.initUndistortRectifyMap(K, D, None, K, (width, height), cv2.CV_32FC1)
    elif bent.model == "fisheye":
        x, y = cv2.fisheye.initUndistortRectifyMap(
            K, D, np.eye(3), K, (width, height), cv2.CV_32FC1
        )
    else:
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float64)
        found = cv2.undistortPoints(grid.reshape(-1, 1, 2), K, D, P=K, criteria=_INVERSION)
        x, y = np.moveaxis(found.reshape(height, width, 2).astype(np.float32), -1, 0)
    rows, columns = np.array([0, 0, height - 1, height - 1]), np.array([0, width - 1] * 2)
    moved = np.hypot(x[rows, columns] - columns, y[rows, columns] - rows)
    return np.ascontiguousarray(x), np.ascontiguousarray(y), float(moved.max())


def plain_keys(table: dict) -> dict[str, Any]:
    """A table by its keys without case, spaces and underscores."""
    return {re.sub(r"[^a-z0-9]", "", str(key).lower()): value for key, value in table.items()}


def stated_distortion(tables: Sequence[dict], path: Path) -> Distortion | None:
    """The distortion that the first of some tables states, in any spelling."""
    for table in tables:
        flat = plain_keys(table)
        model = next((str(flat[k]) for k in _MODEL_KEYS if isinstance(flat.get(k), str)), "")
        for key in _COEFFICIENT_KEYS:
            value = flat.get(key)
            if isinstance(value, dict) and "data" in value:
                value = value["data"]
            if isinstance(value, dict):
                found = stated_distortion([{"model": model, **value}], path)
                if found is not None:
                    return found
            elif isinstance(value, list):
                return distortion(value, model, path)
        if "radialdistortion" in flat or "tangentialdistortion" in flat:
            radial = [*_numbers(flat.get("radialdistortion", []), path), 0.0, 0.0]
            bend = [*_numbers(flat.get("tangentialdistortion", []), path), 0.0, 0.0]
            return distortion([*radial[:2], *bend[:2], *radial[2:-2]], model, path)
        if "k1" in flat and not isinstance(flat["k1"], list | dict):
            # with k1 to k4 and no p1, p2 the four are a fisheye's
            fisheye = _MODELS.get(re.sub(r"[^a-z0-9]", "", model.lower())) == "fisheye"
            names = ["k1", "k2", "k3", "k4"] if fisheye else [
                "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"]  # fmt: skip
            return distortion([flat.get(n) or 0.0 for n in names], model, path)
    return None


_COEFFICIENT_KEYS = (
    "d", "distortioncoefficients", "distcoeffs", "distortioncoeffs", "distcoeff", "distortion",
    "dist", "coeffs", "d1", "camdist", "distortionparams", "distortionparameters", "camd",
)  # fmt: skip
_MODEL_KEYS = ("distortionmodel", "distortiontype", "model", "cameramodel")


def _numbers(value: Any, path: Path) -> list[float]:
    try:
        return [float(v) for v in np.asarray(value, dtype=np.float64).reshape(-1)]
    except (TypeError, ValueError, OverflowError):
        raise InputError("distortion is not made of numbers", path=path, remedy=_REMEDY) from None
