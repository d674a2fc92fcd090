"""Fast backends against the reference: values and gradients."""

import numpy as np
import pytest
import torch

from self6d.errors import InputError, MissingDependencyError
from self6d.rendering import Shading, available_backends, get_backend, render
from self6d.workers import run_parallel

CASES = {
    "triangles": (lambda kit: kit.random_mesh(60, 0), (48, 64), {}),
    "sphere": (lambda kit: kit.sphere(320), (50, 41), {}),
    "fine sphere": (lambda kit: kit.sphere(1280), (64, 70), {}),
    "wide box": (lambda kit: kit.random_mesh(20, 2), (32, 48), {"box": 0.2, "sigma_inv": 70.0}),
}


def check_values(fast, slow):
    assert (fast.face_id == slow.face_id).float().mean() >= 0.999
    same = (fast.face_id == slow.face_id) & slow.covered
    torch.testing.assert_close(fast.depth_m[same], slow.depth_m[same], rtol=1e-4, atol=0)
    rgb = [x.rgb.movedim(1, -1)[same] for x in (fast, slow)]
    torch.testing.assert_close(*rgb, rtol=0, atol=1e-4)
    torch.testing.assert_close(fast.soft_mask, slow.soft_mask, rtol=0, atol=1e-4)
    for x in (fast.rgb, fast.depth_m):
        assert (x.movedim(0, -3)[..., ~fast.covered] == 0).all()


@pytest.mark.parametrize("name", CASES)
def test_cpu_agrees_with_reference(kit, name):
    make, size, more = CASES[name]
    models = kit.pack([make(kit)])
    R, t = kit.poses(2, seed=5)
    K = kit.camera(size, skew=1.5)
    slow, slow_grads = kit.run(models, size, R, t, K, "reference", **more)
    fast, fast_grads = kit.run(models, size, R, t, K, "cpu", **more)
    check_values(fast, slow)
    for output, grads in slow_grads.items():
        for leaf, expected in grads.items():
            got = fast_grads[output][leaf]
            if expected is None:
                assert got is None or not got.any()
                continue
            cosine = torch.nn.functional.cosine_similarity(got.view(-1), expected.view(-1), dim=0)
            assert cosine >= 0.999, (output, leaf)
            assert kit.relative(got, expected) <= 1e-3, (output, leaf)


@pytest.mark.parametrize("near_m", [0.01, 0.35])  # the second cuts through the mesh
def test_gradients_of_the_pose_alone_are_those_beside_vertices(kit, near_m):
    """Poses and cameras alone take a shorter way through the kernels."""
    models = kit.pack([kit.sphere(1280)])
    size = (70, 64)
    R, t = kit.poses(2, seed=7)
    *pose, vertices, colors = kit.leaves(R, t, kit.camera(size, skew=1.5), models)
    weights = {}

    def gradients(**more):
        out = render(*pose, models, size, backend="cpu", near_m=near_m, **more)
        assert out.covered.any()
        loss = 0.0
        for name in ("rgb", "depth_m", "soft_mask"):
            value = getattr(out, name)
            loss = loss + (value * weights.setdefault(name, torch.randn_like(value))).sum()
        return torch.autograd.grad(loss, pose)

    alone, beside = gradients(), gradients(vertices=vertices, colors=colors)
    for got, expected in zip(alone, beside, strict=True):
        assert expected.any()
        torch.testing.assert_close(
            got, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())
        )


@pytest.mark.real
@pytest.mark.parametrize("number", [1, 5])
def test_cpu_agrees_with_reference_on_lmo(kit, real_data, number):
    import trimesh

    mesh = trimesh.load(real_data / f"lmo/models/obj_{number:06d}.ply", process=False)
    colors = mesh.visual.vertex_colors[:, :3] / 255
    models = kit.pack([kit.object_model(mesh.vertices / 1000, mesh.faces, colors)])
    size, K = (40, 40), torch.tensor([[190.0, 0, 20], [0, 190, 20], [0, 0, 1]])
    R, t = kit.poses(1, seed=2, distance=0.8)
    slow, slow_grads = kit.run(models, size, R, t, K, "reference")
    fast, fast_grads = kit.run(models, size, R, t, K, "cpu")
    assert slow.covered.sum() > 100
    check_values(fast, slow)
    for output, grads in slow_grads.items():
        for leaf in ("R", "t"):
            assert kit.relative(fast_grads[output][leaf], grads[leaf]) <= 1e-2


def test_batches_of_different_objects_equal_single_renders(kit):
    models = kit.pack([kit.sphere(80), kit.random_mesh(30, 4), kit.sphere(320)])
    size = (40, 56)
    R, t = kit.poses(4)
    K = torch.stack([kit.camera(size, focal=f) for f in (60.0, 80.0, 100.0, 70.0)])
    index = torch.tensor([2, 0, 1, 2])
    every = render(R, t, K, models, size, object_index=index)
    for b in range(4):
        alone = render(
            R[b : b + 1], t[b : b + 1], K[b], models, size, object_index=index[b : b + 1]
        )
        for name in ("rgb", "depth_m", "soft_mask", "face_id"):
            assert torch.equal(getattr(every, name)[b], getattr(alone, name)[0])


def test_results_do_not_depend_on_the_number_of_threads(kit):
    models = kit.pack([kit.sphere(980)])
    size = (100, 70)
    R, t = kit.poses(2)
    K = kit.camera(size)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(kit.run(models, size, R, t, K, "cpu"))
    finally:
        torch.set_num_threads(before)
    (one, one_grads), (three, three_grads) = results
    assert torch.equal(one.soft_mask, three.soft_mask)
    for output in one_grads:
        for leaf, g in one_grads[output].items():
            assert g is None or torch.equal(g, three_grads[output][leaf])


def test_hard_mask_has_no_gradient(kit):
    models = kit.pack([kit.sphere(80)])
    R, t = kit.poses(1)
    t.requires_grad_()
    for backend in ("reference", "cpu"):
        out = render(R, t, kit.camera((20, 20)), models, (20, 20), soft_mask=False, backend=backend)
        assert torch.equal(out.soft_mask, out.covered.float())
        g = torch.autograd.grad(out.soft_mask.sum() + 0 * out.depth_m.sum(), t)[0]
        assert not g.any()


def test_shading_agrees_and_stops_color_gradients(kit):
    models = kit.pack([kit.sphere(320)])
    size = (48, 48)
    R, t = kit.poses(2)
    g = torch.Generator().manual_seed(0)
    shading = Shading(
        ambient=torch.rand(2, 3, generator=g),
        directions=torch.randn(2, 3, 3, generator=g),
        colors=torch.rand(2, 3, 3, generator=g),
        specular=torch.tensor([0.5, 0.0]),
        shininess=torch.tensor([8.0, 1.0]),
    )
    slow, _ = kit.run(models, size, R, t, kit.camera(size), "reference", shading=shading)
    fast, grads = kit.run(models, size, R, t, kit.camera(size), "cpu", shading=shading)
    check_values(fast, slow)
    assert slow.rgb.std() > 0.1
    assert not slow.rgb.requires_grad
    assert not any(g.any() for g in grads.get("rgb", {}).values() if g is not None)
    assert grads["depth_m"]["R"].any()


def test_headlight_is_brightest_where_it_hits_head_on(kit):
    models = kit.pack([kit.sphere(2000)])
    t = torch.tensor([[0, 0, 0.4]])
    out = render(
        torch.eye(3)[None], t, kit.camera((64, 64)), models, (64, 64),
        shading=kit.headlight(1), colors=torch.ones_like(models.colors),
    )  # fmt: skip
    bright = out.rgb[0, 0]
    rim = out.covered[0] & (bright > 0) & (bright < 0.6)
    assert bright.max() <= 1
    assert bright[30:38, 28:34].mean() > 0.85
    assert rim.any()


def test_available_backends_say_what_is_missing():
    reasons = available_backends()
    assert reasons["reference"] is None
    assert reasons["cpu"] is None
    for name, reason in reasons.items():
        if reason is not None:
            assert "\n" not in reason
            with pytest.raises(MissingDependencyError):
                get_backend(name)


def test_unknown_backend(kit):
    with pytest.raises(InputError, match="no render backend is called 'opengl'"):
        get_backend("opengl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R": torch.eye(3)}, "poses have shapes"),
        ({"R": torch.tensor(1.0)}, "poses have shapes"),
        ({"R": np.eye(3)[None]}, "R is of type ndarray, not a torch tensor"),
        ({"K": np.eye(3)}, "K is of type ndarray, not a torch tensor"),
        ({"object_index": [0]}, "object_index is of type list, not a torch tensor"),
        ({"K": torch.eye(4)}, "camera matrices have shape"),
        ({"size": (0, 5)}, "image size"),
        ({"size": (8.0, 8)}, "image size .* is not two whole numbers"),
        ({"size": (3, 8, 8)}, "image size .* is not two whole numbers"),
        ({"t": torch.zeros(1, 3, dtype=torch.float64)}, "t is torch.float64"),
        ({"object_index": torch.tensor([3])}, "leaves the 1 models"),
        ({"object_index": torch.tensor([0.0])}, "object_index is"),
        ({"near_m": 0.0}, "out of range"),
        ({"vertices": torch.zeros(2, 3)}, "vertices have shape"),
        ({"R": torch.eye(3).half()[None]}, "poses are torch.float16"),
    ],
)
def test_wrong_arguments_are_named(kit, change, message):
    models = kit.pack([kit.sphere(20)])
    arguments = {
        "R": torch.eye(3)[None], "t": torch.tensor([[0, 0, 1.0]]), "K": kit.camera((8, 8)),
        "models": models, "size": (8, 8),
    } | change  # fmt: skip
    with pytest.raises(InputError, match=message):
        render(**arguments)


def test_float64_goes_to_the_reference_only(kit):
    models = kit.pack([kit.sphere(20)], dtype=torch.float64)
    R, t = (x.double() for x in kit.poses(1))
    K = kit.camera((8, 8)).double()
    assert render(R, t, K, models, (8, 8)).depth_m.dtype == torch.float64
    with pytest.raises(InputError, match=r"cannot render torch\.float64"):
        render(R, t, K, models, (8, 8), backend="cpu")


def test_work_is_shared_and_errors_come_back():
    seen = np.zeros(50, int)
    run_parallel(lambda i: seen.__setitem__(i, seen[i] + 1), 50)
    assert (seen == 1).all()
    with pytest.raises(ZeroDivisionError):
        run_parallel(lambda i: 1 // (i - 3), 8)
    run_parallel(lambda i: seen.__setitem__(i, 0), 50)  # helpers live on
    assert not seen.any()
