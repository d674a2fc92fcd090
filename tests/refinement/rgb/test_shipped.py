"""The refiner that ships moves poses of objects it never saw."""

from __future__ import annotations

from dataclasses import replace

from self6d.engine.schedule import TrainConfig
from self6d.paths import SHIPPED, resource
from self6d.refinement.rgb.weights import load_refiner
from self6d.runs.load_network import load_given_models
from self6d.stage1.refiner_task import RefinerTask
from self6d.synthesis import SynthesisConfig

LARGEST = 20e6  # bytes


def test_poses_of_the_samples_objects_get_better() -> None:
    assert resource("refiner/any.safetensors").stat().st_size < LARGEST
    network, object_ids = load_refiner(SHIPPED)
    assert object_ids == []
    models = load_given_models(resource("sample/models"))
    task = RefinerTask(
        models,
        refiner=replace(network.config, instances=4, distance=0.1),
        synthesis=SynthesisConfig(height=240, background_pool=8),
        train=TrainConfig(steps=1, batch=2, validation_images=1),
        start=network.state_dict(),
    )
    judged = task.judge(network, task.maker.make(12, 3, 0))
    assert judged["add_recall"] > judged["start_recall"] + 0.15, judged
