"""Inputs at the limits: right results or clear errors, finite gradients always."""

import numpy as np
import pytest
import torch

from self6d.rendering import render

EYE = torch.eye(3)[None]
FAST = ("reference", "cpu")


def finite(grads):
    return all(
        torch.isfinite(g).all() for parts in grads.values() for g in parts.values() if g is not None
    )


def agree(kit, models, size, R, t, K, **more):
    """Both backends, equal; returns the rendering."""
    slow, slow_grads = kit.run(models, size, R, t, K, "reference", **more)
    fast, fast_grads = kit.run(models, size, R, t, K, "cpu", **more)
    assert torch.equal(slow.face_id, fast.face_id)
    torch.testing.assert_close(slow.depth_m, fast.depth_m, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(slow.soft_mask, fast.soft_mask, rtol=0, atol=1e-4)
    assert finite(slow_grads)
    assert finite(fast_grads)
    for output in slow_grads:
        for leaf in ("R", "t"):
            a, b = fast_grads[output][leaf], slow_grads[output][leaf]
            assert (a - b).norm() <= 1e-3 * b.norm() + 1e-5
    return fast


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("t", [(0, 0, -1), (0, 0, 0.001), (9, 0, 1), (0, -9, 1)])
def test_nothing_to_see(kit, backend, t):
    """Behind the camera, nearer than the near plane, beside the image."""
    models = kit.pack([kit.sphere(80, radius_m=0.005)])
    out, grads = kit.run(
        models, (20, 30), EYE, torch.tensor([t], dtype=torch.float32), kit.camera((20, 30)), backend
    )
    assert not out.covered.any()
    assert not out.rgb.any()
    assert not out.depth_m.any()
    assert not out.soft_mask.any()
    assert finite(grads)


def test_partly_outside(kit):
    models = kit.pack([kit.sphere(320)])
    for t in ([-0.1, 0, 0.3], [0.09, 0.07, 0.3], [0, -0.1, 0.3]):
        out = agree(kit, models, (40, 40), EYE, torch.tensor([t]), kit.camera((40, 40)))
        assert 0 < out.covered.float().mean() < 0.5


def test_face_that_crosses_the_near_plane_is_clipped(kit):
    """A floor from behind the camera to the far end: depth is that of the plane everywhere."""
    floor = kit.object_model(
        [[-30, 0.1, -3], [30, 0.1, -3], [30, 0.1, 300], [-30, 0.1, 300]], [[0, 1, 2], [0, 2, 3]]
    )
    K = torch.tensor([[20.0, 0, 20], [0, 20, 15], [0, 0, 1]])
    near = 0.25
    out = agree(kit, kit.pack([floor]), (30, 40), EYE, torch.zeros(1, 3), K, near_m=near)
    rows = (torch.arange(30) + 0.5 - 15) / 20  # y / z of each row
    expected = torch.where(rows > 0, 0.1 / rows, 0.0)
    expected[expected < near] = 0  # nearer than the near plane
    middle = out.depth_m[0, :, 20]
    torch.testing.assert_close(middle, expected, rtol=1e-5, atol=1e-6)
    assert out.soft_mask[0, 0, 20] == 0  # crossing faces cast no soft mask


def test_camera_inside_the_object(kit):
    models = kit.pack([kit.sphere(320)])
    out = agree(kit, models, (32, 32), EYE, torch.zeros(1, 3), kit.camera((32, 32)))
    assert out.covered.all()


def test_one_pixel_object(kit):
    """A mesh smaller than the distance between pixel centres, on one and beside it."""
    models = kit.pack([kit.sphere(80, radius_m=0.002)])
    K = torch.tensor([[100.0, 0, 10.53], [0, 100, 10.52], [0, 0, 1]])
    on = agree(kit, models, (21, 21), EYE, torch.tensor([[0, 0, 1.0]]), K)
    assert on.covered.sum() == 1
    assert on.covered[0, 10, 10]
    beside = agree(
        kit, models, (21, 21), EYE, torch.tensor([[0.005, 0.005, 1.0]]), K, box=0.3, sigma_inv=100.0
    )
    assert not beside.covered.any()
    assert beside.soft_mask.max() > 0.01  # still pulls


def test_degenerate_and_duplicate_faces(kit):
    """Faces without area draw nothing; of two equal faces the first is seen."""
    v = [[-0.1, -0.1, 0], [0.1, -0.1, 0], [0, 0.1, 0], [0.05, 0, 0], [0.1, 0.05, 0]]
    flat = [[0, 0, 0], [0, 1, 1], [0, 3, 0]]
    models = kit.pack([kit.object_model(v, [*flat, [0, 1, 2], [0, 1, 2]])])
    out = agree(kit, models, (24, 24), EYE, torch.tensor([[0, 0, 0.5]]), kit.camera((24, 24)))
    assert out.covered.sum() > 20
    assert (out.face_id[out.covered] == 3).all()


def test_shared_edges_leave_no_cracks(kit):
    """Pixel centres exactly on the edges of a grid of triangles."""
    n = 9
    y, x = np.mgrid[:n, :n].astype(np.float64)
    vertices = np.stack((x.ravel(), y.ravel(), np.full(n * n, 1.0)), 1)
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate((np.stack((a, a + 1, a + n), 1), np.stack((a + n, a + 1, a + n + 1), 1)))
    K = torch.tensor([[2.0, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    models = kit.pack([kit.object_model(vertices, faces)])
    for backend in FAST:
        out = render(EYE, torch.zeros(1, 3), K, models, (17, 17), backend=backend)
        assert out.covered.all()


def test_one_face_and_tiny_images(kit):
    models = kit.pack([kit.object_model([[-1, -1, 0], [1, -1, 0], [0, 1, 0]], [[0, 1, 2]])])
    for size in ((1, 1), (1, 7), (33, 1)):
        out = agree(kit, models, size, EYE, torch.tensor([[0, 0, 2.0]]), kit.camera(size, focal=1))
        assert out.rgb.shape == (1, 3, *size)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["R", "t"])
def test_broken_pose_draws_nothing_and_spares_the_others(kit, bad, where):
    models = kit.pack([kit.sphere(80)])
    R, t = kit.poses(2)
    if where == "R":
        R[0, 0, 1] = bad
    else:
        t[0, 0] = bad
    out, grads = kit.run(models, (24, 24), R, t, kit.camera((24, 24)), "cpu")
    assert not out.covered[0].any()
    assert out.covered[1].any()
    assert finite(grads)


def test_huge_mesh(kit):
    models = kit.pack([kit.sphere(499280)])
    R, t = kit.poses(1, distance=0.25)
    out, grads = kit.run(models, (64, 64), R, t, kit.camera((64, 64)), "cpu")
    assert out.covered.sum() > 200
    assert finite(grads)


def test_crop_equals_the_part_of_the_whole(kit):
    """A crop by its K alone shows the same values."""
    from self6d.geometry import crop_intrinsics

    models = kit.pack([kit.sphere(320)])
    R, t = kit.poses(1)
    K = kit.camera((64, 64))[None]
    whole = render(R, t, K, models, (64, 64))
    box = torch.tensor([[10.0, 14.0, 50.0, 46.0]])
    part = render(R, t, crop_intrinsics(K, box, (32, 40)), models, (32, 40))
    torch.testing.assert_close(part.depth_m, whole.depth_m[:, 14:46, 10:50])
    torch.testing.assert_close(part.rgb, whole.rgb[:, :, 14:46, 10:50])
