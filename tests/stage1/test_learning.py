"""Losses and gradients of a batch, recorded or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from block_shapes import block
from replaying import replayed
from torch.utils._python_dispatch import TorchDispatchMode
from tracked_block import pose_at, write_recording

from self6d.datasets import UnlabelledFrames, open_dataset
from self6d.datasets.pose_track import PoseTrack, TrackedPose, TrackState
from self6d.engine.learning import Learning, filled_up
from self6d.engine.schedule import TrainConfig
from self6d.network import NetworkConfig
from self6d.stage1.task import SyntheticTask
from self6d.stage2.config import AdaptConfig
from self6d.stage2.track_training import TrackTraining
from self6d.synthesis import SynthesisConfig

IMAGES = 3


@pytest.fixture(scope="module")
def task() -> SyntheticTask:
    network = replace(
        NetworkConfig.preset("tiny"), crop_size=32, crop_backbone="resnet18-w16",
        pyramid_channels=32, head_channels=32, loss_points=64, rois_per_image=2,
    )  # fmt: skip
    synthesis = SynthesisConfig(
        height=64, instances_min=2, instances_max=4, distractors_max=1, background_pool=2
    )
    return SyntheticTask([block()], None, network, synthesis, TrainConfig(steps=4, batch=IMAGES))


def test_a_graph_learns_what_the_step_without_does(task: SyntheticTask) -> None:
    learning = Learning(task._weighted, task.parameters, task.device, replayed(task.parameters))
    plain = Learning(task._weighted, task.parameters, task.device, None)
    done: list[int] = []
    counts = set()
    for step in range(8):
        batch = task.maker.make(IMAGES, 0, step)
        rows = -(-len(batch.R) // IMAGES) * IMAGES
        expected = plain(filled_up(batch, rows), step, lambda: None)
        gradients = [p.grad.clone() for p in task.parameters]
        terms = learning(batch, step, lambda step=step: done.append(step))
        assert terms.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(terms[name], value, atol=1e-5, rtol=1e-4, msg=name)
        for parameter, gradient in zip(task.parameters, gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, atol=1e-4, rtol=1e-3)
        counts.add(len(batch.R))
    assert done == list(range(8))
    assert learning._graphs
    assert len(counts) > len(learning._met)  # one graph for several numbers of instances
    learning.forget()
    assert not learning._graphs


def test_instances_filled_up_are_not_learned_from(task: SyntheticTask) -> None:
    batch = task.maker.make(IMAGES, 1, 0)
    network = task.network
    terms = network.losses(batch)
    more = network.losses(filled_up(batch, len(batch.R) + 5))
    for name, value in terms.items():
        torch.testing.assert_close(more[name], value, atol=1e-6, rtol=1e-5, msg=name)


class Choices(TorchDispatchMode):
    """Counts draws of what to learn from, which a graph would hold fixed."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func._schema.name == "aten::randperm"
        return func(*args, **(kwargs or {}))


def test_a_step_that_draws_its_frames_on_the_host_is_recorded_as_no_graph(
    task: SyntheticTask, tmp_path
) -> None:
    """Stage 1 beside a track was: on a GPU it could not be, or learned from one draw for ever."""
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(2)])
    frames = UnlabelledFrames(open_dataset(data))
    track = PoseTrack(
        tuple(
            TrackedPose(key, 1, 0, TrackState.TRACKED, pose_at(i), 1.0)
            for i, key in enumerate(frames.keys)
        )
    )
    beside = TrackTraining(
        [block()], None, task._form, task.synthesis, TrainConfig(steps=4, batch=2), frames, track,
        AdaptConfig(batch=2),
    )  # fmt: skip
    for one in (task, beside):
        batch = one.maker.make(2, 0, 0)
        with Choices() as choices:
            one.losses(batch, torch.Generator().manual_seed(0))
        assert one.graph == (choices.count == 0)
    assert not beside.graph
