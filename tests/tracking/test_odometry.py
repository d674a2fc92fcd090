"""How the camera moved, and what stands still moves with it."""

import cv2
import numpy as np
import pytest

from self6d.geometry import Camera
from self6d.scene import Frame
from self6d.tracking.still.odometry import CameraPath, Features, camera_motion
from self6d.tracking.work import Memory

WIDTH, HEIGHT = 320, 240
K = np.array([[300.0, 0, 160], [0, 300.0, 120], [0, 0, 1]])
TURN = cv2.Rodrigues(np.array([0.06, -0.08, 0.1]))[0]
SHIFT = np.array([0.02, -0.01, 0.06])


def wall(R: np.ndarray, t: np.ndarray, seed: int = 0, grain: float = 1.0) -> Frame:
    """A painted wall, slanted, seen by a camera in which a point of the first is R x + t."""
    rng = np.random.default_rng(seed)
    paint = cv2.resize(
        rng.integers(0, 255, (160, 200, 3)).astype(np.uint8), (4 * WIDTH, 4 * HEIGHT)
    )
    paint = (128 + grain * (paint.astype(float) - 128)).astype(np.uint8)
    normal, far = np.array([0.3, 0.1, 1.0]), 0.8  # normal @ x = far
    column, row = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    ray = np.stack((column, row, np.ones_like(row)), -1) @ np.linalg.inv(K).T
    here = R @ normal
    z = (far + here @ t) / (ray @ here)
    first = (ray * z[..., None] - t) @ R  # in the first camera
    u = (K[0, 0] * first[..., 0] / first[..., 2] + WIDTH * 1.5) / (4 * WIDTH)
    v = (K[1, 1] * first[..., 1] / first[..., 2] + HEIGHT * 1.5) / (4 * HEIGHT)
    u, v = 4 * WIDTH * (0.2 + 0.8 * u), 4 * HEIGHT * (0.2 + 0.8 * v)
    rgb = cv2.remap(paint, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
    return Frame(rgb, z.astype(np.float32), Camera(K, WIDTH, HEIGHT))


FIRST = wall(np.eye(3), np.zeros(3))
SECOND = wall(TURN, SHIFT)


def test_the_cameras_way_is_found_and_the_way_back_is_its_inverse():
    path = CameraPath([FIRST, SECOND].__getitem__)
    motion, back = path.between(0, 1), path.between(1, 0)
    apart = np.degrees(np.arccos((np.trace(motion.R.T @ TURN) - 1) / 2))
    assert apart < 0.2
    assert np.linalg.norm(motion.t - SHIFT) < 0.003
    np.testing.assert_allclose(back.R @ motion.R, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(back.R @ motion.t + back.t, 0, atol=1e-9)
    assert np.array_equal(path.between(1, 1).R, np.eye(3))


def test_shrunk_depth_is_that_of_the_pixel_at_its_centre():
    """Rounded down, what a large image shows came from half a pixel up and to the left."""
    width, height = 640, 480
    camera = Camera(np.diag([2.0, 2.0, 1.0]) @ K, width, height)
    rgb = cv2.resize(FIRST.rgb, (width, height))
    slope = np.broadcast_to(1 + np.arange(width, dtype=np.float32), (height, width))
    shrunk = Features.of(Frame(rgb, np.ascontiguousarray(slope), camera)).depth_m
    expected = 0.5 + (np.arange(shrunk.shape[1]) + 0.5) * width / shrunk.shape[1]
    off = shrunk - expected
    assert abs(off.mean()) < 0.15  # pixels
    assert np.abs(off).max() <= 0.5


def test_another_scene_a_bare_wall_and_depth_that_disagrees_say_nothing():
    first, second = Features.of(FIRST), Features.of(SECOND)
    assert camera_motion(first, Features.of(wall(TURN, SHIFT, seed=1))) is None
    assert camera_motion(first, Features.of(wall(TURN, SHIFT, grain=0.0))) is None
    other = Frame(SECOND.rgb, SECOND.depth_m + np.float32(0.2), SECOND.camera)
    assert camera_motion(first, Features.of(other)) is None
    assert camera_motion(first, second) is not None


def test_a_thing_unseen_is_carried_along_with_the_scene_and_through_checkpoints():
    path = CameraPath([FIRST, SECOND, wall(TURN, SHIFT, seed=1)].__getitem__)
    R, t = cv2.Rodrigues(np.array([0.4, 0.2, 0.0]))[0], np.array([0.05, 0.02, 0.7])
    memory = Memory()
    memory.saw(0.0, R, t)
    memory.stood(0, R, t)
    memory.missed = 1
    memory.carry(1, path.between)
    assert memory.carried
    for known in (memory, Memory.of(memory.state())):
        turns, places = known.guesses(1.0)
        assert len(turns) == 2  # where it was last, and where it stands
        assert np.linalg.norm(places[1] - (TURN @ t + SHIFT)) < 0.004
        assert np.trace(turns[1].T @ TURN @ R) == pytest.approx(3, abs=1e-3)
    memory.carry(2, path.between)  # nothing in common: it stays known as of the frame before
    assert not memory.carried
    assert memory.standing[0] == 1
