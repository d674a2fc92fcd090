"""Jobs on recordings that are odd or wrong: read alike from every door, or stopped at the start."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from small_runs import SMALL, STAGE_2
from variations import Way, camera_table, shots_of, write

from self6d import cli, jobs
from self6d.datasets import open_dataset
from self6d.errors import InputError
from self6d.geometry import Pose
from self6d.sample.sample import make_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return make_sample(tmp_path_factory.mktemp("data") / "sample", 7, 4, 1, size=(96, 128))


@pytest.fixture(scope="module")
def stage1(sample, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "stage1"
    return jobs.train(
        sample / "models", out, preset="tiny", camera=sample, steps=1, overrides=SMALL, device="cpu"
    )


def test_bare_images_are_read_as_a_recordings_are(stage1, sample, tmp_path):
    """Turned by EXIF, bent by the lens, among macOS's forks: the same poses by either way."""
    shots, D = shots_of(sample), [-0.2, 0.05, 0.001, 0.0]
    names = ["000001", "000002", "000003"]
    camera = {"camera.json": camera_table(shots, D=D)}
    way = Way(names, names, camera, suffix=".jpg", exif=6, distortion=D, macos=True)
    root = write(tmp_path / "bent", shots, way)
    rows = jobs.predict(root, stage1.path, score_threshold=0.0, device="cpu")
    bare = jobs.predict(
        root / "rgb", stage1.path, camera=root / "camera.json", score_threshold=0.0, device="cpu"
    )
    assert len(bare) == len(rows) > 0
    assert np.allclose([r["t_m2c"] for r in bare], [r["t_m2c"] for r in rows], atol=1e-5)


def test_bare_images_have_the_numbers_of_their_names(stage1, sample, tmp_path):
    """As the folder's frames have them, in that order, an image of two formats once."""
    shots = shots_of(sample)
    names = ["rgb_2", "rgb_9", "rgb_10"]
    way = Way(names, ["depth_2", "depth_9", "depth_10"], {"camera.json": camera_table(shots)})
    root = write(tmp_path / "few", shots, way)
    rows = jobs.predict(root, stage1.path, score_threshold=0.0, device="cpu")
    shutil.copy(root / "rgb" / "rgb_9.png", root / "rgb" / "rgb_9.bmp")
    bare = jobs.predict(
        root / "rgb", stage1.path, camera=root / "camera.json", score_threshold=0.0, device="cpu"
    )
    assert [r["image_id"] for r in bare] == [r["image_id"] for r in rows]
    assert {r["image_id"]: r["image"] for r in bare} == {
        number: f"rgb_{number}.png" for number in {r["image_id"] for r in rows}
    }
    assert {r["image_id"] for r in rows} <= {2, 9, 10}
    assert np.allclose([r["t_m2c"] for r in bare], [r["t_m2c"] for r in rows], atol=1e-5)


def test_predict_takes_a_named_split(stage1, sample, capsys):
    names = {open_dataset(sample).split("eval").frame(0).name}
    rows = jobs.predict(sample, stage1.path, split="eval", score_threshold=0.0, device="cpu")
    assert {row["image"] for row in rows} == names
    words = ["predict", str(sample), "--from", str(stage1.path), "--device", "cpu", "--quiet"]
    assert cli.run([*words, "--split", "test"]) == 2
    assert "there is no split 'test'" in capsys.readouterr().err
    with pytest.raises(InputError, match="bare images have no splits"):
        jobs.predict(sample / "test", stage1.path, camera=sample, split="eval", device="cpu")


def test_a_wrong_recording_stops_a_job_at_its_start(stage1, sample, tmp_path):
    root = tmp_path / "wrong"
    shutil.copytree(sample, root)
    (path,) = root.glob("test/*/scene_camera.json")
    table = json.loads(path.read_text())
    for entry in table.values():
        entry["cam_K"][0] = 4.2  # millimetres
    path.write_text(json.dumps(table))
    for start in (
        lambda: jobs.adapt(root, None, stage1.path, tmp_path / "run", device="cpu"),
        lambda: jobs.train(root / "models", tmp_path / "run", camera=root, device="cpu"),
    ):
        with pytest.raises(InputError, match="millimetres"):
            start()
        assert not (tmp_path / "run").exists()
    shutil.copytree(sample, tmp_path / "broken")
    last = sorted((tmp_path / "broken").glob("test/*/rgb/*"))[-1]  # a frame that adapt leaves alone
    last.write_bytes(b"")
    start = {"steps": 1, "overrides": STAGE_2, "device": "cpu"}
    with pytest.raises(InputError, match=r"is empty.*--no-check"):
        jobs.adapt(tmp_path / "broken", None, stage1.path, tmp_path / "run", **start)
    run = jobs.adapt(tmp_path / "broken", None, stage1.path, tmp_path / "run", check=False, **start)
    assert run.status == "done"


def test_holes_of_any_kind_give_the_same_pose(sample, tmp_path):
    """A recording whose unknown depth is 65535 ends where one of zeros does."""
    shots, names = shots_of(sample), ["000001", "000002", "000003"]
    (label, *_) = open_dataset(sample).split("eval").truth(0)
    start = Pose(label.pose.R_m2c, label.pose.t_m2c + np.array([0.004, -0.003, 0.01]))
    settings = {"steps": 4, "overrides": STAGE_2, "device": "cpu", "init": start}
    ends = []
    for hole in (0, 65535):
        camera = {"camera.json": camera_table(shots)}
        root = write(tmp_path / str(hole), shots, Way(names, names, camera, hole=hole))
        found = jobs.optimize(root, shots.models, 1, label.object_id, **settings)
        ends.append(np.array(found["t_m2c"]))
    assert np.linalg.norm(ends[0] - start.t_m2c) > 1e-4  # it moved
    for end in ends[1:]:
        assert np.linalg.norm(end - ends[0]) < 0.0002


def test_every_job_refuses_an_impossible_k(stage1, sample, tmp_path):
    root = tmp_path / "wrong"
    shutil.copytree(sample, root)
    (path,) = root.glob("test/*/scene_camera.json")
    table = json.loads(path.read_text())
    for entry in table.values():
        entry["cam_K"] = [0.962, 0, 0.507, 0, 1.286, 0.489, 0, 0, 1]
    path.write_text(json.dumps(table))
    file = tmp_path / "camera.json"
    file.write_text(json.dumps({"K": entry["cam_K"], "width": 128, "height": 96}))
    start, models, new = Pose(np.eye(3), [0, 0, 0.6]), root / "models", tmp_path / "new"
    run, cpu = stage1.path, {"device": "cpu"}
    images = next(root.glob("test/*/rgb"))
    for job in (
        lambda: jobs.predict(root, run, **cpu),
        lambda: jobs.predict(images, run, camera=file, **cpu),
        lambda: jobs.evaluate(root, None, [run], **cpu),
        lambda: jobs.optimize(root, models, 0, 1, init=start, overrides=STAGE_2, **cpu),
        lambda: jobs.adapt(root, None, run, new, overrides=STAGE_2, check=False, **cpu),
        lambda: jobs.train(models, new, camera=root, preset="tiny", overrides=SMALL, **cpu),
        lambda: jobs.train(models, new, camera=file, preset="tiny", overrides=SMALL, **cpu),
        lambda: jobs.synth_preview(models, tmp_path / "a.png", camera=file, **cpu),
    ):
        with pytest.raises(InputError, match="in parts of the image's size"):
            job()
