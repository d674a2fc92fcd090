"""What camera files of all kinds state, and which K no camera has."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from self6d.datasets.distortion import STRAIGHT, Distortion, distortion, plain_keys
from self6d.errors import InputError
from self6d.files import note, read_bytes

CAMERA_REMEDY = 'Write {"fx": 600, "fy": 600, "cx": 320, "cy": 240, "width": 640, "height": 480}.'
OF_COLOUR = re.compile(r"(?:^|[^a-z])(?:colou?r|rgb)(?=[^a-z]|$)", re.IGNORECASE)
OF_DEPTH = re.compile(r"(?:^|[^a-z])(?:depth|ir|infra\w*)(?=[^a-z]|$)", re.IGNORECASE)
_RATIOS = (0.25, 1 / 3, 0.5, 2 / 3, 1.5, 2.0, 3.0, 4.0)  # of image sizes people confuse
_SCALES = (
    "depthscale", "depthfactor", "factordepth", "pngdepthscale", "depthmapfactor", "depthunits",
    "depthunit", "depthscalefactor", "depthdivisor", "integerdepthscale", "scale",
)  # fmt: skip

_UNITS_MM = {
    name: mm
    for names, mm in (("mm millimeter millimeters millimetre millimetres", 1.0),
                      ("cm centimeter centimeters centimetre centimetres", 10.0))
    for name in names.split()
}  # fmt: skip

_COLMAP = {  # https://colmap.github.io/cameras.html: focal lengths, coefficients' places, model
    "SIMPLE_PINHOLE": (1, 0, ""), "PINHOLE": (2, 0, ""),
    "SIMPLE_RADIAL": (1, 1, "opencv"), "RADIAL": (1, 2, "opencv"),
    "OPENCV": (2, 4, "opencv"), "FULL_OPENCV": (2, 8, "opencv"),
    "OPENCV_FISHEYE": (2, 4, "fisheye"),
    "SIMPLE_RADIAL_FISHEYE": (1, 1, "fisheye"), "RADIAL_FISHEYE": (1, 2, "fisheye"),
}  # fmt: skip
_COLMAP_OTHERS = ("FOV", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE")
_COLMAP_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap", "dense/sparse")


def colmap_file(folder: Path) -> Path | None:
    """COLMAP's cameras.txt in the folders that it writes below a recording's.

    Raises:
        InputError: there is cameras.bin alone.
    """
    for name in _COLMAP_FOLDERS:
        if (folder / name / "cameras.txt").is_file():
            return folder / name / "cameras.txt"
    for name in (".", *_COLMAP_FOLDERS):
        if (folder / name / "cameras.bin").is_file():
            raise InputError(
                "is COLMAP's binary form, which is not read",
                path=folder / name / "cameras.bin",
                remedy="Convert it: `colmap model_converter --input_path . --output_path . "
                "--output_type TXT`.",
            )
    return None


def colmap_camera(
    text: str, path: Path
) -> tuple[np.ndarray, tuple[int, int], Distortion | None] | None:
    """K, (width, height) and distortion of COLMAP's cameras.txt; None for a text of another kind.

    COLMAP puts the corner of the first pixel at zero; K is given with its centre there.

    Raises:
        InputError: several cameras, or a model that is not read.
    """
    rows = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    rows = [r for r in rows if len(r) >= 5 and r[1] in (*_COLMAP, *_COLMAP_OTHERS)]
    if not rows:
        return None
    if len({tuple(r[1:]) for r in rows}) > 1:
        raise InputError(
            f"states {len(rows)} cameras, and not which one the images are of",
            path=path,
            remedy="Keep the line of the one that took them.",
        )
    _, name, *words = rows[0]
    if name in _COLMAP_OTHERS:
        raise InputError(
            f"COLMAP's camera model {name} is not read",
            path=path,
            remedy="Undistort the images: colmap image_undistorter.",
        )
    focal, bends, model = _COLMAP[name]
    try:
        width, height = int(words[0]), int(words[1])
        numbers = [float(w) for w in words[2:]]
        fx, fy = numbers[0], numbers[focal - 1]
        cx, cy = numbers[focal : focal + 2]
    except (ValueError, IndexError):
        numbers = []
    if len(numbers) != focal + 2 + bends:
        raise InputError(
            f"COLMAP's camera {name} has other numbers than it should",
            path=path,
            remedy="Write CAMERA_ID MODEL WIDTH HEIGHT PARAMS as COLMAP does.",
        )
    note(path, "COLMAP's pixel corners at whole numbers: half a pixel was taken off cx and cy")
    K = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1.0]])
    values = numbers[focal + 2 :]
    if bends in (1, 2):  # k [k2], without tangential ones
        values += [0.0] * (4 - bends)
    return K, (width, height), distortion(values, model, path) if bends else STRAIGHT


def xml_table(path: Path) -> dict[str, Any]:
    """What an OpenCV FileStorage of XML holds, matrices as rows.

    Raises:
        InputError: XML of another kind, or damaged.
    """
    import cv2

    text = read_bytes(path, "camera file").decode("utf-8", "replace")
    wrong = InputError("camera file is not XML that OpenCV writes", path=path, remedy=CAMERA_REMEDY)
    if "<opencv_storage" not in text[:2000]:
        raise wrong
    try:
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        return _of_node(storage.root())
    except (cv2.error, SystemError):  # the constructor's error comes wrapped
        raise wrong from None


def _of_node(node: Any, depth: int = 8) -> Any:
    if node.isMap() and depth:
        matrix = None
        names = list(node.keys())
        if {"rows", "cols", "data"} <= set(names):
            matrix = node.mat()
        if matrix is not None:
            return matrix.reshape(-1).tolist() if 1 in matrix.shape else matrix.tolist()
        return {name: _of_node(node.getNode(name), depth - 1) for name in names}
    if node.isSeq() and depth:
        return [_of_node(node.at(i), depth - 1) for i in range(node.size())]
    if node.isInt() or node.isReal():
        return node.real()
    return node.string() if node.isString() else None


def numpy_table(path: Path) -> Any:
    """What .npy or .npz hold, as a table or a list.

    Raises:
        InputError: damaged, or of Python objects, which are never run.
    """
    data = read_bytes(path, "camera file")
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return np.squeeze(loaded).tolist()
        return {name: np.squeeze(loaded[name]).tolist() for name in loaded.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"camera file is not read ({reason})",
            path=path,
            remedy="Save K with numpy.save as an array of numbers, 3x3.",
        ) from None


def csv_table(text: str) -> dict[str, Any] | None:
    """Names and values, in two rows or two columns; None for numbers without names."""
    separator = ";" if text.count(";") > text.count(",") else ","
    rows = [
        [cell.strip() for cell in row if cell.strip()]
        for row in csv.reader(io.StringIO(text), delimiter=separator)
    ]
    rows = [row for row in rows if row and not row[0].startswith("#")]
    named = len(rows) >= 2 and not any(_is_number(cell) for cell in rows[0])
    if named and len(rows[0]) == len(rows[1]) and all(map(_is_number, rows[1])):
        return {k: float(v) for k, v in zip(rows[0], rows[1])}
    if rows and all(len(r) == 2 and not _is_number(r[0]) for r in rows):
        return {k: float(v) if _is_number(v) else v for k, v in rows}
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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


def doubt(K: np.ndarray, width: int, height: int, stated: bool) -> str:
    """Why a possible K is hardly one of images of a size, or "".

    Args:
        stated: the size is stated beside K.
    """
    if K.shape != (3, 3) or not np.isfinite(K).all():
        return ""
    off = (K[0, 2] + 0.5) / (width / 2) - 1, (K[1, 2] + 0.5) / (height / 2) - 1
    turned = (K[1, 2] + 0.5) / (width / 2) - 1, (K[0, 2] + 0.5) / (height / 2) - 1
    if min(map(abs, off)) > 0.15 and max(map(abs, turned)) < 0.1:
        return (
            f"K has the middle of images on their side ({height}x{width}), these are "
            f"{width}x{height}: cx and cy, or width and height, seem to be exchanged"
        )
    if not stated and min(map(abs, off)) < 0.08 and max(map(abs, off)) > 0.2:
        return (
            f"K has the middle of {2 * K[0, 2] + 1:.0f}x{2 * K[1, 2] + 1:.0f} images, these are "
            f"{width}x{height}: if they were cut from such ones, take the cut's corner from cx "
            "and cy; if K is right, state its width and height beside it"
        )
    return ""


def stated_size(table: dict) -> tuple[int | None, int | None]:
    """Width and height, pixels, that a table states in any spelling; else None, None."""
    flat = plain_keys(table)
    for w, h in (("width", "height"), ("imagewidth", "imageheight"), ("w", "h"), ("cols", "rows")):
        if w in flat and h in flat and not ("data" in flat and w == "cols"):  # of a matrix
            return _count(flat[w]), _count(flat[h])
    resolution = flat.get("resolution")
    if isinstance(resolution, list) and len(resolution) == 2:
        if "camera_model" in table or "distortion_coeffs" in table:  # Kalibr: columns, rows
            return _count(resolution[0]), _count(resolution[1])
        return _count(resolution[1]), _count(resolution[0])  # happypose: rows, columns
    size = flat.get("imagesize")
    if isinstance(size, list) and len(size) == 2:  # OpenCV's: width, height
        return _count(size[0]), _count(size[1])
    return None, None


def _count(value: Any) -> int | None:
    try:
        n = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return n if 0 < n < 100_000 else None


def stated_depth_scale(table: dict) -> float | None:
    """The number that a table states for depth, as written; None without."""
    flat = plain_keys(table)
    for key in _SCALES:
        if isinstance(flat.get(key), str) and flat[key].strip().lower() in _UNITS_MM:
            return _UNITS_MM[flat[key].strip().lower()]
        try:
            value = float(flat.get(key, 0)) if not isinstance(flat.get(key), bool) else 0.0
        except (TypeError, ValueError, OverflowError):
            continue
        if 0 < value < np.inf:
            return value
    return None


def undotted(table: dict) -> dict:
    """ORB-SLAM's names, Camera.fx and RGBD.DepthMapFactor, by their last part."""
    if not any(re.fullmatch(r"Camera\d?\.fx", str(key)) for key in table):
        return table
    own = {k: v for k, v in table.items() if not str(k).startswith("Camera2.")}
    return {str(key).rpartition(".")[2]: value for key, value in own.items()}


def matrix(value: Any, path: Path | None, *, columns_known: bool = False) -> np.ndarray:
    """A 3x3 camera matrix from nine numbers (or rows), twelve or sixteen, or fx fy cx cy.

    Columns first (Open3D, ARKit) is recognised by the principal point in the last row.

    Args:
        columns_known: the format writes columns first, so that there is nothing to note.
    """
    try:
        a = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            "camera matrix is not made of numbers", path=path, remedy=CAMERA_REMEDY
        ) from None
    flat = a.reshape(-1)
    if flat.size == 4:
        fx, fy, cx, cy = flat
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    if flat.size not in (9, 12, 16):
        raise InputError(
            f"camera matrix has {flat.size} numbers instead of 9", path=path, remedy=CAMERA_REMEDY
        )
    if a.shape == (4, 3):
        K = a[:3].copy()
    else:
        K = flat.reshape(3, -1)[:, :3].copy() if flat.size < 16 else flat.reshape(4, 4)[:3, :3]
    if is_transposed(K):
        if not columns_known:
            note(path or "camera", "camera matrix read as columns first")
        K = K.T
    return K.copy()


def is_transposed(K: np.ndarray) -> np.ndarray:
    """Whether 3x3 matrices, (..., 3, 3), hold their principal point in the last row."""
    last = np.abs(K[..., 2, :2]).max(-1)
    return (np.abs(K[..., :2, 2]).max(-1) == 0) & (last > 1) & (np.abs(K[..., 2, 2] - 1) < 1e-6)


def colour_of(tables: list, path: Path) -> dict:
    """Of a list of cameras the colour one, by the names that its entries have; else the first."""
    cameras = [table for table in tables if isinstance(table, dict)]

    def says(table: dict, what: re.Pattern) -> bool:
        return any(isinstance(v, str) and what.search(v) for v in table.values())

    colour = [t for t in cameras if says(t, OF_COLOUR) and not says(t, OF_DEPTH)]
    others = [t for t in cameras if not says(t, OF_DEPTH)]
    chosen = colour or others or cameras
    if any(other != chosen[0] for other in chosen[1:]):
        note(path, f"states {len(chosen)} cameras, and not which is colour's; the first is used")
    return chosen[0]


def tell_of_others(key: str, flat: dict[str, Any], path: Path) -> None:
    """Say so where a camera was taken by its number (cam0) though there are others."""
    numbered = [k for k in flat if re.fullmatch(r"cam(?:era)?_?\d+", k)]
    if key in numbered and len(numbered) > 1:
        said = ", ".join(sorted(numbered))
        note(
            path,
            f"states {len(numbered)} cameras ({said}), and not which is colour's; {key} is used",
        )


def of_region(
    K: np.ndarray, size: tuple[int | None, int | None], tables: list[dict], path: Path
) -> tuple[np.ndarray, tuple[int | None, int | None]]:
    """K and size (width, height) of the region of interest that ROS's camera_info may state."""
    for table in tables:
        roi = table.get("roi")
        if not isinstance(roi, dict):
            continue
        try:
            x, y, w, h = (int(roi.get(n, 0)) for n in ("x_offset", "y_offset", "width", "height"))
        except (TypeError, ValueError):
            return K, size
        if not (w and h) or (w, h) == size:
            return K, size
        note(path, "states a region of the image, to which K was moved")
        return K - np.array([[0, 0, x], [0, 0, y], [0, 0, 0]]), (w, h)
    return K, size
