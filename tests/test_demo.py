"""The demo, as small as it goes."""

from __future__ import annotations

import json

import pytest

from self6d import demo, jobs
from self6d.errors import InputError
from self6d.runs.folder import RunFolder

STAGE_1 = """
extends = "tiny"
[network]
backbone = "resnet10-w8"
crop_backbone = "resnet10-w8"
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
extends = "self6d-plus"
[loss]
perceptual = 0.0
points = 64
[adapt]
steps = 2
batch = 2
region = 48
pseudo_steps = 2
pseudo_region = 48
max_objects = 3
detection_score = 0.0
health_frames = 2
collapse = 0.0
[loop]
preview_every = 1000
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The demo at a size for a test, without a shipped stage 1."""
    folder = tmp_path_factory.mktemp("presets")
    with pytest.MonkeyPatch.context() as patch:
        for name, text in (("STAGE_1", STAGE_1), ("STAGE_2", STAGE_2)):
            (folder / f"{name}.toml").write_text(text)
            patch.setattr(demo, name, str(folder / f"{name}.toml"))
        patch.setattr(demo, "SAMPLE_FRAMES", 3)
        patch.setattr(demo, "SAMPLE_EVAL", 1)
        patch.setattr(demo, "SAMPLE_SIZE", (96, 128))
        yield


@pytest.fixture(scope="module")
def from_scratch(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "first"
    demo.run_demo(out, from_scratch=True, device="cpu", quiet=True)
    return out


@pytest.mark.slow
def test_same_seed_same_table(from_scratch, small, tmp_path, capsys):
    demo.run_demo(tmp_path / "again", from_scratch=True, device="cpu", quiet=True)
    first, second = ((p / "table.txt").read_text() for p in (from_scratch, tmp_path / "again"))
    assert first == second
    assert "stage1" in first
    assert "adapted" in first
    said = capsys.readouterr()
    assert first in said.out
    # quiet: the result and warnings alone
    assert [line for line in said.err.splitlines() if not line.startswith("warning: ")] == []
    table = json.loads((from_scratch / "table.json").read_text())
    assert [run["label"] for run in table["runs"]] == ["stage1", "adapted"]
    assert RunFolder.open(from_scratch / "adapted").config["adapt"]["still"] is True


def numbers(tree: object, path: str = "") -> dict[str, float]:
    """All numbers of a JSON tree by their place in it."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for name, part in items for k, v in numbers(part, f"{path}/{name}").items()}
    return {path: tree} if isinstance(tree, int | float) else {}


@pytest.mark.slow
def test_shipped_stage_1_is_used_and_an_earlier_demo_taken_up(
    from_scratch, small, tmp_path, monkeypatch
):
    shipped = jobs.slim(from_scratch / "stage1", tmp_path / "shipped").path
    monkeypatch.setattr(demo, "find_resource", lambda name: shipped)
    out = tmp_path / "demo"
    demo.run_demo(out, device="cpu", quiet=True)
    assert RunFolder.open(out / "stage1").info == RunFolder.open(shipped).info
    # the same stage 1, seed and frames end in the same table, whether trained now or shipped, but
    # for the half precision of shipped weights
    now, then = (numbers(json.loads((d / "table.json").read_text())) for d in (out, from_scratch))
    assert list(now) == list(then)
    assert now == pytest.approx(then, rel=0.01, abs=1e-3)
    stamp = (out / "adapted" / "run.json").stat().st_mtime_ns
    demo.run_demo(out, device="cpu", quiet=True)
    assert (out / "adapted" / "run.json").stat().st_mtime_ns == stamp


def test_other_settings_get_a_folder_of_their_own(tmp_path):
    out = tmp_path / "demo"
    assert demo.demo_folder(out, seed=0, from_scratch=False) == out
    assert demo.demo_folder(out, seed=0, from_scratch=False) == out
    assert demo.demo_folder(out, seed=1, from_scratch=False) == tmp_path / "demo-2"
    assert demo.demo_folder(out, seed=0, from_scratch=False, fresh=True) == tmp_path / "demo-3"
    assert demo.demo_folder(out, seed=1, from_scratch=False) == tmp_path / "demo-2"


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="is not empty"):
        demo.run_demo(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]
