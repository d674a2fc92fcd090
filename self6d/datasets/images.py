"""Colour and depth images from files, never silently wrong: a repair is noted, a fault raised."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from self6d.datasets.unknown_depth import shown_unknown, unknown_value
from self6d.errors import InputError
from self6d.files import note, read_bytes

RGB_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".bmp", ".dib", ".tif", ".tiff",
    ".webp", ".ppm", ".pnm",
)  # fmt: skip
UNREAD_SUFFIXES = (  # images that are named where colour is looked for
    ".heic", ".heif", ".avif", ".gif", ".raw", ".dng", ".cr2", ".nef", ".arw", ".jxl", ".jls",
    ".jxr", ".tga", ".pcx", ".psd", ".svg", ".hdr", ".exr", ".pgm", ".pfm", ".npy", ".npz",
)  # fmt: skip
DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".exr", ".npy", ".dpt", ".pgm")
FLOAT_SUFFIXES = (".npy", ".tif", ".tiff")  # may hold decimals
MAX_DEPTH_M = 100.0  # beyond every depth camera
NEAREST_M = 0.03  # none sees only what is nearer

_TRUNCATED = "Copy or record it again."


def decode(path: Path, what: str) -> np.ndarray:
    """The image as stored (any depth, any channels, cv2's BGR order), not turned by its EXIF."""
    return decode_bytes(read_bytes(path, what), path, what)


def decode_bytes(data: bytes, path: Path, what: str) -> np.ndarray:
    """`decode` of an encoded image in memory; `path` is where it came from."""
    if not complete(data):
        raise InputError(f"{what} is truncated", path=path, remedy=_TRUNCATED)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or image.size == 0:
        raise InputError(f"{what} is damaged or not an image", path=path, remedy=_TRUNCATED)
    return image


def complete(data: bytes) -> bool:
    """Whether a PNG or JPEG has its end mark; some decoders fill up what is missing in silence.

    Anything may follow the mark: phones and panorama tools append to their JPEG files.
    """
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data[-4096:] or b"IEND\xaeB`\x82" in data
    if data.startswith(b"\xff\xd8"):
        # the tables before the picture may hold a thumbnail with an end mark of its own
        return data.find(b"\xff\xd9", _picture_start(data)) >= 0
    return True


def _picture_start(jpeg: bytes) -> int:
    """Where the first scan of a JPEG begins; its end if there is none."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xDA:
            return at
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2  # filling, and marks without a table
        else:
            at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return len(jpeg)


def _upright(image: np.ndarray, data: bytes, path: Path) -> np.ndarray:
    """The image turned as its EXIF orientation says, which is how every viewer shows it."""
    if data[:2] in (b"II", b"MM") or not any(mark in data for mark in _EXIF_MARKS):
        return image
    try:
        with Image.open(io.BytesIO(data)) as picture:
            orientation = picture.getexif().get(0x0112, 1)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):
        return image
    turn = _TURNS.get(orientation)
    if turn is None:
        return image
    note(path, f"colour image turned upright, as its EXIF orientation ({orientation}) says")
    return np.ascontiguousarray(turn(image))


_EXIF_MARKS = (b"Exif\0\0", b"eXIf", b"EXIF")  # JPEG, PNG, WebP; cv2 turns TIFF by itself
_TURNS = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def read_rgb(path: str | Path) -> np.ndarray:
    """Colour image as (H, W, 3) uint8, RGB, upright.

    Grey, RGBA and 16-bit colour images are converted, and an EXIF orientation is followed, with a
    note.

    Raises:
        InputError: missing, truncated, damaged, or in truth a depth image.
    """
    path = Path(path)
    return rgb_of_bytes(read_bytes(path, "colour image"), path)


def rgb_of_bytes(data: bytes, path: Path) -> np.ndarray:
    """`read_rgb` of an encoded image in memory; `path` is where it came from."""
    image = _upright(decode_bytes(data, path, "colour image"), data, path)
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.uint8:
        if image.dtype != np.uint16 or channels < 3:
            raise InputError(
                f"colour image holds {channels} channel(s) of {image.dtype}, like a depth image",
                path=path,
                remedy="Put 8-bit colour images here; colour and depth may be swapped.",
            )
        image = _to_8_bits(image, path)
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


def size_of_rgb(path: str | Path) -> tuple[int, int]:
    """(height, width) of what `read_rgb` gives; no pixel of most PNG and JPEG files is decoded.

    Raises:
        InputError: missing, or not an image.
    """
    path = Path(path)
    data = read_bytes(path, "colour image")
    known = data.startswith((b"\x89PNG", b"\xff\xd8"))
    if known and not any(mark in data for mark in _EXIF_MARKS):  # nothing says to turn it
        try:
            with Image.open(io.BytesIO(data)) as picture:
                return picture.height, picture.width
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError):
            pass  # what is wrong is said where it is decoded
    height, width = rgb_of_bytes(data, path).shape[:2]
    return height, width


def _to_8_bits(image: np.ndarray, path: Path) -> np.ndarray:
    """Colour of 10, 12, 14 or 16 bits stored in 16, (H, W, C) uint16, as uint8."""
    bits = max(_bits(image), _bits_in_folder(path.parent, path.suffix))
    held = "" if bits == 16 else f", of which it uses {bits},"
    note(path, f"16-bit colour image{held} reduced to 8 bits")
    return (image >> (bits - 8)).astype(np.uint8)


def _bits(image: np.ndarray) -> int:
    top = int(image[..., :3].max(initial=0))
    return next(bits for bits in (8, 10, 12, 14, 16) if top < 1 << bits)


@lru_cache(maxsize=64)
def _bits_in_folder(folder: Path, suffix: str) -> int:
    """Bits that the 16-bit colour images of a folder use: one dark image does not say."""
    if suffix.lower() not in RGB_SUFFIXES:
        return 16
    bits = 8
    for path in _some_files(folder, suffix):
        try:
            image = decode(path, "colour image")
        except InputError:
            continue  # reported when that frame is asked for
        if image.dtype == np.uint16 and image.ndim == 3:
            bits = max(bits, _bits(image))
    return bits


@lru_cache(maxsize=64)
def _unknown_in_folder(folder: Path, suffix: str) -> frozenset[int]:
    """Values that some depth files of a folder show as unknown."""
    if suffix.lower() not in DEPTH_SUFFIXES:
        return frozenset()
    found = set()
    for path in _some_files(folder, suffix):
        try:
            found.add(shown_unknown(read_depth_raw(path)))
        except InputError:
            continue  # reported when that frame is asked for
    return frozenset(number for number in found if number is not None)


def _some_files(folder: Path, suffix: str, most: int = 5) -> list[Path]:
    try:
        names = sorted(n for n in os.listdir(folder) if n.endswith(suffix) and n[0] != ".")
    except OSError:
        return []
    return [folder / name for name in names[:: max(1, len(names) // most)][:most]]


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


def to_metres(
    raw: np.ndarray,
    metres_per_unit: float,
    path: Path,
    others: Callable[[], frozenset[int]] | None = None,
) -> np.ndarray:
    """Depth in metres, (H, W) float32, 0 where invalid; repairs are noted.

    Args:
        raw: from `read_depth_raw`.
        metres_per_unit: for the values stored.
        path: the file, for notes.
        others: gives values that other images of the recording show as unknown; by default of the
            files beside this one.
    """
    hole = unknown_value(raw, others or (lambda: _unknown_in_folder(path.parent, path.suffix)))
    with np.errstate(over="ignore", invalid="ignore"):
        depth = np.multiply(raw, np.float32(metres_per_unit), dtype=np.float32)
    if hole is not None:
        note(path, f"depth value {hole:g}, the highest there is, was read as unknown")
        depth[raw == hole] = 0
    if raw.dtype != np.uint16:
        bad = ~np.isfinite(depth) | (depth < 0)
        if bad.any():
            note(path, "depth that is negative, infinite or not a number was set to 0 (unknown)")
            depth[bad] = 0
    far = float(depth.max(initial=0))
    if far > MAX_DEPTH_M:
        note(path, f"depth beyond {MAX_DEPTH_M:g} m was set to 0 (unknown); check the depth scale")
        depth[depth > MAX_DEPTH_M] = 0
    if 0 < far < NEAREST_M:
        note(
            path,
            f"depth reaches {1000 * far:.3g} mm, nearer than cameras see; check its scale",
        )
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
    what = f"depth image is {w}x{h} and its colour image {width}x{height}"
    if depth_m.shape == size[::-1]:
        raise InputError(
            f"{what}: one of them lies on its side",
            path=path,
            remedy="Turn depth as the colour image is, whose EXIF orientation is followed.",
        )
    if not same_view((w, h), (width, height)):
        raise InputError(
            f"{what}: they do not show the same view, so depth is not registered to colour",
            path=path,
            remedy="Register depth to colour (RealSense: align), or state the depth camera and "
            "depth_to_color beside the colour camera's intrinsics.",
        )
    note(
        path,
        f"depth of {w}x{h} was enlarged to its colour image's {width}x{height}, "
        "which is right only if it is registered to colour",
    )
    return cv2.resize(depth_m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def same_view(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether images of two sizes (width, height) can be one picture, resampled.

    Their sides are in one ratio but for the rounding of the shorter ones to whole pixels.
    """
    (w, h), (width, height) = sorted((a, b))
    if abs(w * height / (h * width) - 1) > 0.01:
        return False
    return abs(w * height / width - h) <= 0.75 or abs(h * width / height - w) <= 0.75


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
