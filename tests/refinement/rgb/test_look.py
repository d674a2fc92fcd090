"""A look moves a pose as its change says; the losses vanish where that leads to the truth."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from self6d.geometry import (
    egocentric_to_allocentric,
    matrix_to_rotation6d,
    project,
    random_rotations,
)
from self6d.network.objects import ObjectTable
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.look import RefinerScene, diameters, position_of, take_look
from self6d.refinement.rgb.losses import Truth, look_losses
from self6d.refinement.rgb.network import Change
from self6d.refinement.rgb.starts import disturbed
from self6d.rendering import pack_models
from self6d.synthesis.shapes.generated import generated_models

CONFIG = RefinerConfig(size=64, instances=6, backbone="resnet18-w8")
N = 6


class Told(nn.Module):
    """Says a given change, and remembers what it was shown."""

    def __init__(self, change: Change | None = None) -> None:
        super().__init__()
        self.config, self.change = CONFIG, change

    def forward(self, *shown: Tensor) -> Change:
        self.shown = shown
        if self.change is not None:
            return self.change
        still = torch.tensor([1.0, 0, 0, 0, 1, 0]).expand(N, 6)
        zero = torch.zeros(N)
        return Change(still, torch.zeros(N, 2), zero, zero, torch.zeros(N, 16, 16))


@pytest.fixture(scope="module")
def models() -> list:
    return generated_models(3, seed=1)


@pytest.fixture
def scene(models: list) -> RefinerScene:
    K = torch.tensor([[300.0, 0, 160], [0, 310, 120], [0, 0, 1]]).expand(N, 3, 3)
    index = torch.arange(N) % 3
    return RefinerScene(
        torch.rand(2, 3, 240, 320), K, torch.arange(N) // 3, pack_models(models),
        diameters(models, "cpu"), index, torch.zeros_like(index),
    )  # fmt: skip


def poses() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    t = torch.tensor([0.0, 0, 0.7]) + 0.08 * torch.randn(N, 3, generator=g)
    return random_rotations(N, generator=g), t


def starts(scene: RefinerScene) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    diameter = scene.diameter[scene.object_index]
    return disturbed(*poses(), scene.centre, diameter, CONFIG, g)


def true_change(scene: RefinerScene, R: Tensor, t: Tensor) -> Change:
    R_true, t_true = poses()
    old, new = (position_of(*pose, scene.centre) for pose in ((R, t), (R_true, t_true)))
    told = Told()
    region = take_look(told, scene, R, t).region
    turn = egocentric_to_allocentric(R_true, new) @ egocentric_to_allocentric(R, old).mT
    pixel = [project(p[:, None], scene.K)[:, 0] for p in (old, new)]
    side = (region[:, 2] - region[:, 0])[:, None]
    return Change(
        matrix_to_rotation6d(turn), (pixel[1] - pixel[0]) / side, (new[:, 2] / old[:, 2]).log(),
        torch.full((N,), 9.0), torch.zeros(N, 16, 16),
    )  # fmt: skip


def test_no_change_leaves_the_pose(scene: RefinerScene) -> None:
    R, t = poses()
    look = take_look(Told(), scene, R, t)
    torch.testing.assert_close(look.R, R, atol=1e-5, rtol=0)
    torch.testing.assert_close(look.t, t, atol=1e-5, rtol=0)


def test_the_true_change_leads_to_the_truth_at_no_loss(scene: RefinerScene, models: list) -> None:
    R, t = starts(scene)
    R_true, t_true = poses()
    assert (t - t_true).norm(dim=1).min() > 1e-3
    change = true_change(scene, R, t)
    look = take_look(Told(change), scene, R, t)
    torch.testing.assert_close(look.R, R_true, atol=1e-4, rtol=0)
    torch.testing.assert_close(look.t, t_true, atol=1e-4, rtol=0)
    objects = ObjectTable(models, 64, 0, 8)
    truth = Truth(R_true, t_true, torch.zeros(N, 16, 16), torch.ones(N))
    before = position_of(R, t, scene.centre)
    terms = look_losses(look, before, scene, truth, objects, CONFIG)
    assert all(terms[name] < 1e-3 for name in ("rotation", "shift", "distance", "confidence"))
    wrong = look_losses(take_look(Told(), scene, R, t), before, scene, truth, objects, CONFIG)
    assert all(wrong[name] > 0.01 for name in ("rotation", "shift", "distance"))


def test_crop_and_rendering_show_the_same_view(scene: RefinerScene) -> None:
    """A rendering put into the image is what the crop shows, to a fraction of a pixel."""
    from self6d.rendering import render

    R, t = poses()
    whole = render(R, t, scene.K, scene.models, (240, 320), object_index=scene.object_index)
    from dataclasses import replace

    images = whole.covered[:, None].float().expand(-1, 3, -1, -1)
    told = Told()
    take_look(told, replace(scene, images=images, image_index=torch.arange(N)), R, t)
    crop, mask = told.shown[0][:, 0], told.shown[2]
    assert (crop - mask).abs().mean() < 0.02
    axis = torch.arange(64.0)
    for weight in (axis, axis[:, None]):  # the same middle
        both = [(m * weight).sum((1, 2)) / m.sum((1, 2)) for m in (crop, mask)]
        torch.testing.assert_close(*both, atol=0.15, rtol=0)


def test_depth_shown_is_in_diameters_about_the_middle(scene: RefinerScene) -> None:
    told = Told()
    take_look(told, scene, *poses())
    depth, mask = told.shown[3], told.shown[2]
    assert (depth[mask == 0] == 0).all()
    assert depth[mask > 0].abs().max() < 0.75
    assert depth[mask > 0].std() > 0.05
