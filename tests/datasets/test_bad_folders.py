"""Harmed folders, odd names, foreign files: a load with a note, or one line that says what to do.

Never another exception, never a change on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import recordings as world
from hostile import read_all, survives

from self6d.datasets import load_models, open_dataset
from self6d.datasets.registry import LAYOUTS


# --- files missing, extra, unpaired, looping, oddly named ---------------------------------------
def remove(pattern: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        for path in sorted(root.rglob(pattern)):
            path.unlink()

    return act


def loop(root: Path) -> None:
    (root / "again").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to(root / "self")


def dangling(root: Path) -> None:
    victim = next(p for p in sorted(root.rglob("*.png")) if "depth" not in str(p))
    victim.unlink()
    victim.symlink_to(root / "nowhere.png")


def self_link(root: Path) -> None:
    victim = next(p for p in sorted(root.rglob("*.png")) if "depth" not in str(p))
    victim.unlink()
    victim.symlink_to(victim)


def extra(root: Path) -> None:
    for folder in [p.parent for p in root.rglob("*.png")]:
        (folder / "Thumbs.db").write_bytes(b"x")
        (folder / ".hidden.png").write_bytes(b"x")
        (folder / "a folder.png").mkdir(exist_ok=True)


def folder_for_file(root: Path) -> None:
    victim = next(p for p in sorted(root.rglob("*.png")) if "depth" not in str(p))
    victim.unlink()
    victim.mkdir()


HARM = {
    "no images": remove("*.png"),
    "no tables": remove("*.json"),
    "no yaml": remove("*.yml"),
    "no lists": remove("*.txt"),
    "no meta": remove("*.mat"),
    "first frame gone": remove("*0[01].png"),
    "link loops": loop,
    "dangling link": dangling,
    "link to itself": self_link,
    "extra files": extra,
    "a folder in place of an image": folder_for_file,
}


@pytest.mark.parametrize(
    "layout",
    ["bop", "folder", "tum", "linemod_preprocessed", "ycb_video", "single", "happypose"],
)
@pytest.mark.parametrize("case", HARM)
def test_harmed_folder(tmp_path: Path, layout: str, case: str) -> None:
    root = getattr(world, layout)(tmp_path / "data")
    HARM[case](root)
    survives(tmp_path, lambda: read_all(root))


@pytest.mark.parametrize("layout", [layout.name for layout in LAYOUTS])
@pytest.mark.parametrize("content", ["nothing", "a file", "empty folders"])
def test_wrong_layout_asked_for(tmp_path: Path, layout: str, content: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    if content == "a file":
        (root / "notes.txt").write_text("hello")
    if content == "empty folders":
        for name in ("rgb", "depth", "data", "test/000001"):
            (root / name).mkdir(parents=True)
    assert survives(tmp_path, lambda: open_dataset(root, kind=layout)) is not None


NAMES = ["Ünïcødé 数据 🙂", "with space", "a" * 200, "-dash", "per%cent", "quote'\"", "dot.png"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", ["bop", "folder", "tum"])
def test_odd_folder_names(tmp_path: Path, layout: str, name: str) -> None:
    root = getattr(world, layout)(tmp_path / name)
    assert survives(tmp_path, lambda: read_all(root)) is None
    world.cube(root / f"{name}.ply")
    assert survives(tmp_path, lambda: load_models(root / f"{name}.ply")) is None


@pytest.mark.parametrize("path", ["", "\0", "x" * 5000, "/dev/null", "/proc/self/mem"])
def test_odd_paths(tmp_path: Path, path: str) -> None:
    if path:
        assert survives(tmp_path, lambda: open_dataset(path)) is not None
    assert survives(tmp_path, lambda: load_models(path or tmp_path)) is not None


def test_a_very_long_path(tmp_path: Path) -> None:
    root = tmp_path
    while len(str(root)) < 3500:
        root = root / ("d" * 200)
    world.folder(root)
    assert survives(tmp_path, lambda: read_all(root)) is None


def test_depth_without_a_common_name_or_number(tmp_path: Path) -> None:
    root = world.folder(tmp_path / "data")
    (root / "depth" / "0003.png").rename(root / "depth" / "spare.png")
    dataset = open_dataset(root)
    assert len(dataset) == 3  # the unpaired colour image is left out, with a note
    for n, path in enumerate(sorted((root / "depth").iterdir())):
        path.rename(root / "depth" / f"shot_{'abcd'[n]}.png")
    assert len(open_dataset(root)) == 4  # as many of each: paired by order, with a note
    (root / "depth" / "shot_a.png").unlink()
    assert survives(tmp_path, lambda: open_dataset(root)) is not None


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("take.bag", "reindex"), ("take.mcap", "reindex"), ("take.mkv", "Azure"),
        ("data.zip", "Unpack"), ("part.stl", "--models"), ("what.xyz", "folder"),
    ],
)  # fmt: skip
def test_foreign_files_say_what_to_do(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_bytes(b"data")
    error = survives(tmp_path, lambda: open_dataset(tmp_path / name))
    assert error is not None
    assert remedy in str(error.remedy)
