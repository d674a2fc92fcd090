"""A job put into a folder for another machine: every way in which its command may name things."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from typer.main import get_command

from self6d.cli import app
from self6d.datasets import open_dataset
from self6d.jobs.pack import FLAGS, KINDS, pack
from self6d.paths import resource
from tests.helpers import recordings

STAGE_1 = resource("sample/stage1")


def command_of(folder: Path) -> list[str]:
    """What its run.sh does, after the program's name."""
    line = shlex.split((folder / "run.sh").read_text().splitlines()[1])
    return line[line.index("self6d-studio") + 1 : -1]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A recording whose frames to adapt to lie in a folder beside those to test on."""
    root = recordings.bop(tmp_path_factory.mktemp("data") / "set")
    recordings.bop_scene(root / "train_real" / "000001", range(10, 13))
    return root


@pytest.fixture
def track(tmp_path) -> Path:
    """A run's folder, as far as its poses."""
    folder = tmp_path / "track"
    folder.mkdir()
    (folder / "poses.json").write_text('{"version": 1, "poses": []}')
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_flag_of_a_job_is_known_as_one(kind):
    options = get_command(app).commands[kind].params
    flags = {
        text
        for option in options
        if getattr(option, "is_flag", False)
        for text in (*option.opts, *option.secondary_opts)
    }
    assert flags - {"--help"} - {"--resume"} <= set(FLAGS)  # a run that goes on is refused


def test_a_still_scene_and_the_shipped_refiner_go_along(data, tmp_path):
    words = ["adapt", str(data), "--from", str(STAGE_1), "--still", "--refiner", "shipped"]
    folder = pack([*words, "--out", "somewhere/run"], tmp_path / "job")
    wanted = ["adapt", "data", "--from", "from", "--still", "--refiner", "shipped"]
    assert command_of(folder) == [*wanted, "--out", "runs/run"]


def test_a_refiner_that_is_a_file_comes_along(data, tmp_path):
    file = tmp_path / "mine.safetensors"
    shutil.copyfile(resource("refiner/any.safetensors"), file)
    words = ["adapt", str(data), "--from", str(STAGE_1), "--refiner", str(file), "--out", "run"]
    folder = pack(words, tmp_path / "job")
    assert command_of(folder)[4:6] == ["--refiner", "refiner.safetensors"]
    assert (folder / "refiner.safetensors").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("kind", "option"), [("adapt", "--poses"), ("track", "--init"), ("track", "--keep")]
)
def test_a_track_is_named_by_its_folder(data, track, tmp_path, kind, option):
    start = ["--from", str(STAGE_1)] if option != "--init" else []
    folder = pack([kind, str(data), *start, option, str(track), "--out", "run"], tmp_path / "job")
    words = command_of(folder)
    brought = folder / words[words.index(option) + 1]
    assert brought.read_text() == (track / "poses.json").read_text()


def test_a_split_that_is_a_folder_keeps_its_name(data, tmp_path):
    words = ["adapt", str(data), "--from", str(STAGE_1), "--split", "train_real", "--out", "run"]
    folder = pack(words, tmp_path / "job")
    assert command_of(folder)[4:6] == ["--split", "train_real"]
    there = open_dataset(folder / "data").split("train_real")
    assert [key.image_id for key in there.keys] == [10, 11, 12]


def test_a_split_of_the_recordings_own_stays_as_it_is(data, tmp_path):
    root = shutil.copytree(data, tmp_path / "set")
    (root / "splits.json").write_text(json.dumps({"adapt": [0, 1], "mine": [1, 2]}))
    words = ["track", str(root), "--from", str(STAGE_1), "--split", "mine", "--out", "run"]
    there = open_dataset(pack(words, tmp_path / "job") / "data")
    assert [key.image_id for key in there.split("mine").keys] == [1, 2]
    assert [key.image_id for key in there.split("adapt").keys] == [1]
