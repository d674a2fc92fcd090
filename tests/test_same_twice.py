"""The process that compiles the loops and one that loads them from the cache compute the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STEP = """
import hashlib, torch
from self6d.evaluation import metrics
from self6d.geometry import random_rotations
from self6d.losses.ms_ssim import ms_ssim_to, scale_statistics
from self6d.rendering import pack_models, render
from self6d.synthesis.shapes.generated import generated_models

torch.set_num_threads({threads})
models = pack_models(generated_models(2, seed=4))
g = torch.Generator().manual_seed(0)
R = random_rotations(4, generator=g).requires_grad_()
t = (torch.tensor([0.0, 0, 0.6]) + 0.02 * torch.randn(4, 3, generator=g)).requires_grad_()
K = torch.tensor([[300.0, 0, 64], [0, 300, 64], [0, 0, 1]]).expand(4, 3, 3)
seen = render(R, t, K, models, (128, 128), object_index=torch.arange(4) % 2)
source = scale_statistics(torch.rand(4, 2, 128, 128, generator=g))
loss = ms_ssim_to(source, seen.rgb[:, :2]).sum()
loss = loss + (seen.soft_mask * torch.linspace(0, 1, 128)).sum()
loss.backward()
turned = random_rotations(128, generator=g).double()
placed = torch.tensor([0.0, 0, 0.6]) + 0.02 * torch.randn(128, 3, generator=g).double()
at = [x.numpy() for x in (turned, placed, turned.roll(1, 0), placed.roll(1, 0))]
points = 0.05 * torch.randn(700, 3, generator=g, dtype=torch.float64).numpy()
errors = torch.from_numpy(metrics.projection_2d(*at, K[0].numpy(), points))
parts = (errors, seen.rgb, seen.depth_m, seen.soft_mask, R.grad, t.grad)
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parts)).hexdigest())
"""


ROOT = Path(__file__).parents[1]


def compiled() -> list[Path]:
    return list((ROOT / "self6d").rglob("*.nbc"))


def answer(cache: dict[str, str], threads: int = 1) -> str:
    inherited = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment = inherited | {"PYTHONPATH": str(ROOT)} | cache
    run = subprocess.run(
        [sys.executable, "-c", STEP.format(threads=threads)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return run.stdout.strip()


@pytest.mark.slow
@pytest.mark.timeout(600)  # compiling takes a minute of processor time
def test_compiled_here_or_read_from_the_cache_on_one_thread_or_two(tmp_path: Path) -> None:
    """Where nothing is compiled yet it is compiled in place: the tests to come need it too."""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)} if compiled() else {}
    cold = answer(cache)
    assert compiled()
    assert any(tmp_path.rglob("*.nbc")) == bool(cache)
    assert answer(cache, threads=2) == cold
