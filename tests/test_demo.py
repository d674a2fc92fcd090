"""The demo, as small as it goes."""

from __future__ import annotations

import json

import pytest

from self6d import demo
from self6d.errors import InputError
from self6d.training import jobs
from self6d.training.run_folder import RunFolder

STAGE_1 = """
extends = "tiny"
[network]
crop_size = 32
head_channels = 32
rois_per_image = 1
[synthesis]
height = 96
background_pool = 4
instances_max = 3
faces_max = 300
[train]
steps = 2
batch = 2
validate_every = 0
validation_images = 2
[loop]
preview_every = 1000
"""
STAGE_2 = """
extends = "self6d"
[loss]
perceptual = 0.0
points = 64
[adapt]
steps = 2
batch = 2
region = 48
max_objects = 3
detection_score = 0.0
health_frames = 2
collapse = 0.0
[loop]
preview_every = 1000
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The demo at a size for a test, without a shipped stage 1."""
    for name, text in (("STAGE_1", STAGE_1), ("STAGE_2", STAGE_2)):
        (tmp_path / f"{name}.toml").write_text(text)
        monkeypatch.setattr(demo, name, str(tmp_path / f"{name}.toml"))
    monkeypatch.setattr(demo, "SAMPLE_FRAMES", 4)
    monkeypatch.setattr(demo, "SAMPLE_EVAL", 2)
    monkeypatch.setattr(demo, "SAMPLE_SIZE", (96, 128))


@pytest.mark.slow
def test_same_seed_same_table(small, tmp_path, capsys):
    for name in ("a", "b"):
        demo.run_demo(tmp_path / name, from_scratch=True, device="cpu", quiet=True)
    first, second = ((tmp_path / n / "table.txt").read_text() for n in ("a", "b"))
    assert first == second
    assert "stage1" in first
    assert "adapted" in first
    assert first in capsys.readouterr().out
    table = json.loads((tmp_path / "a" / "table.json").read_text())
    assert [run["label"] for run in table["runs"]] == ["stage1", "adapted"]


@pytest.mark.slow
def test_shipped_stage_1_is_used_and_an_earlier_demo_taken_up(small, tmp_path, monkeypatch):
    sample = tmp_path / "models"
    demo.make_sample(sample, 7, 2, 1, (96, 128))
    trained = jobs.train_synthetic(
        sample / "models", tmp_path / "trained", preset=demo.STAGE_1, camera=sample, device="cpu"
    )
    shipped = jobs.slim(trained.path, tmp_path / "shipped").path
    monkeypatch.setattr(demo, "find_resource", lambda name: shipped)
    out = tmp_path / "demo"
    demo.run_demo(out, device="cpu", quiet=True)
    stamp = (out / "adapted" / "run.json").stat().st_mtime_ns
    assert RunFolder.open(out / "stage1").path.is_dir()
    demo.run_demo(out, device="cpu", quiet=True)  # all there already: evaluated again only
    assert len(list((out / "adapted" / "checkpoints").glob("*.safetensors"))) >= 1
    assert (out / "adapted" / "run.json").stat().st_mtime_ns >= stamp
    demo.run_demo(out, device="cpu", quiet=True, seed=1)
    assert (tmp_path / "demo-2" / "table.txt").exists()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="is not empty"):
        demo.run_demo(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]
