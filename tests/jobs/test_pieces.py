"""A job stopped and resumed gives the network that it gives in one piece, bit by bit.

Every piece is a task made anew, at odds with the others in all global random states, and stops
where no checkpoint is due.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from same_end import assert_same_end
from small_runs import SMALL, STAGE_2

from self6d import jobs
from self6d.events import Scalars
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.sample.sample import make_sample

STEPS = 4
Job = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    return make_sample(tmp_path_factory.mktemp("pieces") / "sample", 3, 4, 1, size=(96, 128))


@pytest.fixture(scope="module")
def stage_1(sample) -> Job:
    settings = SMALL | {"train.validate_every": 2}

    def job(out: Path, **how: Any) -> RunFolder:
        return jobs.train(
            sample / "models", out, preset="tiny", camera=sample, steps=STEPS,
            overrides=settings, device="cpu", **how,
        )  # fmt: skip

    return job


@pytest.fixture(scope="module")
def whole_stage_1(stage_1, tmp_path_factory) -> RunFolder:
    return stage_1(tmp_path_factory.mktemp("pieces_runs") / "stage1")


def in_pieces(job: Job, out: Path, stops: tuple[int, ...]) -> RunFolder:
    for piece, stop in enumerate((*stops, STEPS)):
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(1000 + piece)
        control = Control()

        def listen(event: object, stop: int = stop, control: Control = control) -> None:
            if isinstance(event, Scalars) and event.step == stop - 1 and stop < STEPS:
                control.stop()

        run = job(out, resume=piece > 0, listener=listen, control=control)
        assert (run.status, run.info["step"]) == ("stopped" if stop < STEPS else "done", stop)
    return run


def assert_same(a: RunFolder, b: RunFolder) -> None:
    assert_same_end(a, b)
    first, second = a.best_checkpoint(), b.best_checkpoint()
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_training(stage_1, whole_stage_1, tmp_path) -> None:
    assert_same(in_pieces(stage_1, tmp_path / "run", (3,)), whole_stage_1)


def test_adapting(sample, whole_stage_1, tmp_path) -> None:
    settings = STAGE_2 | {
        "adapt.pseudo": True, "adapt.pseudo_steps": 3, "adapt.pseudo_region": 48,
        "adapt.refresh_every": 3, "adapt.refresh_frames": 2, "adapt.augment": 0.3,
        "adapt.label_weight": 0.3, "adapt.health_every": 2, "loop.checkpoint_every": 2,
        "adapt.keep_iou": 0.0, "adapt.keep_inliers": 0.0, "adapt.keep_spread": 100.0,
    }  # fmt: skip

    def job(out: Path, **how: Any) -> RunFolder:
        return jobs.adapt(
            sample, None, whole_stage_1.path, out, preset="self6d-paper", steps=STEPS,
            overrides=settings, device="cpu", **how,
        )  # fmt: skip

    whole = job(tmp_path / "whole")
    assert whole.curves()["loss/selected"][1].min() > 0
    assert_same(in_pieces(job, tmp_path / "run", (3,)), whole)


def test_training_the_refiner(sample, tmp_path) -> None:
    settings = {
        "refiner.backbone": "resnet18-w8", "refiner.size": 32, "refiner.head_channels": 8,
        "synthesis.background_pool": 4, "synthesis.height": 64, "synthesis.faces_max": 200,
        "train.batch": 2, "train.validate_every": 2, "train.validation_images": 2,
        "loop.checkpoint_every": 2, "loop.preview_every": 1000,
    }  # fmt: skip

    def job(out: Path, **how: Any) -> RunFolder:
        return jobs.train_refiner(
            sample / "models", out, preset="refiner-tiny", steps=STEPS, overrides=settings,
            device="cpu", **how,
        )  # fmt: skip

    assert_same(in_pieces(job, tmp_path / "run", (3,)), job(tmp_path / "whole"))
