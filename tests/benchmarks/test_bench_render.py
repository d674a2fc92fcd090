"""The renderer under pytest-benchmark; `self6d-studio bench render` prints the full table."""

import pytest
import torch

from self6d.benchmarks.render import bench_render, bumpy_sphere, scene, table
from self6d.rendering import pack_models, render

CPU_CASES = [(15680, 1, 256, 256), (980, 8, 128, 128)]
CUDA_CASES = [(5120, 1, 128, 128), (20480, 32, 256, 256), (20480, 32, 480, 640)]
CASES = [("cpu", *c) for c in CPU_CASES] + [
    pytest.param("cuda", *c, marks=pytest.mark.gpu) for c in CUDA_CASES
]


@pytest.mark.parametrize(("device", "faces", "batch", "height", "width"), CASES)
def test_forward_and_backward_to_the_pose(benchmark, device, faces, batch, height, width):
    models = pack_models([bumpy_sphere(faces)], device)
    given = scene(models, batch, height, width)
    R, t = (given[name].requires_grad_() for name in ("R", "t"))
    seeds = tuple(given[name] for name in ("rgb", "depth", "mask"))

    def step():
        out = render(R, t, given["K"], models, (height, width))
        grads = torch.autograd.grad((out.rgb, out.depth_m, out.soft_mask), (R, t), seeds)
        if device == "cuda":
            torch.cuda.synchronize()
        return grads

    step()
    grads = benchmark.pedantic(step, rounds=5)
    assert all(torch.isfinite(g).all() for g in grads)
    assert all(g.any() for g in grads)


def test_rows_of_the_command():
    seen = []
    rows = bench_render(
        "cpu", ["reference"], repeats=1, cases=[(20, 1, 16, 24)], listener=seen.append
    )
    assert rows == seen
    assert [r["backend"] for r in rows] == ["cpu", "reference"]
    for row in rows:
        assert (row["faces"], row["batch"], row["height"], row["width"]) == (20, 1, 16, 24)
        assert 0 < row["covered"] < 1
        assert row["forward_backward_ms"] > 0
        assert row["forward_ms"] > 0
        assert row["peak_mb"] > 0
    assert table(rows).row_count == 2
    assert table(rows).caption is None
    nvdiffrast = [row | {"backend": "nvdiffrast"} for row in rows]
    assert "no soft mask" in table(nvdiffrast).caption
