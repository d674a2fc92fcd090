"""The upper bound learns from the labels that are set aside for it, all of its frames."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import stage2_scene as stage2
import torch

from self6d.datasets import load_models, open_dataset, upper_bound_truth
from self6d.errors import InputError
from self6d.network import PoseNetwork
from self6d.sample.sample import make_sample
from self6d.stage2.config import AdaptConfig
from self6d.stage2.upper_bound import UpperBoundTask

CONFIG = AdaptConfig(steps=2, batch=2, scope="all", warmup=0)


def test_it_learns_from_the_labels_set_aside(tmp_path):
    data = make_sample(tmp_path / "sample", 7, 2, 1, size=(96, 128))
    dataset, models = open_dataset(data).split("adapt"), load_models(data / "models")
    task = UpperBoundTask(PoseNetwork(stage2.config(), models), models, dataset, CONFIG)
    assert task.result() == {"frames": 2, "poses": 6}
    batch, known = task.posed.labelled([1], torch.Generator().manual_seed(0))
    truth = upper_bound_truth(dataset)(1)
    np.testing.assert_allclose(batch.t, np.stack([t.pose.t_m2c for t in truth]), atol=1e-6)
    assert known is None
    values = task.step(0)
    assert math.isfinite(values["loss/total"])
    other = [replace(stage2.MODEL, object_id=77)]
    with pytest.raises(InputError, match="no frame has a pose"):
        UpperBoundTask(PoseNetwork(stage2.config(), other), other, dataset, CONFIG)
