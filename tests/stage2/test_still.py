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
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.weights import save_refiner
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import load_network
from self6d.sample.sample import make_sample
from self6d.stage2 import refiner_learning
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


@pytest.fixture(scope="module")
def farther(tmp_path_factory):
    """File of a refiner that moves everything away by 0.01 of log-distance."""
    network = RefinerNetwork(
        RefinerConfig(backbone="resnet10-w8", size=32, head_channels=4, looks=1), 1
    )
    torch.nn.init.zeros_(network.out.weight)
    with torch.no_grad():
        network.out.bias[:, 8] = 0.01
    path = tmp_path_factory.mktemp("refiner") / "any.safetensors"
    save_refiner(path, network, [])
    return path


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


def test_at_the_end_the_refiners_distances_count_as_far_as_solved_poses_bear_them_out(
    recording, farther, monkeypatch
) -> None:
    monkeypatch.setattr(refiner_learning, "FEWEST", 4)
    config = replace(
        ADAPT, steps=2, refiner=str(farther), refiner_lr=1e-12, lr=1e-12,
        keep_confidence=0.0, refresh_every=0,
    )  # fmt: skip
    one = task(recording, config)
    for step in range(2):
        one.step(step)
        state = one.state_dict()
        assert one.refiner is not None
        assert (one.refiner.share < 1) == (step == 1)
    middles = [m.extents.mean(0) for m in load_network(resource("sample/stage1")).models]
    off = []
    for sensor, index, R, t in one.teacher.known_poses(100):
        found = one.network.predict(sensor.images, sensor.K, instances=1)
        for k, i in enumerate(index.tolist()):
            row = (found.object_index == i).nonzero()[:, 0]
            if len(row) == 1 and int((index == i).sum()) == 1:
                middle = torch.from_numpy(middles[i])
                z = (found.R[row[0]] @ middle + found.t[row[0]])[2]
                off.append(float((z / (R[k] @ middle + t[k])[2]).log()))
    off = [x for x in off if abs(x) < 0.05 and abs(x + 0.01) < 0.05]
    assert len(off) > 4
    expected = min(max(-sum(off) / len(off) / 0.01, 0.0), 1.0)
    assert one.result()["refiner_share"] == pytest.approx(expected, abs=0.03)
    again = task(recording, config)
    again.load_state_dict(state)
    assert again.result()["refiner_share"] == one.result()["refiner_share"]


def test_without_depth_single_frames_poses_bear_out_no_distance(recording, monkeypatch) -> None:
    one = task(recording, replace(ADAPT, still=False))
    notes: list[tuple[str, str]] = []
    one.on_note = lambda level, text: notes.append((level, text))
    one.step(0)
    one.step(1)
    [(level, text)] = (note for note in notes if note[1].startswith("without depth"))
    assert (level, text.endswith("with --still if only the camera moves")) == ("warning", True)
    labels = one.teacher.pseudo_labels
    assert labels is not None
    assert list(one.teacher.known_poses(9)) == []
    monkeypatch.setattr(refiner_learning, "FEWEST", 1)  # else these are too few anyhow
    monkeypatch.setattr(refiner_learning, "ASIDE", 1.0)
    one.teacher.pseudo_labels = replace(labels, selected=torch.ones_like(labels.selected))
    assert one.teacher.aside() == []  # nor is anything to be weighed by kept from learning


def test_a_refiner_is_not_said_to_be_weighed_where_no_pose_is_known(recording, farther) -> None:
    """A share of 1 was reported as if it had been measured."""
    config = replace(ADAPT, steps=1, refiner=str(farther), refiner_lr=1e-12, refresh_every=0)
    one = task(recording, config)
    one.step(0)
    teacher, settled = one.teacher, one.teacher.settled
    assert settled is not None
    teacher.settled = torch.zeros_like(settled)
    one.state_dict()
    assert "refiner_share" not in one.result()
    teacher.settled = settled
    one.state_dict()
    assert "refiner_share" in one.result()


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
