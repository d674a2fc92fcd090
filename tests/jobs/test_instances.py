"""Two tugboats in an image, from training to package: both are found, scored, drawn and given."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from recordings import dump, save
from typer.testing import CliRunner

from self6d import jobs
from self6d.cli import app
from self6d.datasets import open_dataset
from self6d.errors import InputError
from self6d.events import Note
from self6d.geometry import Camera
from self6d.jobs.refiner import depth_refiner
from self6d.network import NetworkConfig, PoseNetwork
from self6d.packaging import load_package
from self6d.recolouring.poses import read_poses
from self6d.runs import checkpoint
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import load_network, run_models
from self6d.sample.sample import models_folder
from self6d.scene.batch import FrameBatch, LabelledBatch
from self6d.scene.mesh_io import load_models
from self6d.scene.models_copy import save_models
from self6d.synthesis import SceneMaker, SynthesisConfig

SIZE, F, STEPS = (64, 96), 90.0, 80
TUGBOAT = 3


class Learnt(NamedTuple):
    """A run whose network knows an image by heart, and that image as a recording."""

    run: Path
    recording: Path
    R: np.ndarray  # (2, 3, 3)
    t: np.ndarray  # (2, 3), metres, of both tugboats


def train_by_heart(network: PoseNetwork, batch: LabelledBatch) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, STEPS, pct_start=0.2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        network.losses(batch)["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()


def write_recording(root: Path, batch: LabelledBatch, camera: Camera) -> None:
    """The image as BOP's test scene 1, image 0, with its labels."""
    scene = root / "test" / "000001"
    rgb = (batch.images[0].permute(1, 2, 0) * 255).round().byte().numpy()
    save(scene / "rgb" / "000000.png", rgb)
    depth = (batch.depth_m[0] * 1000).round().numpy().astype(np.uint16)
    save(scene / "depth" / "000000.png", depth)
    K = camera.K_opencv.reshape(-1).tolist()
    dump(scene / "scene_camera.json", {"0": {"cam_K": K, "depth_scale": 1.0}})
    truth = [
        {
            "cam_R_m2c": R.reshape(-1).tolist(),
            "cam_t_m2c": (1000 * t).tolist(),
            "obj_id": TUGBOAT,
        }
        for R, t in zip(batch.R.double().numpy(), batch.t.double().numpy())
    ]
    dump(scene / "scene_gt.json", {"0": truth})


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> Learnt:
    root = tmp_path_factory.mktemp("instances")
    models = [m for m in load_models(models_folder()) if m.object_id == TUGBOAT]
    camera = Camera(np.array([[F, 0, SIZE[1] / 2], [0, F, SIZE[0] / 2], [0, 0, 1]]), *SIZE[::-1])
    two = SynthesisConfig(
        height=SIZE[0], instances_min=2, instances_max=2, distractors_min=0, distractors_max=0,
        background_pool=4, apparent_min=0.35, apparent_max=0.5, clutter=0.0, faces_max=300,
        resting=0.0,
    )  # fmt: skip
    batch = SceneMaker(models, camera, two).make(1, 3, 0, effects=False)
    assert batch.object_index.tolist() == [0, 0]
    assert batch.visible_fraction.min() > 0.9
    form = replace(
        NetworkConfig.preset("tiny"), backbone="resnet10-w8", crop_backbone="resnet10-w8",
        crop_size=32, head_channels=32, rois_per_image=2,
    )  # fmt: skip
    torch.manual_seed(0)
    network = PoseNetwork(form, models)
    train_by_heart(network, batch)
    config = {
        "network": asdict(form),
        "loss": {"perceptual": 0.0, "points": 64},
        "optimize": {"steps": 40, "flips": False, "region": 64},
    }
    run = RunFolder.create(root / "run", "synthetic", config, seed=0)
    save_models(models, run.models_path)
    state = {
        "network": network.state_dict(),
        "network_config": asdict(form),
        "object_ids": network.object_ids,
        "camera": {"K": camera.K.tolist(), "size": list(SIZE)},
    }
    run.save_checkpoint(STEPS, checkpoint.pack(state))
    write_recording(root / "recording", batch, camera)
    save_models(models, root / "recording" / "models")
    return Learnt(run.path, root / "recording", batch.R.numpy(), batch.t.numpy())


def apart(found: list, true: np.ndarray) -> np.ndarray:
    """Distance of each true position to the nearest found, metres."""
    return np.linalg.norm(np.array(found)[:, None] - true, axis=-1).min(0)


def test_both_are_predicted_written_and_drawn(learnt, tmp_path):
    done = CliRunner().invoke(
        app,
        ["predict", str(learnt.recording), "--from", str(learnt.run), "--device", "cpu", "--quiet",
         "--json", str(tmp_path / "poses.json"), "--overlay", str(tmp_path / "overlay")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "poses.json").read_text())
    assert [row["object"] for row in rows] == ["tugboat", "tugboat"]
    assert apart([row["t_m2c"] for row in rows], learnt.t).max() < 0.03
    drawn = cv2.imread(str(next((tmp_path / "overlay").glob("*.png"))))[..., ::-1].astype(int)
    plain = cv2.imread(str(next(learnt.recording.glob("test/*/rgb/*"))))[..., ::-1].astype(int)
    changed = np.abs(drawn - plain).sum(-1) > 0
    for x, y, z in learnt.t:  # box and axes are drawn about each
        column, line = F * x / z + SIZE[1] / 2, F * y / z + SIZE[0] / 2
        near = changed[max(0, int(line) - 9) : int(line) + 9, int(column) - 9 : int(column) + 9]
        assert near.mean() > 0.1


def test_one_alone_where_the_user_says_so_with_a_note_of_the_other(learnt):
    events: list = []
    rows = jobs.predict(
        learnt.recording, learnt.run, instances=1, device="cpu", listener=events.append
    )
    assert len(rows) == 1
    both = jobs.predict(learnt.recording, learnt.run, device="cpu")
    assert rows[0]["score"] == pytest.approx(max(row["score"] for row in both))
    notes = [e.text for e in events if isinstance(e, Note)]
    assert notes == [
        "tugboat: 1 of 1 frames show more than 1; the best are given (more: --instances)"
    ]


def test_both_are_scored(learnt):
    rows = {}
    for most in (None, 1):
        report = jobs.evaluate(
            learnt.recording, None, [learnt.run], bop=True, instances=most, device="cpu"
        )
        rows[most] = report.results[0].objects[0]
    both, one = rows[None], rows[1]
    assert (both.targets, one.targets) == (2, 2)
    assert (both.recall_10, one.recall_10) == (1, 0.5)
    assert (both.detection_recall, one.detection_recall) == (1, 0.5)
    assert both.ap_50 == 1
    assert 0 < one.ar <= 0.5 < both.ar


def test_each_is_refined_on_its_own_region(learnt):
    """One pushed away, one pulled near: both come back on the frame's depth."""
    trained, device = load_network(learnt.run), torch.device("cpu")
    frame = open_dataset(learnt.recording).frame(0)
    sensor = FrameBatch.of([frame], device)
    detections = trained.network.predict(sensor.images, sensor.K)
    # pushed from the truth, not from where training ended: that hangs on a CPU's rounding
    nearest = torch.cdist(detections.t, torch.from_numpy(learnt.t)).argmin(1)
    assert sorted(nearest.tolist()) == [0, 1]
    detections.R = torch.from_numpy(learnt.R)[nearest]
    detections.t = torch.from_numpy(learnt.t)[nearest] * torch.tensor([[1.03], [0.97]])
    pushed = apart(list(detections.t.numpy()), learnt.t)
    assert (pushed > 0.01).all()
    improve, _ = depth_refiner(trained, learnt.run, device)
    refined, _ = improve([frame], detections)
    # how near depends on the masks that were learnt; on the other's region none comes nearer
    assert (apart(list(refined.t.numpy()), learnt.t) < 0.6 * pushed).all()
    with pytest.raises(InputError, match=r"image 000001/000000 has no depth .*--refine rgb"):
        improve([replace(frame, depth_m=None)], detections)


def test_the_package_gives_both(learnt, tmp_path):
    """tests/packaging shows that ONNX gives what the package does."""
    jobs.export(learnt.run, tmp_path / "package", onnx=False)
    image = cv2.imread(str(next(learnt.recording.glob("test/*/rgb/*"))))[..., ::-1].copy()
    camera = json.loads(next(learnt.recording.glob("test/*/scene_camera.json")).read_text())
    K = np.array(camera["0"]["cam_K"]).reshape(3, 3)
    found = load_package(tmp_path / "package")(image, K)
    assert [f.name for f in found] == ["tugboat", "tugboat"]
    assert apart([f.t for f in found], learnt.t).max() < 0.03


def test_both_are_adapted_on(learnt, tmp_path):
    small = {
        "adapt.batch": 1, "adapt.region": 48, "adapt.pseudo": True, "adapt.pseudo_steps": 8,
        "adapt.pseudo_region": 48, "adapt.collapse": 0.0, "adapt.health_frames": 1,
        "adapt.synthetic": 0.0, "loss.perceptual": 0.0, "loss.points": 64,
        "optimize.flips": False,
    }  # fmt: skip
    seen: list = []
    run = jobs.adapt(
        learnt.recording, None, learnt.run, tmp_path / "run", preset="self6d-paper", steps=2,
        overrides=small, device="cpu", check=False, listener=seen.append,
    )  # fmt: skip
    assert run.status == "done"
    assert run.result["found"] == 2
    labels = {
        name: value
        for name, value in run.load_checkpoint(run.latest_checkpoint()).tensors.items()
        if "pseudo_labels" in name
    }
    t = next(value for name, value in labels.items() if name.endswith("pseudo_labels.t"))
    assert apart(list(t.numpy()), learnt.t).max() < 0.03
    # colours can be taken at them
    recording = open_dataset(learnt.recording)
    used = read_poses(run.path, recording, run_models(run), confidence=1.0)
    assert used.source.startswith("1 of 2 pseudo-poses are those that the run selected")
    both = sorted((*used.accepted, *used.doubtful), key=lambda p: p.instance)
    assert [p.instance for p in both] == [0, 1]
    assert apart([p.pose.t_m2c for p in both], learnt.t).max() < 0.03
    with pytest.raises(InputError, match=r"no poses of this recording.*track .* --from"):
        read_poses(learnt.run, recording, run_models(run), confidence=0.0)
