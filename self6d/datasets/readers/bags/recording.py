"""Bags: ROS 1 (.bag), ROS 2 (.db3, .mcap, rosbag2's folder), RealSense (.bag).

16-bit depth counts millimetres and decimals are metres (https://www.ros.org/reps/rep-0118.html);
a RealSense bag states its unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.images import fit_depth, to_metres
from self6d.datasets.intrinsics import Intrinsics, find_camera_file, read_intrinsics
from self6d.datasets.pairing import nearest_in_time
from self6d.datasets.readers.bags import images as bag_images
from self6d.datasets.readers.bags.file import BAG_SUFFIXES, BagFile, is_bag
from self6d.datasets.readers.bags.topics import (
    Choice,
    choice_file,
    choose,
    depth_camera,
    intrinsics_of_info,
    realsense_unit,
)
from self6d.datasets.recording import (
    FrameSource,
    Recording,
    frame_of,
    models_beside,
    pinhole_images,
)
from self6d.datasets.registration import DepthCamera, registered
from self6d.datasets.unknown_depth import shown_unknown
from self6d.errors import InputError
from self6d.files import note
from self6d.scene import Frame

_MAX_APART_S = 0.02


class BagRecording(Recording):
    """One colour topic of a bag with its depth; other colour topics are splits.

    Attributes:
        topics: what is read.
        bag_path: the bag itself.
        metres_per_unit: of depth as it is stored.
    """

    kind = "bag"

    def __init__(self, bag: BagFile, topics: Choice, root: Path, reason: str) -> None:
        self.topics = topics
        self.metres_per_unit = 1e-3
        self._bag, self.bag_path = bag, bag.path
        self._depth_of = self._paired()
        self._infos = self._info_times()
        self._first = self._stated()
        self._depth_camera: DepthCamera | None = None
        if topics.depth:
            stored = bag.message(topics.depth, 0)
            sizes = tuple(
                bag_images.size(m, bag.path) for m in (bag.message(topics.colour, 0), stored)
            )
            self._depth_camera = depth_camera(bag, topics, self._first, sizes)
            if bag_images.depth_image(stored, bag.path).dtype != np.uint16:
                self.metres_per_unit = 1.0
            else:
                self.metres_per_unit = realsense_unit(bag, topics.depth) or 1e-3
        keys = [FrameKey(0, number) for number in self._depth_of]
        super().__init__(root, keys, reason=reason, models_path=models_beside(bag.path.parent, 0))
        self._unknown: frozenset[int] | None = None

    @classmethod
    def open(cls, path: Path, *, reason: str = "", colour: str = "") -> Self:
        """List a bag's frames: its colour images that have depth.

        Args:
            colour: the colour topic, if not the one found by its name.

        Raises:
            InputError: rosbags is missing, or the bag is damaged or holds no colour images.
        """
        file = path if is_bag(path) else _lone_bag(path)
        if file is None:
            raise InputError("holds no bag", path=path, remedy="Name the bag itself.")
        bag = BagFile(file)
        topics = choose(bag, colour)
        told = f"{reason or 'a bag'}; colour {topics.colour}, depth {topics.depth or 'none'}, "
        told += f"camera_info {topics.info or 'none'}"
        if topics.others or topics.unused:
            more = [*topics.others, *topics.unused]
            note(file, f"colour {topics.colour} and depth {topics.depth or 'none'} are read; also "
                       f"there: {', '.join(more)} (choose by a split's name or in "
                       f"{choice_file(file).name})")  # fmt: skip
            told += f" (also there: {', '.join(more)})"
        return cls(bag, topics, path, told)

    def split_names(self) -> tuple[str, ...]:
        return tuple(sorted({*self._splits, *self.topics.others}))

    def split(self, name: str) -> Recording:
        if name in self.topics.others:
            return type(self).open(self.root, reason=f"topic of {self.root}", colour=name)
        return super().split(name)

    def source(self, key: FrameKey) -> FrameSource:
        file = self._bag.files[0]
        return FrameSource(
            f"{key.image_id:06d}",
            file,
            file if self._depth_of[key.image_id] >= 0 else None,
            self.metres_per_unit,
            self._intrinsics(key.image_id),
            self._depth_camera,
        )

    def frame(self, index: int, *, depth: bool = True) -> Frame:
        key, path = self.keys[index], self._bag.path
        rgb = bag_images.colour_image(self._bag.message(self.topics.colour, key.image_id), path)
        h, w = rgb.shape[:2]
        own, name = self._intrinsics(key.image_id), f"{key.image_id:06d}"
        raw, metres = self.raw_depth(key) if depth else None, None
        if raw is not None:
            metres = to_metres(raw, self.metres_per_unit, path, self._shown_unknown)
            if self._depth_camera is not None:
                camera = own.camera(w, h, checked=self.checked)
                rgb, _ = pinhole_images(own, camera, rgb, None)
                metres = registered(metres, self._depth_camera, camera, path)
                return Frame(rgb, metres, camera, key.scene_id, key.image_id, name)
            metres = fit_depth(metres, (h, w), path)
        return frame_of(key, name, rgb, metres, own, checked=self.checked)

    def stamp(self, key: FrameKey) -> tuple[int, str]:
        """Time of a colour image as its header states it, nanoseconds, and its frame_id.

        Where no time was set it is when the image was recorded.
        """
        message: Any = self._bag.message(self.topics.colour, key.image_id)
        at = message.header.stamp
        stated = at.sec * 1_000_000_000 + at.nanosec
        recorded = int(self._bag.recorded_at(self.topics.colour)[key.image_id])
        return stated or recorded, str(message.header.frame_id)

    def raw_depth(self, key: FrameKey) -> np.ndarray | None:
        number = self._depth_of[key.image_id]
        if number < 0:
            return None
        message = self._bag.message(self.topics.depth, number)
        return bag_images.depth_image(message, self._bag.path)

    def _paired(self) -> dict[int, int]:
        """Number of a colour message -> that of its depth, -1 without."""
        bag, topics = self._bag, self.topics
        count = len(bag.recorded_at(topics.colour))
        if not topics.depth:
            note(bag.path, "no depth is read: terms of depth cannot be used")
            return dict.fromkeys(range(count), -1)
        times = [bag.stamps(name) for name in (topics.colour, topics.depth)]
        if times[0] is None or times[1] is None:
            times = [bag.recorded_at(name) for name in (topics.colour, topics.depth)]
        start = min(int(t[0]) for t in times if t is not None)
        at, other = ((t - start) / 1e9 for t in times if t is not None)
        nearest = nearest_in_time(at, other, _MAX_APART_S)
        found = {i: j for i, j in enumerate(nearest) if j >= 0}
        if not found:
            apart = float(np.abs(other[:, None] - at[:1000]).min(0).mean())
            raise InputError(
                f"no depth image of {topics.depth} lies within 20 ms of a colour image; the "
                f"nearest are {1000 * apart:.4g} ms away",
                path=bag.path,
                remedy="Record both with one clock, or name another depth topic in "
                f"{choice_file(bag.path).name}.",
            )
        if len(found) < count:
            note(bag.path, f"{count - len(found)} of {count} colour images have no depth within "
                           "20 ms; left out")  # fmt: skip
        return found

    def _info_times(self) -> np.ndarray | None:
        """When K was stated, (N,), nanoseconds; None where it stays the same."""
        if not self.topics.info:
            return None
        count = self._bag.topics[self.topics.info].count
        looked_at = np.unique(np.linspace(0, count - 1, 9).astype(int)).tolist()
        stated = [self._info(n) for n in looked_at]
        if all(np.array_equal(s.K, stated[0].K) for s in stated):
            return None
        note(self._bag.path, f"K of {self.topics.info} changes; each image has the nearest in time")
        return self._bag.recorded_at(self.topics.info)

    def _info(self, number: int) -> Intrinsics:
        name, path = self.topics.info, self._bag.path
        return intrinsics_of_info(self._bag.message(name, number), name, self.topics.colour, path)

    def _intrinsics(self, image_id: int) -> Intrinsics:
        if self._infos is not None:
            at = self._bag.recorded_at(self.topics.colour)[image_id]
            return self._info(int(np.abs(self._infos - at).argmin()))
        return self._first

    def _stated(self) -> Intrinsics:
        """The first K of the bag, else of a camera file beside it."""
        if self.topics.info:
            return self._info(0)
        path = self._bag.path
        file = find_camera_file(path.parent)
        if file is None:
            raise InputError(
                f"has no camera_info of {self.topics.colour}, so the camera is unknown",
                path=path,
                remedy=f"Name its topic in {choice_file(path).name}, or put camera.json beside.",
            )
        note(path, f"has no camera_info of {self.topics.colour}; {file.name} beside it is used")
        return read_intrinsics(file)

    def _shown_unknown(self) -> frozenset[int]:
        """Values that some depth images of the bag show as unknown."""
        if self._unknown is not None:
            return self._unknown
        count = self._bag.topics[self.topics.depth].count
        found = set()
        for number in range(0, count, max(1, count // 5)):
            message: Any = self._bag.message(self.topics.depth, number)
            found.add(shown_unknown(bag_images.depth_image(message, self._bag.path)))
        self._unknown = frozenset(value for value in found if value is not None)
        return self._unknown


def recognise(path: Path) -> str:
    """Why `path` is a bag, or ""."""
    file = path if path.is_file() or (path / "metadata.yaml").is_file() else _lone_bag(path)
    if file is None or not (file.is_dir() or file.suffix.lower() in BAG_SUFFIXES):
        return ""
    if file.is_dir() and not _holds_bag_files(file):
        return ""
    return f"{file.name}: a bag"


def _lone_bag(folder: Path) -> Path | None:
    """The one bag of a folder; None where there is none, or several."""
    if not folder.is_dir():
        return None
    found = [p for p in folder.iterdir() if p.suffix.lower() in BAG_SUFFIXES and p.name[0] != "."]
    return found[0] if len(found) == 1 else None


def _holds_bag_files(folder: Path) -> bool:
    return any(p.suffix.lower() in (*BAG_SUFFIXES, ".zstd") for p in folder.iterdir())
