"""The CUDA backend on a GPU: against the reference and the CPU, in graphs, at its limits."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from self6d.benchmarks.render import bumpy_sphere
from self6d.rendering import Shading, available_backends, pack_models, render

spec = importlib.util.spec_from_file_location(
    "render_kit", Path(__file__).parent.parent / "rendering" / "conftest.py"
)
kit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kit)

pytestmark = pytest.mark.gpu
BOX = [[x, y, z] for x in (-0.05, 0.05) for y in (-0.05, 0.05) for z in (-0.05, 0.05)]
SIDES = [
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
]  # fmt: skip


def textured():
    sphere = bumpy_sphere(320)
    rng = np.random.default_rng(0)
    corners = sphere.vertices[sphere.faces]
    return kit.object_model(
        sphere.vertices, sphere.faces, sphere.colors,
        uv=(corners[..., :2] * 30).astype(np.float32),
        texture=rng.integers(0, 255, (37, 50, 3), dtype=np.uint8),
    )  # fmt: skip


def box():
    return kit.object_model(BOX, SIDES, np.random.default_rng(1).uniform(size=(8, 3)))


CASES = {
    "triangles": ([kit.random_mesh(60, 0)], (48, 64), 0.35, "reference"),
    "sphere": ([bumpy_sphere(320)], (50, 41), 0.35, "reference"),
    "two objects": ([bumpy_sphere(320), kit.random_mesh(30, 2)], (64, 64), 0.35, "reference"),
    "box fills the image": ([box()], (300, 400), 0.25, "cpu"),
    "many faces": ([bumpy_sphere(81920)], (240, 320), 0.3, "cpu"),
    "texture": ([textured(), bumpy_sphere(80)], (60, 70), 0.3, "cpu"),
    "triangles, large": ([kit.random_mesh(200, 3)], (480, 640), 0.3, "cpu"),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_reference_or_cpu(name):
    models, size, distance, against = CASES[name]
    packed = pack_models(models)
    R, t = kit.poses(3, seed=4, distance=distance)
    K = kit.camera(size, skew=1.0)
    index = torch.tensor([0, len(models) - 1, 0])
    slow, slow_grads = kit.run(packed, size, R, t, K, against, object_index=index)
    gpu = [x.cuda() for x in (R, t, K)]
    fast, fast_grads = kit.run(packed.to("cuda"), size, *gpu, "cuda", object_index=index.cuda())
    ids = fast.face_id.cpu()
    assert (ids == slow.face_id).float().mean() >= 0.999
    same = (ids == slow.face_id) & slow.covered
    depth, rgb = fast.depth_m.cpu()[same], fast.rgb.movedim(1, -1).cpu()[same]
    torch.testing.assert_close(depth, slow.depth_m[same], rtol=1e-4, atol=0)
    torch.testing.assert_close(rgb, slow.rgb.movedim(1, -1)[same], rtol=0, atol=2e-3)
    # a pixel exactly on the edge of a box may fall on either side in float32
    wrong = (fast.soft_mask.cpu() - slow.soft_mask).abs() > 1e-4
    assert wrong.float().mean() < 1e-3
    for output, grads in slow_grads.items():
        for leaf, expected in grads.items():
            if expected is None or not expected.any():
                continue
            got = fast_grads[output][leaf].cpu()
            assert torch.isfinite(got).all()
            cosine = torch.nn.functional.cosine_similarity(got.view(-1), expected.view(-1), dim=0)
            assert cosine >= 0.999, (output, leaf)
            assert kit.relative(got, expected) <= 1e-2, (output, leaf)


def test_shading_agrees():
    packed = pack_models([bumpy_sphere(320)])
    size = (64, 64)
    R, t = kit.poses(2)
    g = torch.Generator().manual_seed(0)
    parts = (
        torch.rand(2, 3, generator=g), torch.randn(2, 3, 3, generator=g),
        torch.rand(2, 3, 3, generator=g), torch.tensor([0.5, 0.0]), torch.tensor([8.0, 1.0]),
    )  # fmt: skip
    K = kit.camera(size)
    slow = render(R, t, K, packed, size, shading=Shading(*parts))
    gpu = [x.cuda() for x in (R, t, K)]
    fast = render(*gpu, packed.to("cuda"), size, shading=Shading(*(x.cuda() for x in parts)))
    same = fast.face_id.cpu() == slow.face_id
    difference = (fast.rgb.cpu() - slow.rgb).abs().amax(1)[same]
    assert difference.max() < 1e-3


def test_a_floor_through_the_near_plane():
    floor = kit.object_model(
        [[-3, 0.1, -3], [3, 0.1, -3], [3, 0.1, 3], [-3, 0.1, 3]], [[0, 1, 2], [0, 2, 3]]
    )
    packed = pack_models([floor])
    R, t, K = torch.eye(3)[None], torch.tensor([[0, 0, 0.5]]), kit.camera((60, 80))
    slow = render(R, t, K, packed, (60, 80))
    fast = render(R.cuda(), t.cuda(), K.cuda(), packed.to("cuda"), (60, 80))
    assert slow.covered.sum() > 1000
    assert torch.equal(fast.face_id.cpu(), slow.face_id)
    torch.testing.assert_close(fast.depth_m.cpu(), slow.depth_m, rtol=1e-5, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_broken_pose_draws_nothing_and_has_finite_gradients(bad):
    packed = pack_models([bumpy_sphere(80)], "cuda")
    R, t = (x.cuda() for x in kit.poses(2))
    t = t.clone()
    t[0, 2] = bad
    R.requires_grad_(), t.requires_grad_()
    out = render(R, t, kit.camera((32, 32)).cuda(), packed, (32, 32))
    (out.rgb.sum() + out.depth_m.sum() + out.soft_mask.sum()).backward()
    assert not out.covered[0].any()
    assert out.covered[1].any()
    assert torch.isfinite(R.grad).all()
    assert torch.isfinite(t.grad).all()


def test_an_optimisation_step_in_a_cuda_graph():
    packed = pack_models([bumpy_sphere(1280)], "cuda")
    R, t = (x.cuda() for x in kit.poses(2))
    K = kit.camera((64, 64)).cuda()
    target = render(R, t + 0.004, K, packed, (64, 64))

    def step(position):
        out = render(R, position, K, packed, (64, 64))
        loss = ((out.soft_mask - target.soft_mask) ** 2).mean() + (
            (out.depth_m - target.depth_m) ** 2
        ).mean()
        loss.backward()
        with torch.no_grad():
            position -= 1e-3 * position.grad
            position.grad.zero_()
        return loss

    eager, captured = (t.clone().requires_grad_() for _ in range(2))
    for x in (eager, captured):
        x.grad = torch.zeros_like(x)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(2):
            step(captured)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(captured)
    for _ in range(5):
        graph.replay()
    for _ in range(7):
        expected = step(eager)
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(captured, eager, rtol=0, atol=1e-6)


def test_runs_on_the_current_stream():
    packed = pack_models([bumpy_sphere(5120)], "cuda")
    R, t = (x.cuda() for x in kit.poses(8))
    K = kit.camera((256, 256)).cuda()
    expected = render(R, t, K, packed, (256, 256)).depth_m
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)
        late = t * 1.0  # ready only after the sleep
        got = render(R, late, K, packed, (256, 256)).depth_m
    stream.synchronize()
    assert torch.equal(got, expected)


def test_half_a_million_faces():
    packed = pack_models([bumpy_sphere(499280)], "cuda")
    R, t = (x.cuda().requires_grad_() for x in kit.poses(8))
    out = render(R, t, kit.camera((480, 640)).cuda(), packed, (480, 640))
    out.soft_mask.sum().backward()
    assert torch.isfinite(R.grad).all()
    assert out.covered.any(dim=2).any(dim=1).all()


def test_memory_of_a_large_batch():
    packed = pack_models([bumpy_sphere(20480)], "cuda")
    R, t = (x.cuda().requires_grad_() for x in kit.poses(32))
    torch.cuda.reset_peak_memory_stats()
    out = render(R, t, kit.camera((480, 640)).cuda(), packed, (480, 640))
    (out.rgb.sum() + out.depth_m.sum() + out.soft_mask.sum()).backward()
    assert torch.cuda.max_memory_allocated() < 3e9


@pytest.mark.skipif(importlib.util.find_spec("kaolin") is None, reason="kaolin is not installed")
def test_agrees_with_kaolin(monkeypatch):
    if (reason := available_backends()["kaolin"]) is not None:
        pytest.skip(reason)
    from self6d.rendering import kaolin_backend

    monkeypatch.setattr(kaolin_backend, "KNUM", 400)
    packed = pack_models([bumpy_sphere(1280), kit.random_mesh(40, 0)], "cuda")
    size = (96, 128)
    R, t = (x.cuda() for x in kit.poses(2))
    K = kit.camera(size).cuda()
    index = torch.tensor([0, 1], device="cuda")
    ours, our_grads = kit.run(packed, size, R, t, K, "cuda", object_index=index)
    theirs, their_grads = kit.run(packed, size, R, t, K, "kaolin", object_index=index)
    same = (ours.face_id == theirs.face_id) & ours.covered
    assert (ours.face_id == theirs.face_id).float().mean() >= 0.999
    torch.testing.assert_close(ours.depth_m[same], theirs.depth_m[same], rtol=1e-4, atol=0)
    assert ((ours.rgb - theirs.rgb).abs().amax(1)[same] < 1e-3).float().mean() > 0.999
    assert ((ours.soft_mask - theirs.soft_mask).abs() > 1e-3).float().mean() < 1e-3
    for output, grads in their_grads.items():
        for leaf in ("R", "t"):
            a, b = our_grads[output][leaf], grads[leaf]
            cosine = torch.nn.functional.cosine_similarity(a.reshape(-1), b.reshape(-1), dim=0)
            assert cosine >= 0.999, (output, leaf, float(cosine))


def test_agrees_with_nvdiffrast():
    if (reason := available_backends()["nvdiffrast"]) is not None:
        pytest.skip(reason)
    packed = pack_models([bumpy_sphere(1280)], "cuda")
    size = (96, 128)
    R, t = (x.cuda() for x in kit.poses(2))
    K = kit.camera(size, skew=1.0).cuda()
    ours, _ = kit.run(packed, size, R, t, K, "cuda")
    theirs, their_grads = kit.run(packed, size, R, t, K, "nvdiffrast")
    same = (ours.face_id == theirs.face_id) & ours.covered
    assert (ours.face_id == theirs.face_id).float().mean() >= 0.995
    torch.testing.assert_close(ours.depth_m[same], theirs.depth_m[same], rtol=1e-4, atol=0)
    assert ((ours.rgb - theirs.rgb).abs().amax(1)[same] < 1e-3).float().mean() > 0.999
    # the mask is another one: it agrees away from the silhouette
    near = torch.nn.functional.max_pool2d((ours.soft_mask > 1e-3).float(), 5, 1, 2)
    assert not theirs.soft_mask[near == 0].any()
    assert their_grads["soft_mask"]["t"].any()
    # where both show one face: at a silhouette a face seen edge-on outweighs all others
    seed = torch.randn(ours.rgb.shape, generator=torch.Generator().manual_seed(3)).cuda()
    found = []
    for backend in ("cuda", "nvdiffrast"):
        leaves = [x.clone().requires_grad_() for x in (R, t, packed.colors)]
        rgb = render(*leaves[:2], K, packed, size, colors=leaves[2], backend=backend).rgb
        found.append(torch.autograd.grad((rgb * seed * same[:, None]).sum(), leaves))
    for a, b in zip(*found, strict=True):
        cosine = torch.nn.functional.cosine_similarity(a.reshape(-1), b.reshape(-1), dim=0)
        assert cosine >= 0.99
