"""Bags written with rosbags: of ROS 1, ROS 2 and RealSense, from frames given."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

FORMS = ("ros1", "db3", "mcap", "realsense")
COLOUR, DEPTH = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"
RS_COLOUR, RS_DEPTH = "/device_0/sensor_1/Color_0", "/device_0/sensor_0/Depth_0"
START_NS = 1_700_000_000_000_000_000
STEP_NS = 33_333_333
_ROS1 = get_typestore(Stores.ROS1_NOETIC)
_ROS2 = get_typestore(Stores.ROS2_HUMBLE)
_TF = "tf2_msgs/msg/TFMessage"
_ROS1.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", _TF))


class Bag:
    """A bag being written, of messages with their time in nanoseconds."""

    def __init__(self, path: Path, form: str, **options: Any) -> None:
        self.one = form in ("ros1", "realsense")
        self.types = _ROS1 if self.one else _ROS2
        if self.one:
            self.writer: Any = Writer1(path)
            if options.get("compression"):
                self.writer.set_compression(options["compression"])
        else:
            plugin = StoragePlugin.MCAP if form == "mcap" else StoragePlugin.SQLITE3
            self.writer = Writer2(path, version=9, storage_plugin=plugin)
            if options.get("compression"):
                self.writer.set_compression(options["compression"], options["format"])
        self.connections: dict[str, Any] = {}

    def __enter__(self) -> Bag:
        self.writer.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def put(self, topic: str, time: int, message: Any) -> None:
        kind = message.__msgtype__
        if topic not in self.connections:
            add = self.writer.add_connection
            self.connections[topic] = add(topic, kind, typestore=self.types)
        pack = self.types.serialize_ros1 if self.one else self.types.serialize_cdr
        self.writer.write(self.connections[topic], time, pack(message, kind))

    def make(self, kind: str, **values: Any) -> Any:
        return self.types.types[kind](**values)

    def header(self, time: int, frame: str) -> Any:
        stamp = self.make("builtin_interfaces/msg/Time", sec=time // 10**9, nanosec=time % 10**9)
        more = {"seq": 0} if self.one else {}
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame, **more)

    def image(self, pixels: np.ndarray, encoding: str, time: int, frame: str, pad: int = 0) -> Any:
        rows = np.ascontiguousarray(pixels)
        rows = rows.view(np.uint8).reshape(len(pixels), -1)
        rows = np.pad(rows, ((0, 0), (0, pad)), constant_values=99)
        return self.make(
            "sensor_msgs/msg/Image", header=self.header(time, frame), height=pixels.shape[0],
            width=pixels.shape[1], encoding=encoding, is_bigendian=0, step=rows.shape[1],
            data=rows.reshape(-1),
        )  # fmt: skip

    def compressed(self, data: bytes, form: str, time: int, frame: str) -> Any:
        return self.make(
            "sensor_msgs/msg/CompressedImage", header=self.header(time, frame), format=form,
            data=np.frombuffer(data, np.uint8),
        )  # fmt: skip

    def info(self, K: np.ndarray, size: tuple[int, int], time: int, frame: str, **more: Any) -> Any:
        h, w = size
        P = np.zeros((3, 4))
        P[:, :3] = K
        values = {
            "d": np.array(more.get("d", [0.0] * 5)), "k": K.reshape(-1).astype(float),
            "r": np.eye(3).reshape(-1), "p": more.get("p", P).reshape(-1),
        }  # fmt: skip
        roi = self.make(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0,
            do_rectify=False,
        )  # fmt: skip
        if self.one:
            values = {name.upper(): value for name, value in values.items()}
        return self.make(
            "sensor_msgs/msg/CameraInfo", header=self.header(time, frame), height=h, width=w,
            distortion_model="plumb_bob", binning_x=0, binning_y=0, roi=roi, **values,
        )  # fmt: skip

    def transform(self, R: np.ndarray, t: Sequence[float]) -> Any:
        w = np.sqrt(max(0.0, 1 + np.trace(R))) / 2
        x, y, z = (R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])
        q = self.make(
            "geometry_msgs/msg/Quaternion", x=x / 4 / w, y=y / 4 / w, z=z / 4 / w, w=float(w)
        )
        v = self.make("geometry_msgs/msg/Vector3", x=float(t[0]), y=float(t[1]), z=float(t[2]))
        return self.make("geometry_msgs/msg/Transform", translation=v, rotation=q)


@dataclass
class Way:
    """How frames become messages.

    Attributes:
        colour, depth: what makes a message of (bag, pixels, time, frame of the camera).
        names: topics of colour and depth; infos: of their cameras.
        late_ns: by how much depth's stamp is later. log_late_ns: by how much it is recorded later.
        distortion: of colour. depth_K: of depth, where it has a camera of its own.
        depth_to_colour: R, t of the depth camera's axes in colour's. options: of the writer.
    """

    colour: Callable = lambda bag, rgb, time, frame: bag.image(rgb, "rgb8", time, frame)
    depth: Callable = lambda bag, mm, time, frame: bag.image(mm, "16UC1", time, frame)
    names: tuple[str, str] = (COLOUR, DEPTH)
    infos: tuple[str, str] = ("/camera/color/camera_info", "")
    late_ns: int = 0
    log_late_ns: int = 4_000_000
    distortion: Sequence[float] = (0.0,) * 5
    depth_K: np.ndarray | None = None
    depth_to_colour: tuple[np.ndarray, Sequence[float]] | None = None
    options: dict = field(default_factory=dict)


def write(
    path: Path, form: str, rgb: Sequence, depth_mm: Sequence, K: np.ndarray, way: Way | None = None
) -> Path:
    """A bag of frames, rgb (H, W, 3) uint8 and depth_mm (H, W) uint16; the path to open.

    RealSense's has its topics, its depth unit of 1/4 mm, and extrinsics of each stream.
    """
    way = way or Way()
    one = form in ("ros1", "realsense")
    file = path.with_suffix(".bag") if one else path
    size = rgb[0].shape[:2]
    with Bag(file, form, **way.options) as bag:
        if form == "realsense":
            _realsense_head(bag, size, K, way)
            names = (f"{RS_COLOUR}/image/data", f"{RS_DEPTH}/image/data")
            depth_mm = [d * 4 for d in depth_mm]  # quarters of a millimetre
            way.depth = lambda b, mm, time, frame: b.image(mm, "mono16", time, frame)
        else:
            names = way.names
            if way.depth_to_colour is not None:
                step = bag.make(
                    "geometry_msgs/msg/TransformStamped", header=bag.header(START_NS, "colour"),
                    child_frame_id="depth", transform=bag.transform(*way.depth_to_colour),
                )  # fmt: skip
                bag.put("/tf_static", START_NS, bag.make(_TF, transforms=[step]))
        for n, (picture, depth) in enumerate(zip(rgb, depth_mm)):
            time = START_NS + n * STEP_NS
            if form != "realsense":
                d = way.distortion
                bag.put(way.infos[0], time, bag.info(K, size, time, "colour", d=d))
                if way.infos[1]:
                    own = K if way.depth_K is None else way.depth_K
                    bag.put(way.infos[1], time, bag.info(own, depth.shape, time, "depth"))
            bag.put(names[0], time + 1, way.colour(bag, picture, time, "colour"))
            at = time + way.late_ns
            bag.put(names[1], time + way.log_late_ns, way.depth(bag, depth, at, "depth"))
    return file


def _realsense_head(bag: Bag, size: tuple[int, int], K: np.ndarray, way: Way) -> None:
    own = K if way.depth_K is None else way.depth_K
    place = way.depth_to_colour or (np.eye(3), (0.0, 0.0, 0.0))
    unit = bag.make("std_msgs/msg/Float32", data=0.00025)
    bag.put("/device_0/sensor_0/option/Depth Units/value", START_NS, unit)
    still = (np.eye(3), (0.0, 0.0, 0.0))
    for stream, matrix, pose in ((RS_COLOUR, K, place), (RS_DEPTH, own, still)):
        bag.put(f"{stream}/info/camera_info", START_NS, bag.info(matrix, size, START_NS, "0"))
        bag.put(f"{stream}/tf/0", START_NS, bag.transform(*pose))


def jpeg(bag: Bag, rgb: np.ndarray, time: int, frame: str) -> Any:
    """Colour as image_transport's compressed."""
    data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
    return bag.compressed(data, "rgb8; png compressed bgr8", time, frame)


def compressed_depth(bag: Bag, depth_mm: np.ndarray, time: int, frame: str) -> Any:
    """Depth of 16 bits as image_transport's compressedDepth."""
    data = struct.pack("<iff", 0, 0.0, 0.0) + cv2.imencode(".png", depth_mm)[1].tobytes()
    return bag.compressed(data, "16UC1; compressedDepth png", time, frame)


def rvl(depth: np.ndarray) -> bytes:
    """Depth (H, W) uint16 by RVL, with width and height before it."""
    nibbles: list[int] = []

    def put(value: int) -> None:
        while True:
            nibbles.append(value & 7 | (8 if value >> 3 else 0))
            value >>= 3
            if not value:
                return

    flat, at, before = depth.reshape(-1).astype(int).tolist(), 0, 0
    while at < len(flat):
        for zero in (True, False):
            end = at
            while end < len(flat) and (flat[end] == 0) == zero:
                end += 1
            put(end - at)
            for value in [] if zero else flat[at:end]:
                step, before = value - before, value
                put(2 * step if step >= 0 else -2 * step - 1)
            at = end
    nibbles += [0] * (-len(nibbles) % 8)
    words = [sum(n << 28 - 4 * i for i, n in enumerate(nibbles[k : k + 8]))
             for k in range(0, len(nibbles), 8)]  # fmt: skip
    return struct.pack("<II", *depth.shape[::-1]) + np.array(words, "<u4").tobytes()


def rvl_depth(bag: Bag, depth_mm: np.ndarray, time: int, frame: str) -> Any:
    """Depth of 16 bits as compressedDepth's RVL."""
    data = struct.pack("<iff", 0, 0.0, 0.0) + rvl(depth_mm)
    return bag.compressed(data, "16UC1; compressedDepth rvl", time, frame)


def inverse_depth(bag: Bag, depth_mm: np.ndarray, time: int, frame: str) -> Any:
    """Decimals as image_transport's compressedDepth: quantised inverse depth."""
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    metres = depth_mm / 1000
    stored = np.where(depth_mm > 0, np.round(a / np.maximum(metres, 1e-3) + b), 0)
    png = cv2.imencode(".png", stored.clip(0, 65535).astype(np.uint16))[1].tobytes()
    return bag.compressed(
        struct.pack("<iff", 1, a, b) + png, "32FC1; compressedDepth png", time, frame
    )
