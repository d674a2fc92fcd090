"""Images of a camera, a video file or a recording, one after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from self6d.datasets import FrameKey, Recording, open_dataset
from self6d.datasets.images import read_rgb
from self6d.datasets.intrinsics import Intrinsics, find_camera_file, read_intrinsics
from self6d.datasets.readers.bags.recording import BagRecording
from self6d.datasets.readers.film import FILM_SUFFIXES
from self6d.datasets.readers.one_name import images_in
from self6d.datasets.recording import frame_of, pinhole_images
from self6d.errors import InputError, MissingDependencyError
from self6d.events import Listener, Note
from self6d.geometry import Camera
from self6d.paths import REALSENSE

AHEAD = 4  # images of a file that are read before they are asked for


@dataclass(frozen=True, eq=False)
class Shot:
    """One image.

    Attributes:
        rgb: (H, W, 3) uint8, without distortion. depth_m: (H, W) float32, metres; None without.
        camera: of both. time_ns: unix time of a camera and of a bag, time in the film of a video,
            else when it was read. frame_id: ROS's name of the camera. name: of the image.
    """

    rgb: np.ndarray
    depth_m: np.ndarray | None
    camera: Camera
    time_ns: int
    name: str
    frame_id: str = "camera"


def shots(
    source: str | Path,
    camera: str | Path | None = None,
    usual: Camera | None = None,
    listener: Listener | None = None,
) -> Iterator[Shot]:
    """The images of a source, until it ends or the iterator is closed.

    Args:
        source: number of a camera, "realsense", a video file, a folder of images, or what
            `open_dataset` reads.
        camera: camera file, for a camera, a video or bare images.
        usual: the network's own, taken (scaled, with a note) where no file is given, nor lies
            beside a video or bare images.

    Raises:
        InputError: it cannot be opened, or its K is unknown. MissingDependencyError: pyrealsense2.
    """
    text = str(source)
    if text == REALSENSE:
        return _realsense()
    if text.isdecimal():
        return _captured(int(text), _intrinsics(camera, usual, listener))
    path = Path(source)
    if path.suffix.lower() in FILM_SUFFIXES:
        if not path.is_file():
            raise InputError("there is no such video", path=path, remedy="Check the path.")
        if camera is None and (camera := find_camera_file(path.parent)) and listener is not None:
            listener(Note("info", f"the camera is that of {camera}, beside the video"))
        return _ahead(_captured(path, _intrinsics(camera, usual, listener)))
    bare = images_in(path)
    if camera is not None and bare:
        return _ahead(_bare(bare, read_intrinsics(camera)))
    if camera is not None:
        raise InputError("a recording has its own camera", path=path, remedy="Leave out --camera.")
    try:
        dataset = open_dataset(path)
    except InputError as error:
        if bare and find_camera_file(path if path.is_dir() else path.parent) is None:
            if usual is not None:
                return _ahead(_bare(bare, _intrinsics(None, usual, listener)))
            own = error.remedy or "Write its file."
            remedy = f"Name the camera's file with --camera, or {own[0].lower()}{own[1:]}"
            raise InputError(error.what, path=error.path, remedy=remedy) from None
        raise
    return _ahead(_recorded(dataset))


def _ahead(stream: Generator[Shot]) -> Iterator[Shot]:
    """The same images, read and decoded by a thread while earlier ones are looked at.

    Not for cameras: what is read ahead is old when its turn comes.
    """
    with closing(stream), ThreadPoolExecutor(1, "images") as reader:
        coming = deque(reader.submit(next, stream, None) for _ in range(AHEAD))
        while (shot := coming.popleft().result()) is not None:
            coming.append(reader.submit(next, stream, None))
            yield shot


def _intrinsics(
    camera: str | Path | None, usual: Camera | None, listener: Listener | None
) -> Intrinsics:
    if camera is not None:
        return read_intrinsics(camera)
    if usual is None:
        raise InputError("the camera is unknown", remedy="Name its file with --camera.")
    if listener is not None:
        text = (
            "no --camera is given: the camera is taken for that of the network's training images "
            f"(fx {usual.K[0, 0]:.0f} at {usual.width} columns); poses are wrong if it is another"
        )
        listener(Note("warning", text))
    return Intrinsics(usual.K_opencv, usual.width, usual.height)


def _captured(source: int | Path, stated: Intrinsics) -> Generator[Shot]:
    """Images of a camera or a video, by OpenCV."""
    is_camera = isinstance(source, int)
    path = None if isinstance(source, int) else Path(source)
    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    try:
        if not capture.isOpened():
            what = f"camera {source} cannot be opened" if is_camera else "is no video"
            raise InputError(what, path=path, remedy="Check --source.")
        if is_camera:
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest image, not the oldest
        view: Camera | None = None
        number = 0
        while True:
            ok, bgr = capture.read()
            if not ok:
                return
            at = capture.get(cv2.CAP_PROP_POS_MSEC)  # of the image just read
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            if view is None or view.size != rgb.shape[:2]:
                view = stated.camera(rgb.shape[1], rgb.shape[0])
            rgb, _ = pinhole_images(stated, view, rgb, None)
            now = time.time_ns() if is_camera else round(at * 1e6)
            yield Shot(rgb, None, view, now, f"{number:06d}")
            number += 1
    finally:
        capture.release()


def _bare(files: Sequence[Path], stated: Intrinsics) -> Generator[Shot]:
    """Images that come without a camera, as `predict` takes them."""
    for number, file in enumerate(files):
        frame = frame_of(FrameKey(0, number), file.stem, read_rgb(file), None, stated, image=file)
        yield Shot(frame.rgb, None, frame.camera, time.time_ns(), frame.name)


def _recorded(dataset: Recording) -> Generator[Shot]:
    """Frames of a recording, in order."""
    for index, key in enumerate(dataset.keys):
        frame = dataset.frame(index)
        at, frame_id = time.time_ns(), "camera"
        if isinstance(dataset, BagRecording):
            at, frame_id = dataset.stamp(key)
        yield Shot(frame.rgb, frame.depth_m, frame.camera, at, frame.name, frame_id)


def _realsense() -> Iterator[Shot]:
    """Colour and depth registered to it, of the first RealSense camera."""
    try:
        import pyrealsense2 as rs  # type: ignore[import-not-found]
    except ImportError:
        raise MissingDependencyError(
            "a RealSense camera is read by pyrealsense2",
            remedy="Install it (pip install pyrealsense2), or name the camera's number.",
        ) from None
    pipeline: Any = rs.pipeline()
    wanted = rs.config()
    wanted.enable_stream(rs.stream.color, rs.format.rgb8)
    wanted.enable_stream(rs.stream.depth, rs.format.z16)
    try:
        profile = pipeline.start(wanted)
    except RuntimeError as error:
        raise InputError(f"no RealSense camera answers ({error})", remedy="Plug it in.") from error
    try:
        unit = profile.get_device().first_depth_sensor().get_depth_scale()
        own = profile.get_stream(rs.stream.color).as_video_stream_profile().get_intrinsics()
        K = np.array([[own.fx, 0, own.ppx], [0, own.fy, own.ppy], [0, 0, 1.0]])
        view = Camera.from_opencv(K, own.width, own.height)
        align, number = rs.align(rs.stream.color), 0
        while True:
            pair = align.process(pipeline.wait_for_frames())
            rgb = np.asanyarray(pair.get_color_frame().get_data()).copy()
            depth = np.asanyarray(pair.get_depth_frame().get_data()).astype(np.float32) * unit
            yield Shot(rgb, depth, view, time.time_ns(), f"{number:06d}")
            number += 1
    finally:
        with suppress(RuntimeError):
            pipeline.stop()
