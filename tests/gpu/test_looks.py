"""Looks of the RGB refiner in a CUDA graph against the same looks one kernel at a time."""

from __future__ import annotations

import pytest
import torch
from tetrahedra import models

from self6d.geometry import random_rotations
from self6d.refinement.rgb.captured import PLACES
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.refine import RgbRefined, RgbRefiner

pytestmark = pytest.mark.gpu

K = torch.tensor([[[300.0, 0, 160], [0, 300, 120], [0, 0, 1]]])


def made(graph: bool) -> RgbRefiner:
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerConfig(backbone="resnet18-w16", size=96, head_channels=16))
    torch.nn.init.normal_(network.out.weight, std=0.05)  # it moves what it sees
    return RgbRefiner(network, models(3), "cuda", graph=graph)


def given(n: int, images: int = 1, seed: int = 0) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    t = torch.tensor([0.0, 0, 0.6]) + 0.05 * torch.randn(n, 3, generator=g)
    index = torch.arange(n)
    parts = (
        torch.rand(images, 3, 240, 320, generator=g), K.expand(images, 3, 3), index % images,
        index % 3, random_rotations(n, generator=g), t,
    )  # fmt: skip
    return tuple(part.cuda() for part in parts)


def agree(found: RgbRefined, right: RgbRefined, atol: float) -> None:
    for name in ("R", "t", "confidence", "last_move"):
        torch.testing.assert_close(
            getattr(found, name), getattr(right, name), atol=atol, rtol=0, msg=name
        )


@pytest.mark.parametrize(("places", "images"), [(8, 1), (16, 2)])
def test_a_graph_gives_what_single_kernels_give(places: int, images: int) -> None:
    """Of as many instances as it has places the very same work; other poses, weights changed."""
    captured, eager = made(graph=True), made(graph=False)
    assert places in PLACES
    for call in range(4):
        inputs = given(places, images, seed=call)
        if call == 3:
            for refiner in (captured, eager):
                weights = refiner.network.state_dict()
                refiner.network.load_state_dict({k: v * 1.02 for k, v in weights.items()})
        found = captured.refine(*inputs)
        agree(found, eager.refine(*inputs), 2e-4)
        assert (found.t - inputs[-1]).norm(dim=1).min() > 1e-4
    assert captured._captured is not None
    assert len(captured._captured[1]._graphs) == 1


def test_fewer_and_more_instances_than_places() -> None:
    """Other batch sizes are convolved by other kernels: equal within bfloat16."""
    captured, eager = made(graph=True), made(graph=False)
    for n in (5, 5, 3, 70, 0, 70, 7):
        inputs = given(n, seed=n)
        agree(captured.refine(*inputs, looks=1), eager.refine(*inputs, looks=1), 0.02)


def test_nothing_waits_for_the_device() -> None:
    captured, inputs = made(graph=True), given(8)
    for _ in range(3):
        captured.refine(*inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        captured.refine(*inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
