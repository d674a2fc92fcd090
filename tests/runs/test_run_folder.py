"""Run folders: never overwritten, readable while they grow, locked."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from self6d.errors import CheckpointError, InputError, LockedError
from self6d.events import CheckpointSaved, Finished, Note, Preview, Progress, Scalars
from self6d.locks import FolderLock, is_held
from self6d.runs.checkpoint import pack
from self6d.runs.event_log import EventWriter, load_preview, preview_path, read_events
from self6d.runs.folder import RunFolder, names_of


def test_create_and_open(run_path):
    made = RunFolder.create(
        run_path, "synthetic", {"a": {"b": 1, "c": None}}, {"data": "x"}, seed=5
    )
    run = RunFolder.open(run_path)
    assert (run.kind, run.seed, run.status) == ("synthetic", 5, "created")
    assert run.config == {"a": {"b": 1}}
    assert run.info == made.info
    assert run.info["versions"]["self6d"]


def test_never_overwrites(run_path):
    run_path.mkdir()
    (run_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="not empty"):
        RunFolder.create(run_path, "synthetic", {})
    assert [p.name for p in run_path.iterdir()] == ["photo.png"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError):
        RunFolder.create(tmp_path / "file" / "run", "synthetic", {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", b""),
        ("run.json", b"{"),
        ("run.json", b"[]"),
        ("run.json", b"\xff\xfe"),
        ("run.json", b'{"format": 7}'),
        ("config.toml", b"= ="),
        ("config.toml", b"\xff"),
    ],
)
def test_damaged_folder_is_one_line(run_path, name, content):
    RunFolder.create(run_path, "synthetic", {})
    (run_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        RunFolder.open(run_path)
    assert str(run_path) in caught.value.one_line()


def test_not_a_run_folder(tmp_path):
    with pytest.raises(CheckpointError, match="not a run folder"):
        RunFolder.open(tmp_path / "nothing")
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"that export made.*load_package"):
        RunFolder.open(tmp_path)


def test_events_survive_the_trip(run_path):
    run = RunFolder.create(run_path, "synthetic", {})
    preview = Preview(3, "probe/0", {"rgb": np.ones((2, 2, 3), np.uint8)}, [{"score": 1.0}])
    events = [
        Scalars(3, {"loss/total": 1.5, "bad": float("nan")}),
        Progress(3, 10, 12.5, "train"),
        Note("warning", "ümlaut\nand lines", 3),
        CheckpointSaved(3, "a/b", True),
        Finished(3, "done", {"x": [1]}),
    ]
    run.save_preview(preview)
    writer = EventWriter(run.events_path)
    for event in events:
        writer.add(event)
    writer.flush()
    (shown,) = run.previews()
    assert np.array_equal(shown.arrays["rgb"], preview.arrays["rgb"])
    assert shown.poses == preview.poses
    found = [event for event, _ in run.iter_events()]
    assert np.isnan(found[0].values.pop("bad"))
    assert found[0].values == {"loss/total": 1.5}
    assert found[1:] == events[1:]


def test_tailing_from_an_offset(run_path):
    run = RunFolder.create(run_path, "synthetic", {})
    writer = EventWriter(run.events_path)
    writer.add(Note("info", "one"))
    writer.flush()
    ((first, offset),) = run.iter_events()
    with open(run.events_path, "ab") as file:
        file.write(b'{"type": "note", "level": "info", "te')  # half a line is not there yet
    assert list(run.iter_events(offset)) == []
    with open(run.events_path, "ab") as file:
        file.write(b'xt": "two"}\n')
    ((second, _),) = run.iter_events(offset)
    assert (first.text, second.text) == ("one", "two")


def test_torn_and_foreign_lines_are_skipped(run_path):
    run = RunFolder.create(run_path, "synthetic", {})
    lines = [b"\xff\xfe", b"[]", b'{"type": "alien"}', b'{"type": "scalars"}', b'{"type": "note"']
    run.events_path.write_bytes(b"\n".join(lines))  # the last one torn by a kill
    writer = EventWriter(run.events_path)
    writer.add(Note("info", "after"))
    writer.flush()
    assert [event.text for event, _ in read_events(run.events_path)] == ["after"]


def test_repeated_steps_count_once_in_curves(run_path):
    run = RunFolder.create(run_path, "synthetic", {})
    writer = EventWriter(run.events_path)
    for step, value in [(0, 5.0), (1, 4.0), (2, 9.0), (1, 3.0), (2, 2.0)]:
        writer.add(Scalars(step, {"loss/total": value}))
    writer.flush()
    steps, values = run.curves()["loss/total"]
    assert steps.tolist() == [0, 1, 2]
    assert values.tolist() == [5.0, 3.0, 2.0]


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a" * 500, "ä/ö", "..", "a\0b"])
def test_preview_names_stay_inside_the_folder(run_path, name):
    run = RunFolder.create(run_path, "synthetic", {})
    run.save_preview(Preview(1, name, {"rgb": np.zeros((1, 1, 3), np.uint8)}))
    path = preview_path(run_path, name)
    assert path.parent == run_path / "previews"
    assert load_preview(path).name == name


def test_damaged_preview_is_no_preview(run_path):
    run = RunFolder.create(run_path, "synthetic", {})
    np.savez(run_path / "previews" / "a.npz", x=np.array([{"pickled": 1}], dtype=object))
    (run_path / "previews" / "b.npz").write_bytes(b"PK\x03\x04 nothing")
    assert run.previews() == []


def test_best_that_points_outside_is_ignored(run_path, tmp_path):
    run = RunFolder.create(run_path, "synthetic", {})
    (tmp_path / "step_00000001.safetensors").write_bytes(b"x")
    record = {"file": "../../step_00000001.safetensors", "score": 1}
    (run.checkpoints_path / "best.json").write_text(json.dumps(record))
    assert run.best_checkpoint() is None


def test_of_damaged_checkpoints_the_next_is_loaded(run_path):
    """The best, then the newest."""
    run = RunFolder.create(run_path, "synthetic", {})
    paths = [run.save_checkpoint(i, pack({"x": torch.tensor(float(i))})) for i in range(4)]
    run.mark_best(paths[1], 1.0)
    for step in (1, 3, 2, 0):
        assert run.best_checkpoint() == paths[step]
        found = run.load_checkpoint()
        assert (found.step, found.tensors["x"].item()) == (step, step)
        data = paths[step].read_bytes()
        paths[step].write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="no intact checkpoint"):
        run.load_checkpoint()


def test_what_lost_its_checkpoints_is_told_what_can_be_done(run_path):
    run = RunFolder.create(run_path, "synthetic", {})
    for status, says in (("stopped", "--resume"), ("done", "this one has ended")):
        run.update(status=status)
        with pytest.raises(CheckpointError, match="no intact checkpoint") as error:
            run.load_checkpoint()
        assert says in error.value.remedy
    assert "--resume" not in error.value.remedy


def test_lock_names_the_holder(tmp_path):
    with FolderLock(tmp_path, "train"):
        assert is_held(tmp_path)
        with pytest.raises(LockedError) as caught:
            FolderLock(tmp_path, "adapt").acquire()
        assert f"train (process {os.getpid()} on {socket.gethostname()}, since" in str(caught.value)
    assert not is_held(tmp_path)
    FolderLock(tmp_path).acquire()


@pytest.mark.skipif(os.name != "posix", reason="flock")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_on_a_disk_without_locks_the_note_decides(tmp_path, monkeypatch, code):
    """As on NFS whose server has no lock daemon, and on some mounts in user space."""

    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    with FolderLock(tmp_path, "train"):
        assert is_held(tmp_path)
        with pytest.raises(LockedError, match="in use by train"):
            FolderLock(tmp_path, "adapt").acquire()
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    _note(tmp_path, pid=2**22 + 1)
    with FolderLock(tmp_path) as lock:
        assert "took over" in lock.explanation


def _note(folder, **changes):
    owner = {"pid": 1, "host": socket.gethostname(), "since": time.time() - 300, "started": 1.0}
    (folder / "lock.json").write_text(json.dumps({**owner, "what": "train", **changes}))


def test_stale_lock_of_this_machine_is_explained_and_taken(tmp_path):
    _note(tmp_path, pid=2**22 + 1)
    lock = FolderLock(tmp_path, "adapt")
    assert "took over the lock of train (process" in lock.acquire()
    lock.release()


def test_process_number_that_came_round_again_is_stale(tmp_path):
    _note(tmp_path, pid=os.getpid(), started=12.0)
    assert FolderLock(tmp_path).acquire() is not None


def test_lock_of_another_machine(tmp_path):
    _note(tmp_path, host="elsewhere")
    with pytest.raises(LockedError, match="on elsewhere"):
        FolderLock(tmp_path).acquire()
    old = time.time() - 3600
    os.utime(tmp_path / "lock.json", (old, old))
    assert FolderLock(tmp_path).acquire() is not None  # it has not shown a sign of life


def test_young_lock_of_another_machine_can_be_forced(tmp_path):
    _note(tmp_path, host="elsewhere")
    assert "elsewhere" in FolderLock(tmp_path, force=True).acquire()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"pid": "x"}'])
def test_damaged_lock_note_does_not_block(tmp_path, content):
    (tmp_path / "lock.json").write_bytes(content)
    FolderLock(tmp_path).acquire()


def test_interrupted_run_says_so(run_path):
    run = RunFolder.create(run_path, "synthetic", {})
    run.update(status="running")
    assert RunFolder.open(run_path).status == "interrupted"
    with run.lock():
        assert RunFolder.open(run_path).status == "running"


def test_leftovers_of_a_killed_writer_go(run_path):
    """Once the lock is held: until then a living one may be writing."""
    run = RunFolder.create(run_path, "synthetic", {})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    halves = {
        pid: run.checkpoints_path / f".step_00000001.safetensors.{pid}.tmp"
        for pid in (gone.pid, os.getpid(), os.getppid())
    }
    for half in halves.values():
        half.write_bytes(b"half")
    lock = run.lock()
    assert all(half.exists() for half in halves.values())
    with lock:
        assert [pid for pid, half in halves.items() if half.exists()] == [os.getppid()]


def test_a_run_of_an_earlier_version_says_where_its_poses_are_learned(tmp_path):
    """Without the setting it is the origin; a run of today has it."""
    old = RunFolder.create(tmp_path / "old", "synthetic", {"network": {"views": 1}}, {}, seed=0)
    assert "about_centre" not in old.config["network"]
    assert RunFolder.open(old.path).config["network"] == {
        "views": 1, "about_centre": False, "instances": 1, "coordinates_follow_rotation": False,
    }  # fmt: skip
    new = {
        "network": {"about_centre": True, "instances": 3, "coordinates_follow_rotation": True},
    }  # fmt: skip
    RunFolder.create(tmp_path / "new", "synthetic", new, {}, seed=0)
    assert RunFolder.open(tmp_path / "new").config == new


def test_runs_of_one_name_are_told_apart_by_the_folders_around_them(tmp_path, monkeypatch):
    paths = [tmp_path / part for part in ("a/x/run", "b/x/run", "other")]
    assert names_of(paths) == ["a/x/run", "b/x/run", "other"]
    assert names_of(paths[1:]) == ["run", "other"]
    assert names_of([Path("/run"), Path("/x/run")]) == ["/run", "x/run"]
    monkeypatch.chdir(tmp_path)
    assert names_of([".", "other/"]) == [tmp_path.name, "other"]
    with pytest.raises(InputError, match="named twice"):
        names_of([tmp_path / "other", "other"])
