"""One image, its depth and its camera: happypose's example layout, or plainly named files.

happypose: image_rgb.png, image_depth.png, camera_data.json, object_data.json, meshes/.
Plain: rgb.png, depth.png, a camera file, and scene_gt.json (one BOP list) where poses are known.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.labels import checked_pose, pose_from_bop
from self6d.datasets.pairing import Pair, frame_name, paired
from self6d.datasets.readers.folder import FolderRecording, image_folder, list_images
from self6d.datasets.recording import Truth
from self6d.errors import InputError
from self6d.files import note, read_json
from self6d.geometry import Pose
from self6d.scene import GroundTruth
from self6d.scene.known import known_id

_NUMBER = re.compile(r"(?:.*[-_])?obj_(\d+)$")


class SingleFrame(FolderRecording):
    """A recording of one frame.

    Attributes:
        alone: whether its folder holds no other colour image, so that labels there are of this one.
    """

    kind = "single"
    alone = True

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """Read the folder of one image, or the image's own path."""
        folder, wanted = (path.parent, path.name) if path.is_file() else (path, None)
        rgb, depth = list_images(folder)
        chosen = [name for name in rgb if wanted in (None, name.rsplit("/", 1)[-1])]
        if len(chosen) != 1:
            raise InputError(
                f"holds {len(chosen)} colour images where one is expected",
                path=path,
                remedy="Name the image itself.",
            )
        pair = Pair(chosen[0], _depth_of(chosen[0], rgb, depth, folder))
        recording = cls.of_pairs(folder, {0: pair}, reason=reason)
        recording.alone = len(rgb) == 1
        return recording

    def _truth(self, key: FrameKey) -> Truth:
        path = self.root / "scene_gt.json"
        if not path.is_file():
            return ()
        name = frame_name(self._pairs[key.image_id].rgb)
        found = read_poses(path, int(name) if name.isdecimal() else None, alone=self.alone)
        return tuple(GroundTruth(number, pose) for number, pose in found if number is not None)

    def boxes(self) -> list[tuple[int | None, np.ndarray]]:
        """Object number and visible box (x0 y0 x1 y1, pixels) of each entry of object_data.json."""
        path = self.root / "object_data.json"
        if not path.is_file():
            return []
        found = []
        for entry in read_json(path, "object file", list):
            box = entry.get("bbox_modal") if isinstance(entry, dict) else None
            if not isinstance(box, list) or len(box) != 4:
                continue
            a, b, c, d = (float(v) for v in box)
            corners = [a, b, c, d] if c > a and d > b else [a, b, a + c, b + d]
            found.append((_object_number(entry.get("label")), np.array(corners)))
        return found


def _depth_of(name: str, rgb: list[str], depth: list[str], folder: Path) -> str:
    """The depth image of a colour image, "" where there is none; a choice among many is noted."""
    if not depth:
        return ""
    own = [one for one in depth if frame_name(one) == frame_name(name)]
    if not own:
        with suppress(InputError):  # said below
            own = [p.depth for p in paired(rgb, depth, folder).values() if p.rgb == name]
    own.sort(key=lambda one: not re.search(r"aligned|registered", one, re.IGNORECASE))
    if not own:
        note(folder / name, f"has no depth: of the {len(depth)} depth images here none is its own")
        return ""
    if len(own) > 1:
        note(folder / own[0], f"is used as depth, not {', '.join(own[1:])}")
    return own[0]


def read_poses(
    path: str | Path, image: int | None = None, *, alone: bool = True
) -> list[tuple[int | None, Pose]]:
    """Poses of a JSON file, as (object number or None, model-to-camera pose in metres).

    Accepts BOP labels (cam_R_m2c, cam_t_m2c in mm; a list, or one list an image), happypose's TWO
    (quaternion xyzw, metres), and {"R": 9 numbers, "t": metres} or a 4x4 matrix in metres.

    Args:
        image: number of the image whose poses are wanted, where the file has lists of images.
        alone: whether a single list is this image's, whatever its number.

    Raises:
        InputError: none of these, or a matrix that is not a rotation.
    """
    path = Path(path)
    table = read_json(path, "pose file", (list, dict))
    if isinstance(table, dict) and all(str(k).isdecimal() for k in table):
        lists = {int(number): _as_list(entries) for number, entries in table.items()}
        if not (alone and len(lists) == 1):
            lists = {number: entries for number, entries in lists.items() if number == image}
        table = [entry for entries in lists.values() for entry in entries]
    elif isinstance(table, dict) or (table and not isinstance(table[0], dict)):
        table = [table]
    return [_pose(entry, path) for entry in table]


def _as_list(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _pose(entry: Any, path: Path) -> tuple[int | None, Pose]:
    if isinstance(entry, dict) and "cam_R_m2c" in entry:
        return pose_from_bop({"obj_id": 0, **entry}, path, "0")
    try:
        if isinstance(entry, dict) and "TWO" in entry:
            (x, y, z, w), t = (np.asarray(v, dtype=np.float64) for v in entry["TWO"])
            R = _rotation(w, x, y, z)
            number = _object_number(entry.get("label"))
        elif isinstance(entry, dict):
            R = np.asarray(entry["R"], dtype=np.float64).reshape(3, 3)
            t = np.asarray(entry["t"], dtype=np.float64).reshape(3)
            number = int(entry["object_id"]) if "object_id" in entry else None
        else:
            m = np.asarray(entry, dtype=np.float64).reshape(4, 4)
            if (m[:3, 3].any() and m[3, :3].any()) or m[3, 3] != 1:
                raise ValueError("its last row is not 0 0 0 1")
            if m[3, :3].any():
                note(path, "pose matrix read as columns first")
                m = m.T
            R, t, number = m[:3, :3], m[:3, 3], None
    except (TypeError, ValueError, KeyError, OverflowError):
        raise InputError(
            "pose file holds an entry that is no pose",
            path=path,
            remedy='Write {"object_id": 1, "R": [9 numbers], "t": [x, y, z in metres]}.',
        ) from None
    return number, checked_pose(R, t, path, "pose")


def _rotation(w: float, x: float, y: float, z: float) -> np.ndarray:
    q = np.array([w, x, y, z]) / np.linalg.norm([w, x, y, z])
    w, v = q[0], q[1:]
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + 2 * w * k + 2 * k @ k


def _object_number(label: Any) -> int | None:
    match = _NUMBER.match(str(label))
    return int(match.group(1)) if match else known_id(str(label))


def recognise(path: Path) -> str:
    """Why `path` is a single image, or ""."""
    if image_folder(path) is not None:
        return ""
    rgb, _ = list_images(path)
    return f"one colour image ({rgb[0]}): single image" if len(rgb) == 1 else ""
