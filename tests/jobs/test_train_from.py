"""`train --from`: stage 1 goes on from an earlier run's network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import SMALL

from self6d import cli, jobs
from self6d.datasets import load_models
from self6d.engine.schedule import TrainConfig
from self6d.errors import InputError
from self6d.events import Note
from self6d.network import NetworkConfig, PoseNetwork
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import load_network
from self6d.runs.provenance import Provenance
from self6d.sample.sample import make_sample
from self6d.stage1.task import SyntheticTask
from self6d.synthesis import SynthesisConfig

LATER = {key: value for key, value in SMALL.items() if not key.startswith("network.")}


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    return make_sample(tmp_path_factory.mktemp("from") / "sample", 2, 2, 1, size=(96, 128))


@pytest.fixture(scope="module")
def first(sample, tmp_path_factory) -> RunFolder:
    out = tmp_path_factory.mktemp("from_runs") / "first"
    form = SMALL | {"network.head_channels": 24}
    return jobs.train(sample / "models", out, preset="tiny", steps=2, overrides=form, device="cpu")


def test_the_network_and_its_form_are_taken(sample, first, tmp_path) -> None:
    told: list = []
    still = LATER | {"train.lr": 0.0}
    run = jobs.train(
        sample / "models", tmp_path / "later", start=first.path, preset="tiny", steps=1,
        overrides=still, seed=5, device="cpu", listener=told.append,
    )  # fmt: skip
    assert run.config["network"]["head_channels"] == 24
    texts = [event.text for event in told if isinstance(event, Note)]
    assert (
        "the network stays that of first: resnet10-w8, resnet10-w8 on crops of 32 pixels" in texts
    )
    assert Provenance.from_dict(run.info["provenance"]).from_run == str(first.path)
    before, after = (load_network(r.path).network for r in (first, run))
    kept = dict(before.named_parameters())
    for name, value in after.named_parameters():
        assert torch.equal(value, kept[name]), name


def test_resume_takes_the_run_s_own_weights(sample, first, tmp_path) -> None:
    words = ["train", "--models", str(sample / "models"), "--out", str(tmp_path / "later")]
    words += ["--preset", "tiny", "--from", str(first.path), "--device", "cpu", "--quiet"]
    for key, value in LATER.items():
        words += ["--set", f"{key}={value}"]
    assert cli.run([*words, "--steps", "1"]) == 0
    assert cli.run([*words, "--steps", "2", "--resume"]) == 0
    assert RunFolder.open(tmp_path / "later").info["step"] == 2
    other = [str(tmp_path) if word == str(first.path) else word for word in words]
    assert cli.run([*other, "--steps", "2", "--resume"]) != 0


def test_other_objects_sizes_and_forms_are_refused(sample, first, tmp_path) -> None:
    def refused(match: str, models: object = sample / "models", **more: object) -> None:
        with pytest.raises(InputError, match=match):
            jobs.train(
                models, tmp_path / "no", start=first.path, preset="tiny", steps=1, device="cpu",
                overrides=LATER | more,
            )  # fmt: skip
        assert not (tmp_path / "no").exists()

    one = sorted((sample / "models").glob("*.ply"))[0]
    refused("its network knows the objects 1, 2, 3", one)
    refused("has another size", **{"models.unit": "inch"})
    refused("network.head_channels is part of the trained network", **{"network.head_channels": 8})


def test_how_it_learns_may_change(sample, first, tmp_path) -> None:
    """Weights of losses are no part of a network: what continues can learn by others."""
    run = jobs.train(
        sample / "models", tmp_path / "more", start=first.path, preset="tiny", steps=1,
        device="cpu", overrides=LATER | {"network.distance_weight": 8.0, "network.box_jitter": 0.1},
    )  # fmt: skip
    assert run.config["network"]["distance_weight"] == 8.0
    kept = first.config["network"] | {"distance_weight": 8.0, "box_jitter": 0.1}
    assert run.config["network"] == kept


def test_pretrained_weights_need_not_be_there_to_continue(sample, tmp_path) -> None:
    """They would be written over at once."""
    small = {"detector_scale": 0.5, "pyramid_channels": 32, "head_channels": 16, "crop_size": 64}
    form = NetworkConfig(backbone="resnet18-w32", crop_backbone="resnet18-w32", **small)
    objects = load_models(sample / "models")
    state = PoseNetwork(form, objects).state_dict()
    missing = replace(form, weights=str(tmp_path / "gone.pth"))
    scenes = SynthesisConfig(height=96, background_pool=4)
    task = SyntheticTask(objects, None, missing, scenes, TrainConfig(batch=1), start=state)
    for name, value in task.network.state_dict().items():
        torch.testing.assert_close(value, state[name])
