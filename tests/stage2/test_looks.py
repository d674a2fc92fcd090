"""The RGB refiner beside the teacher: better starts with depth, pseudo-poses without."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import stage2_scene as stage2
import torch

from self6d.datasets.base import UnlabelledFrames
from self6d.errors import InputError
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.refine import observe_detections
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.refinement.rgb.weights import save_refiner
from self6d.rendering import pack_models, render
from self6d.stage2 import refiner_learning
from self6d.stage2.config import AdaptConfig
from self6d.stage2.looks import better_starts, look_at
from self6d.stage2.refiner_learning import RefinerLearning, kept_aside
from self6d.stage2.student import Drawn
from self6d.stage2.task import SelfSupTask

SMALL = RefinerConfig(backbone="resnet18-w8", size=64, head_channels=8, looks=2)
ADAPT = AdaptConfig(
    steps=2, batch=4, region=64, health_frames=4, pseudo=True, pseudo_steps=1, pseudo_region=64,
    pseudo_colour=False, keep_iou=0.0, keep_spread=100.0, self_weight=0.0, label_weight=1.0,
)  # fmt: skip
LOSS = LossConfig(perceptual=0.0, ms_ssim=0.0, points=256)


@pytest.fixture(scope="module")
def refiner(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    network = RefinerNetwork(SMALL, 1)
    torch.nn.init.normal_(network.out.weight, std=0.05)  # it moves what it sees
    path = tmp_path_factory.mktemp("refiner") / "any.safetensors"
    save_refiner(path, network, [])
    return path


def task(adapt: AdaptConfig, with_depth: bool = True) -> SelfSupTask:
    frames = UnlabelledFrames(stage2.Recording(with_depth))
    return SelfSupTask(
        stage2.network(), [stage2.MODEL], frames, adapt, LOSS, OptimizeConfig(flips=False)
    )


def test_the_pose_that_explains_more_is_the_start(refiner) -> None:
    sensor, models = stage2.sensor(real=True), pack_models([stage2.MODEL])
    detections = stage2.network().predict(sensor.images, sensor.K)
    looker = RgbRefiner.load(refiner, [stage2.MODEL])
    objective, optimize = SelfSupervision(LOSS, "cpu"), OptimizeConfig(region=64)
    looked = look_at(sensor, detections, looker, models, objective, optimize)
    started = better_starts(detections, looked)
    taken = looked.after.trust >= looked.before.trust
    torch.testing.assert_close(started.t[taken], looked.t[taken])
    torch.testing.assert_close(started.R[~taken], detections.R[~taken])
    # the health said of the moved poses is that of their own rendering
    target = observe_detections(
        sensor, replace(detections, R=looked.R, t=looked.t), models, objective, 64, optimize.padding
    )
    view = render(
        looked.R, looked.t, target.K, models, (64, 64), object_index=detections.object_index,
        soft_mask=False,
    )  # fmt: skip
    both = (view.covered & (target.mask > 0.5)).sum((1, 2))
    either = (view.covered | (target.mask > 0.5)).sum((1, 2))
    assert ((both / either) - looked.after.mask_iou).abs().max() < 0.15
    assert looked.before.mask_iou.mean() > looked.after.mask_iou.mean()  # it was never trained


def test_without_depth_its_confident_poses_are_learned_from(refiner) -> None:
    sure = task(replace(ADAPT, refiner=str(refiner), keep_confidence=0.0, use_depth=False), False)
    sure.step(0)
    labels = sure.teacher.pseudo_labels
    assert labels.selected.any()
    sensor, part = sure.teacher.sensor_of(labels.detections)
    moved = RgbRefiner.load(refiner, [stage2.MODEL]).refine(
        sensor.images, sensor.K, part.image_index, part.object_index, part.R, part.t
    )
    torch.testing.assert_close(labels.t, moved.t, atol=1e-4, rtol=0)
    torch.testing.assert_close(labels.trust, moved.confidence, atol=1e-4, rtol=0)
    unsure = task(replace(ADAPT, refiner=str(refiner), keep_confidence=1.0, use_depth=False), False)
    unsure.step(0)
    assert not unsure.teacher.pseudo_labels.selected.any()


def test_with_depth_it_changes_where_the_refinement_starts(refiner) -> None:
    plain, moved = task(ADAPT), task(replace(ADAPT, refiner=str(refiner)))
    plain.teacher.refresh(0)
    moved.teacher.refresh(0)
    assert len(plain.teacher.pseudo_labels) == len(moved.teacher.pseudo_labels)
    trust = moved.teacher.pseudo_labels.trust - plain.teacher.pseudo_labels.trust
    assert trust.mean() > -0.05  # it starts from the better of two


def test_where_nothing_would_use_it_that_is_said(refiner) -> None:
    with pytest.raises(InputError, match="has none"):
        task(replace(ADAPT, refiner=str(refiner), pseudo=False, self_weight=1.0))


def test_a_refiner_of_other_objects_is_refused(tmp_path) -> None:
    save_refiner(tmp_path / "other.safetensors", RefinerNetwork(SMALL, 1), [77])
    with pytest.raises(InputError, match="does not know object"):
        task(replace(ADAPT, refiner=str(tmp_path / "other.safetensors")))


def test_with_depth_it_learns_from_selected_poses_and_goes_on_exactly(refiner) -> None:
    adapt = replace(ADAPT, refiner=str(refiner), refiner_lr=2e-3, steps=6, warmup=0)
    again = task(adapt)
    losses = [float(again.step(0)["loss/refiner"]) for _ in range(8)]  # the same frames and starts
    assert losses[-1] < 0.95 * losses[0]
    whole = task(adapt)
    before = {k: v.clone() for k, v in whole.teacher.looker.network.state_dict().items()}
    for step in range(6):
        if step == 3:
            kept = deepcopy(whole.state_dict())
        whole.step(step)
    after = whole.teacher.looker.network.state_dict()
    assert any((after[k] != v).any() for k, v in before.items() if k.endswith("weight"))
    assert all((after[k] == v).all() for k, v in before.items() if "running" in k)

    rest = task(adapt)
    rest.load_state_dict(kept)
    for step in range(3, 6):
        rest.step(step)
    for name, value in rest.teacher.looker.network.state_dict().items():
        assert torch.equal(value, after[name]), name

    def kept_as_it_was(adapt: AdaptConfig, with_depth: bool) -> bool:
        other = task(adapt, with_depth)
        other.step(0)
        return other.refiner is None and "loss/refiner" not in other.step(1)

    assert kept_as_it_was(replace(adapt, use_depth=False, keep_confidence=0.0), False)
    assert kept_as_it_was(replace(adapt, refiner_lr=0.0), True)


def test_frames_are_kept_aside_where_they_hold_enough_poses() -> None:
    frames = range(0, 200, 2)
    aside = kept_aside(frames, [frame for frame in frames for _ in range(4)])
    assert len(aside) == 10
    assert set(aside) < set(frames)
    gaps = [b - a for a, b in pairwise(aside)]
    assert max(gaps) - min(gaps) <= 2
    assert kept_aside(frames, [frame for frame in frames for _ in range(3)]) == []
    assert kept_aside(frames, [frame for frame in frames if frame not in aside] * 9) == []


def test_a_refiner_is_weighed_by_frames_that_were_not_learned_from(refiner, monkeypatch) -> None:
    monkeypatch.setattr(refiner_learning, "FEWEST", 1)
    monkeypatch.setattr(refiner_learning, "ASIDE", 0.3)
    adapt = replace(ADAPT, refiner=str(refiner), refiner_lr=2e-3, steps=4, warmup=0, batch=8)
    adapt = replace(adapt, keep_inliers=0.0, keep_share=1.0)
    one, drawn, judged = task(adapt), [], []
    of, distances = Drawn.of, RefinerLearning.distances

    def noted(*args):
        drawn.append(of(*args))
        return drawn[-1]

    def judging(self, sensor, found, pose):
        judged.append(sensor.images)
        return distances(self, sensor, found, pose)

    monkeypatch.setattr(Drawn, "of", noted)
    monkeypatch.setattr(RefinerLearning, "distances", judging)
    weighed = []
    for step in range(4):
        one.step(step)
        weighed.append(one.refiner.weighed)
        if step == 3:
            state = deepcopy(one.state_dict())
    assert weighed == [False, False, False, True]
    every = len(drawn[3].sensor.images)
    assert [every - len(part.sensor.images) for part in drawn] == [2, 2, 2, 0]
    learned = [image for part in drawn[:3] for image in part.sensor.images]
    aside = [frame[0] for frame in judged]
    assert len(aside) == 2  # once, and not again at the end
    assert not any(torch.equal(image, frame) for image in learned for frame in aside)
    again = task(adapt)
    again.load_state_dict(state)
    assert again.refiner.weighed
    assert again.refiner.share == one.refiner.share
