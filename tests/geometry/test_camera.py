"""The one pixel-centre convention and what follows from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from self6d.errors import InputError
from self6d.geometry import Camera, Pose, backproject, crop_intrinsics, pixel_centres, project

K_FILE = np.array([[600.0, 0, 319.5], [0, 610, 239.5], [0, 0, 1]])


def test_files_put_pixel_centres_at_whole_numbers() -> None:
    camera = Camera.from_opencv(K_FILE, 640, 480)
    assert camera.K[0, 2] == 320  # the middle of a 640 pixel wide image, seen as corners
    assert camera.K[1, 2] == 240
    np.testing.assert_array_equal(camera.K_opencv, K_FILE)
    assert camera.size == (480, 640)


def test_pixel_centres() -> None:
    xy = pixel_centres(2, 3)
    assert xy.shape == (2, 3, 2)
    assert xy[0, 0].tolist() == [0.5, 0.5]
    assert xy[1, 2].tolist() == [2.5, 1.5]  # (column, row)


def test_backproject_inverts_project() -> None:
    K = torch.tensor([[500.0, 3.0, 30.2], [0, 520.0, 21.7], [0, 0, 1]], dtype=torch.float64)
    depth = torch.rand(2, 40, 60, dtype=torch.float64) + 0.5
    points = backproject(depth, K)
    assert points.shape == (2, 40, 60, 3)
    torch.testing.assert_close(points[..., 2], depth)
    pixels = project(points.reshape(2, -1, 3), K).reshape(2, 40, 60, 2)
    torch.testing.assert_close(pixels, pixel_centres(40, 60, dtype=torch.float64).expand_as(pixels))


def test_unknown_depth_gives_the_origin() -> None:
    K = torch.eye(3)
    assert backproject(torch.zeros(4, 5), K).abs().max() == 0


def test_the_axis_meets_the_principal_point() -> None:
    camera = Camera.from_opencv(K_FILE, 640, 480)
    pixel = project(torch.tensor([[[0.0, 0.0, 2.0]]]), torch.tensor(camera.K).float()[None])
    assert pixel[0, 0].tolist() == [320, 240]


def test_crop_intrinsics_agree_with_the_whole_image() -> None:
    K = torch.tensor(Camera.from_opencv(K_FILE, 640, 480).K)[None].expand(3, 3, 3)
    boxes = torch.tensor([[0, 0, 640, 480], [100, 50, 228, 178], [-20.5, 10, 43.5, 138]]).double()
    points = torch.rand(3, 7, 3, dtype=torch.float64) + torch.tensor([-0.5, -0.5, 1.0])
    whole = project(points, K)
    crop = project(points, crop_intrinsics(K, boxes, (64, 32)))
    scale = torch.tensor([32, 64]) / (boxes[:, 2:] - boxes[:, :2])
    torch.testing.assert_close(crop, (whole - boxes[:, None, :2]) * scale[:, None])


def test_resized_camera_sees_the_same_rays() -> None:
    camera = Camera.from_opencv(K_FILE, 640, 480)
    half = camera.resized(320, 240)
    ray = np.linalg.inv(camera.K) @ [640, 480, 1]  # the outer corner stays the outer corner
    np.testing.assert_allclose(half.K @ ray, [320, 240, 1])


@pytest.mark.parametrize(
    "K",
    [
        np.zeros((3, 3)),
        np.full((3, 3), np.nan),
        np.eye(4),
        np.diag([-500.0, 500, 1]),
        np.diag([500.0, 0, 1]),
        np.diag([500.0, 500, 2]),
    ],
)
def test_impossible_cameras(K) -> None:
    with pytest.raises(InputError, match="camera matrix"):
        Camera(K, 640, 480)


def test_an_image_has_a_size() -> None:
    with pytest.raises(InputError, match="size"):
        Camera(K_FILE, 0, 480)


def test_cameras_compare_by_value() -> None:
    assert Camera(K_FILE, 640, 480) == Camera(K_FILE.copy(), 640, 480)
    assert Camera(K_FILE, 640, 480) != Camera(K_FILE, 640, 481)


def test_pose_cleans_what_files_round() -> None:
    R = np.round(np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0], 4)
    R[:, 0] *= np.sign(np.linalg.det(R))
    pose = Pose(R, [0, 0, 1])
    np.testing.assert_allclose(pose.R_m2c @ pose.R_m2c.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(pose.R_m2c, R, atol=1e-3)
    points = np.random.default_rng(1).random((5, 3))
    homogeneous = np.c_[points, np.ones(5)] @ pose.matrix.T
    np.testing.assert_allclose(pose.transform(points), homogeneous[:, :3])


@pytest.mark.parametrize("R", [np.diag([1, 1, -1.0]), 2 * np.eye(3), np.full((3, 3), np.inf)])
def test_what_is_no_rotation_is_no_pose(R) -> None:
    with pytest.raises(InputError, match="pose"):
        Pose(R, np.zeros(3))
