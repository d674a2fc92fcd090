"""Cameras, rotations and poses. Convention: OpenCV camera, metres, column vectors, batches lead.

What works on tensors is loaded when it is asked for: a recording is read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from self6d.geometry.camera import Camera
from self6d.geometry.pose import Pose, transform

if TYPE_CHECKING:
    from self6d.geometry.projection import (
        backproject,
        backproject_points,
        crop_intrinsics,
        pixel_centres,
        project,
    )
    from self6d.geometry.rotation import (
        allocentric_to_egocentric,
        axis_angle_to_matrix,
        egocentric_to_allocentric,
        matrix_to_axis_angle,
        matrix_to_quaternion,
        matrix_to_rotation6d,
        quaternion_to_matrix,
        random_rotations,
        rotation6d_to_matrix,
        rotation_angle,
    )

__all__ = [
    "Camera",
    "Pose",
    "allocentric_to_egocentric",
    "axis_angle_to_matrix",
    "backproject",
    "backproject_points",
    "crop_intrinsics",
    "egocentric_to_allocentric",
    "matrix_to_axis_angle",
    "matrix_to_quaternion",
    "matrix_to_rotation6d",
    "pixel_centres",
    "project",
    "quaternion_to_matrix",
    "random_rotations",
    "rotation6d_to_matrix",
    "rotation_angle",
    "transform",
]
_OF_PROJECTION = {
    "backproject", "backproject_points", "crop_intrinsics", "pixel_centres", "project",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "projection" if name in _OF_PROJECTION else "rotation"
    return getattr(import_module(f"{__name__}.{module}"), name)
