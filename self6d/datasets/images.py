"""Colour and depth images from files, never silently wrong: a repair is noted, a fault raised."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from self6d.errors import InputError
from self6d.files import note, read_bytes

RGB_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".exr", ".npy", ".dpt", ".pgm")
MAX_DEPTH_M = 100.0  # beyond every depth camera

_TRUNCATED = "Copy or record it again."


def decode(path: Path, what: str) -> np.ndarray:
    """The image as stored (any depth, any channels, cv2's BGR order)."""
    data = read_bytes(path, what)
    if not _complete(data):
        raise InputError(f"{what} is truncated", path=path, remedy=_TRUNCATED)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or image.size == 0:
        raise InputError(f"{what} is damaged or not an image", path=path, remedy=_TRUNCATED)
    return image


def _complete(data: bytes) -> bool:
    """Whether a PNG or JPEG has its end mark; some decoders fill up what is missing in silence."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data[-4096:]
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in data[-4096:]
    return True


def read_rgb(path: str | Path) -> np.ndarray:
    """Colour image as (H, W, 3) uint8, RGB.

    Grey, RGBA and 16-bit colour images are converted, with a note.

    Raises:
        InputError: missing, truncated, damaged, or in truth a depth image.
    """
    path = Path(path)
    image = decode(path, "colour image")
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.uint8:
        if image.dtype != np.uint16 or channels < 3:
            raise InputError(
                f"colour image holds {channels} channel(s) of {image.dtype}, like a depth image",
                path=path,
                remedy="Put 8-bit colour images here; colour and depth may be swapped.",
            )
        note(path, "16-bit colour image reduced to 8 bits")
        image = (image >> 8).astype(np.uint8)
    if channels == 1:
        note(path, "grey image used as colour, so colour terms will be of little use")
        return cv2.cvtColor(image.reshape(image.shape[:2]), cv2.COLOR_GRAY2RGB)
    if channels == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if channels == 4:
        note(path, "transparency left out of a colour image with four channels")
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    raise InputError(
        f"colour image has {channels} channels", path=path, remedy="Save it as 8-bit RGB."
    )


def read_depth_raw(path: str | Path) -> np.ndarray:
    """Depth image in its file's unit, as (H, W) uint16, or float32 where the file holds floats.

    Raises:
        InputError: missing, truncated, damaged, 8-bit, or in truth a colour image.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        image = _read_npy(path)
    elif suffix == ".dpt":
        image = _read_dpt(path)
    elif suffix == ".exr":
        raise InputError(
            "depth is OpenEXR, which OpenCV reads only when built for it",
            path=path,
            remedy="Save it as 16-bit PNG (mm) or as .npy (metres).",
        )
    else:
        image = decode(path, "depth image")
    if image.ndim == 3 and image.dtype != np.uint8 and (image == image[..., :1]).all():
        note(path, "depth image has equal channels; the first is used")
        image = image[..., 0]
    if image.ndim != 2:
        raise InputError(
            f"depth image has {image.shape[2]} channels of {image.dtype}, like a colour image",
            path=path,
            remedy="Record depth as 16-bit PNG, one channel; colour and depth may be swapped.",
        )
    if image.dtype in (np.uint8, np.int8, np.bool_):
        raise InputError(
            "depth image has 8 bits, too coarse for distances",
            path=path,
            remedy="Record depth as 16-bit PNG (millimetres), not as a picture of it.",
        )
    if image.dtype == np.uint16:
        return image
    return image.astype(np.float32)


def to_metres(raw: np.ndarray, metres_per_unit: float, path: Path) -> np.ndarray:
    """Depth in metres, (H, W) float32, 0 where invalid; repairs are noted.

    Args:
        raw: from `read_depth_raw`.
        metres_per_unit: for the values stored.
        path: the file, for notes.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        depth = np.multiply(raw, np.float32(metres_per_unit), dtype=np.float32)
    if raw.dtype != np.uint16:
        bad = ~np.isfinite(depth) | (depth < 0)
        if bad.any():
            note(path, "depth that is negative, infinite or not a number was set to 0 (unknown)")
            depth[bad] = 0
    far = float(depth.max(initial=0))
    if far > MAX_DEPTH_M:
        note(path, f"depth beyond {MAX_DEPTH_M:g} m was set to 0 (unknown); check the depth scale")
        depth[depth > MAX_DEPTH_M] = 0
    if far == 0 or (far > MAX_DEPTH_M and not depth.any()):
        note(path, "depth image holds no valid value")
    return depth


def read_depth(path: Path, metres_per_unit: float, size: tuple[int, int]) -> np.ndarray:
    """Depth of a colour image of `size` (height, width) in metres, (H, W) float32, 0 = unknown."""
    return fit_depth(to_metres(read_depth_raw(path), metres_per_unit, path), size, path)


def fit_depth(depth_m: np.ndarray, size: tuple[int, int], path: Path) -> np.ndarray:
    """Depth brought to the size (height, width) of its colour image, by the nearest pixel.

    Raises:
        InputError: the two have different aspect ratios, so they cannot be registered.
    """
    if depth_m.shape == size:
        return depth_m
    (h, w), (height, width) = depth_m.shape, size
    if abs(w * height / (h * width) - 1) > 0.01:
        raise InputError(
            f"depth image is {w}x{h} and its colour image {width}x{height}",
            path=path,
            remedy="Register depth to colour before recording; both must show the same view.",
        )
    note(path, f"depth of {w}x{h} was enlarged to its colour image's {width}x{height}")
    return cv2.resize(depth_m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def read_mask(path: str | Path, size: tuple[int, int]) -> np.ndarray | None:
    """Binary mask (H, W) bool; None where it is missing, damaged or of another size."""
    path = Path(path)
    if not path.is_file():
        return None
    try:
        image = decode(path, "mask")
    except InputError as error:
        note(path, f"mask left out: {error.what}")
        return None
    image = image if image.ndim == 2 else image.max(axis=2)
    if image.shape != size:
        note(path, "mask left out: its size is not that of the image")
        return None
    return image > 0


def _read_npy(path: Path) -> np.ndarray:
    import io

    try:
        array = np.load(io.BytesIO(read_bytes(path, "depth array")), allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError) as error:
        raise InputError(
            f"depth array cannot be read ({str(error)[:100]})", path=path, remedy=_TRUNCATED
        ) from None
    if (
        not isinstance(array, np.ndarray)
        or array.dtype.kind not in "uif"
        or not array.size
        or array.ndim < 2
    ):
        raise InputError(
            "depth array is not a picture of numbers", path=path, remedy="Save (H, W) metres."
        )
    return array.squeeze() if array.ndim > 2 else array


def _read_dpt(path: Path) -> np.ndarray:
    """LineMOD's own depth: two int32 (rows, columns), then rows x columns uint16, millimetres."""
    data = read_bytes(path, "depth image")
    rows, columns = np.frombuffer(data[:8].ljust(8, b"\0"), "<i4")
    if not (0 < rows < 20000 and 0 < columns < 20000) or len(data) < 8 + 2 * rows * columns:
        raise InputError(
            f"depth image is truncated or not LineMOD's (rows {rows}, columns {columns})",
            path=path,
            remedy=_TRUNCATED,
        )
    return np.frombuffer(data, "<u2", count=rows * columns, offset=8).reshape(rows, columns)
