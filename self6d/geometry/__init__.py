"""Cameras, rotations and poses. Convention: OpenCV camera, metres, column vectors, batches lead."""

from self6d.geometry.camera import (
    Camera,
    backproject,
    backproject_points,
    crop_intrinsics,
    pixel_centres,
    project,
)
from self6d.geometry.pose import Pose, transform
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
