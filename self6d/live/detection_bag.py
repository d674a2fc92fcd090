"""Poses as a bag of ROS 2: vision_msgs/Detection3DArray, and tf from the camera to each object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from self6d.errors import InputError, MissingDependencyError
from self6d.geometry import matrix_to_quaternion
from self6d.live.follow import Seen
from self6d.scene import ObjectModel

DETECTIONS, TF = "/detections", "/tf"
# vision_msgs 4, https://github.com/ros-perception/vision_msgs
_ARRAY = "vision_msgs/msg/Detection3DArray"
_MESSAGES = {
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "vision_msgs/msg/Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id"
    ),
    _ARRAY: "std_msgs/Header header\nvision_msgs/Detection3D[] detections",
}


def message_types() -> Any:
    """rosbags' types of ROS 2 with those of vision_msgs.

    Raises:
        MissingDependencyError: rosbags is not installed.
    """
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError:
        raise MissingDependencyError(
            "a bag is written by the package rosbags",
            remedy='Install it: pip install "self6d-studio[bags]"',
        ) from None
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in _MESSAGES.items():
        store.register(get_types_from_msg(text, name))
    return store


class DetectionBag:
    """A bag being written; whole once it is closed.

    One Detection3DArray an image, with the objects that have a pose: class_id is the object's
    name, id its name and instance, score the confidence; the pose is the CAD file's frame in the
    camera's, metres; bbox is the CAD's box. The covariance is zero, which ROS reads as unknown.
    tf goes from the image's frame_id to `name_instance`.

    Args:
        path: folder to make, of rosbag2 (.db3 inside). models: the objects.

    Raises:
        InputError: it exists. MissingDependencyError: rosbags is not installed.
    """

    def __init__(self, path: Path, models: Sequence[ObjectModel]) -> None:
        if path.exists():
            raise InputError("exists already", path=path, remedy="Name a new folder for the bag.")
        self._types = message_types()
        from rosbags.rosbag2 import Writer

        self._extents = {m.object_id: m.extents.astype(np.float64) for m in models}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer: Any = Writer(path, version=9)
        self._topics: dict[str, Any] = {}
        self._writer.open()
        for topic, kind in ((DETECTIONS, _ARRAY), (TF, "tf2_msgs/msg/TFMessage")):
            self._topics[topic] = self._writer.add_connection(topic, kind, typestore=self._types)

    def close(self) -> None:
        """The bag is whole."""
        self._writer.close()

    def add(self, seen: Sequence[Seen], time_ns: int, frame_id: str) -> None:
        """The objects of one image. time_ns: unix time of the image, nanoseconds."""
        header = self._header(time_ns, frame_id)
        posed = [(s, s.R, s.t) for s in seen if s.R is not None and s.t is not None]
        rows = [self._row(s, R, t, header) for s, R, t in posed]
        self._put(DETECTIONS, time_ns, self._make(_ARRAY, header=header, detections=rows))
        transforms = [self._transform(s, R, t, header) for s, R, t in posed]
        self._put(TF, time_ns, self._make("tf2_msgs/msg/TFMessage", transforms=transforms))

    def _row(self, seen: Seen, R: np.ndarray, t: np.ndarray, header: Any) -> Any:
        low, high = self._extents[seen.object_id]
        pose = self._pose(R, t)
        known = self._make(
            "geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)
        )
        result = self._make(
            "vision_msgs/msg/ObjectHypothesisWithPose",
            hypothesis=self._make(
                "vision_msgs/msg/ObjectHypothesis", class_id=seen.name, score=seen.confidence
            ),
            pose=known,
        )
        middle = R @ ((low + high) / 2) + t
        box = self._make(
            "vision_msgs/msg/BoundingBox3D",
            center=self._pose(R, middle),
            size=self._vector("Vector3", high - low),
        )
        return self._make(
            "vision_msgs/msg/Detection3D", header=header, results=[result], bbox=box, id=_name(seen)
        )

    def _transform(self, seen: Seen, R: np.ndarray, t: np.ndarray, header: Any) -> Any:
        transform = self._make(
            "geometry_msgs/msg/Transform",
            translation=self._vector("Vector3", t),
            rotation=self._turn(R),
        )
        return self._make(
            "geometry_msgs/msg/TransformStamped",
            header=header, child_frame_id=_name(seen), transform=transform,
        )  # fmt: skip

    def _pose(self, R: np.ndarray, t: np.ndarray) -> Any:
        return self._make(
            "geometry_msgs/msg/Pose", position=self._vector("Point", t), orientation=self._turn(R)
        )

    def _turn(self, R: np.ndarray) -> Any:
        w, x, y, z = matrix_to_quaternion(torch.from_numpy(np.asarray(R, np.float64))).tolist()
        return self._make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)

    def _vector(self, kind: str, values: np.ndarray) -> Any:
        x, y, z = (float(v) for v in values)
        return self._make(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)

    def _header(self, time_ns: int, frame_id: str) -> Any:
        stamp = self._make(
            "builtin_interfaces/msg/Time", sec=time_ns // 10**9, nanosec=time_ns % 10**9
        )
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _make(self, kind: str, **values: Any) -> Any:
        return self._types.types[kind](**values)

    def _put(self, topic: str, time_ns: int, message: Any) -> None:
        data = self._types.serialize_cdr(message, message.__msgtype__)
        self._writer.write(self._topics[topic], time_ns, data)


def _name(seen: Seen) -> str:
    return f"{seen.name}_{seen.instance}"
