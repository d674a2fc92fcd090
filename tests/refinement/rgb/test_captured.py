"""Looks in one graph: what it holds, when it is made, and that the host is asked nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from host_free import OnDeviceOnly

from self6d.geometry import random_rotations
from self6d.refinement.rgb import look as looking
from self6d.refinement.rgb.captured import MOST_FORMS, CapturedLooks
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.rendering.result import Rendering
from self6d.synthesis.shapes.generated import generated_models

CONFIG = RefinerConfig(backbone="resnet18-w8", size=64, head_channels=8, looks=2)
K = torch.tensor([[[300.0, 0, 160], [0, 300, 120], [0, 0, 1]]])


def replayed(work: Callable[[], tuple], pool: None) -> tuple[Callable[[], None], tuple]:
    """What `capture` does, without a GPU: each replay writes over the first result."""
    result = work()

    def replay() -> None:
        for kept, new in zip(result, work(), strict=True):
            kept.copy_(new)

    return replay, result


def inputs(n: int, images: int = 2, seed: int = 1) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    t = torch.tensor([0.0, 0, 0.8]) + 0.1 * torch.randn(n, 3, generator=g)
    index = torch.arange(n)
    pictures = torch.rand(images, 3, 240, 320, generator=g)
    R = random_rotations(n, generator=g)
    return pictures, K.expand(images, 3, 3), index % images, index // 2 % 2, R, t


@pytest.fixture(scope="module")
def refiner() -> RgbRefiner:
    torch.manual_seed(0)
    network = RefinerNetwork(CONFIG)
    torch.nn.init.normal_(network.out.weight, std=0.05)  # it moves what it sees
    return RgbRefiner(network, generated_models(2, seed=3))


def test_a_form_is_captured_the_second_time_and_fewer_instances_use_it(refiner) -> None:
    run = CapturedLooks(refiner._refine, replayed)
    calls = [inputs(5), inputs(5, seed=2), inputs(3, seed=3), inputs(8, seed=4)]
    calls.append(inputs(4, images=1, seed=5))  # of two images held, one is used
    for number, given in enumerate(calls):
        with torch.no_grad():
            found, right = run(2, *given), refiner._refine(*given, 2)
        assert len(run._graphs) == min(number, 1)
        for part, expected in zip(found, right, strict=True):
            torch.testing.assert_close(part, expected, atol=2e-5, rtol=1e-4)
    with torch.no_grad():
        first = run(2, *calls[0])
        kept = [part.clone() for part in first]
        run(2, *calls[1])
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))


def test_what_fits_no_graph_runs_as_it_is() -> None:
    def work(images: Any, K: Any, i: Any, j: Any, R: Any, t: Any, looks: int) -> tuple:
        return (t * looks + images.shape[-1],)

    def given(n: int, width: int) -> list[torch.Tensor]:
        nothing = torch.zeros(n, dtype=torch.long)
        rows = torch.zeros(n, 3, 3), torch.arange(3.0 * n).view(n, 3)
        return [torch.zeros(1, 3, 4, width), torch.zeros(1, 3, 3), nothing, nothing, *rows]

    run = CapturedLooks(work, replayed)
    for width in range(MOST_FORMS + 3):
        for n in (1, 9, 1, 100):
            (found,) = run(3, *given(n, width))
            assert torch.equal(found, given(n, width)[-1] * 3 + width)
    assert len(run._graphs) == MOST_FORMS

    def too_large(work: Any, pool: None) -> Any:
        raise torch.OutOfMemoryError

    run = CapturedLooks(work, too_large)
    assert [float(run(1, *given(1, 4))[0][0, 1]) for _ in range(3)] == [5.0] * 3


@pytest.mark.parametrize("images", [1, 2])
def test_the_host_is_asked_nothing(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(R: torch.Tensor, *_: Any, **__: Any) -> Rendering:
        flat = R.sum((1, 2))[:, None, None].expand(-1, CONFIG.size, CONFIG.size) * 1.0
        face = torch.zeros(flat.shape, dtype=torch.int32, device=R.device)
        return Rendering(flat[:, None] * R.new_ones(3, 1, 1), flat, flat, face)

    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # not for this device
    monkeypatch.setattr(looking, "render", drawn)  # the kernels' own launches wait for nothing
    there = RgbRefiner(RefinerNetwork(CONFIG), generated_models(2, seed=3), "meta")
    given = [part.to("meta") for part in inputs(3, images)]
    with torch.no_grad():
        there._refine(*given, 1)  # constants are made once, before a graph is recorded
        with OnDeviceOnly():
            found = there._refine(*given, 2)
    assert [len(part) for part in found] == [3] * 4
