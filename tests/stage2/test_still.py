"""adapt --still on a generated recording: the teacher solves all frames, and going on is exact."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from self6d.cli import app
from self6d.datasets import UnlabelledFrames, open_dataset
from self6d.errors import InputError
from self6d.jobs import adapt
from self6d.losses.objective import LossConfig
from self6d.paths import resource
from self6d.refinement.config import OptimizeConfig
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import load_network
from self6d.sample.sample import make_sample
from self6d.stage2.config import AdaptConfig
from self6d.stage2.task import SelfSupTask

ADAPT = AdaptConfig(
    steps=3, batch=2, region=48, warmup=1, health_frames=2, pseudo=True, pseudo_steps=2,
    pseudo_region=48, pseudo_colour=False, keep_iou=0.5, keep_spread=100.0, self_weight=0.0,
    label_weight=1.0, use_depth=False, still=True, refresh_every=2, refresh_frames=6,
)  # fmt: skip
LOSS = LossConfig(perceptual=0.0, ms_ssim=0.0, points=128)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return make_sample(tmp_path_factory.mktemp("still") / "sample", 7, 10, 1)


def task(recording, config: AdaptConfig) -> SelfSupTask:
    trained = load_network(resource("sample/stage1"))
    frames = UnlabelledFrames(open_dataset(recording).split("adapt"))
    return SelfSupTask(
        trained.network, trained.models, frames, config, LOSS, OptimizeConfig(flips=False)
    )


def test_its_poses_are_learned_from_and_going_on_is_exact(recording) -> None:
    whole = task(recording, ADAPT)
    values = [whole.step(0)]
    kept, settled = deepcopy(whole.state_dict()), whole.teacher.settled.clone()
    values += [whole.step(step) for step in (1, 2)]
    teacher = whole.teacher
    labels, single = teacher.pseudo_labels, teacher._single
    assert teacher.settled is not None
    assert teacher.settled.any()
    assert (labels.selected & teacher.settled).any()
    assert not labels.t[teacher.settled].equal(single.t[teacher.settled])
    assert labels.R[~teacher.settled].equal(single.R[~teacher.settled])
    assert values[0]["health/settled"] > 0
    again = task(recording, ADAPT)
    again.load_state_dict(kept)
    assert again.teacher.settled.equal(settled)
    for step in (1, 2):  # the second looks at some frames again
        resumed = again.step(step)
    assert float(resumed["loss/total"]) == float(values[2]["loss/total"])
    assert again.teacher.pseudo_labels.t.equal(labels.t)


def test_with_depth_poses_are_carried_and_going_on_is_exact(recording) -> None:
    config = replace(ADAPT, use_depth=True, pseudo_steps=8)
    whole, again = (task(recording, config) for _ in range(2))
    notes: list[tuple[str, str]] = []
    whole.on_note = lambda level, text: notes.append((level, text))
    whole.step(0)
    kept = deepcopy(whole.state_dict())
    labels, moved = whole.teacher.pseudo_labels, whole.teacher.settled.clone()
    assert moved.any()
    assert (labels.selected & moved).any()
    [(level, text)] = notes
    assert level == "info"
    assert f"{int(moved.sum())} of {len(labels)} poses are carried" in text
    assert text.endswith(f", {int(labels.sound.sum())} now")
    again.load_state_dict(kept)
    assert again.teacher.settled.equal(moved)
    assert again.result()["still"] in text
    for step in (1, 2):
        values = whole.step(step)
    for step in (1, 2):  # the second looks at some frames again
        resumed = again.step(step)
    assert float(resumed["loss/total"]) == float(values["loss/total"])
    assert again.teacher.pseudo_labels.t.equal(whole.teacher.pseudo_labels.t)
    assert again.teacher.settled.equal(whole.teacher.settled)


def test_it_needs_pseudo_poses_of_the_networks_own(recording, tmp_path) -> None:
    with pytest.raises(InputError, match="still moves pseudo-poses"):
        task(recording, replace(ADAPT, pseudo=False, self_weight=1.0))
    with pytest.raises(InputError, match="--poses"):
        adapt(
            recording, None, resource("sample/stage1"), tmp_path / "run", still=True,
            poses=tmp_path / "poses.json",
        )  # fmt: skip


def test_without_depth_the_refiner_learns_from_them(recording, tmp_path) -> None:
    torch.manual_seed(0)
    words = ["adapt", str(recording), "--from", str(resource("sample/stage1")), "--still"]
    words += ["--out", str(tmp_path / "run"), "--preset", "self6d-plus-tiny", "--quiet"]
    words += ["--refiner", "shipped", "--steps", "1", "--device", "cpu", "--no-check"]
    for setting in ("use_depth=false", "batch=1", "region=48", "health_frames=1"):
        words += ["--set", f"adapt.{setting}"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    run = RunFolder.open(tmp_path / "run")
    assert run.config["adapt"]["still"] is True
    assert run.result["settled"] > 0
    events = (tmp_path / "run" / "events.jsonl").read_text()
    assert "refiner" in events
    assert f'"text": "adapt.still: {run.result["still"]}' in events
