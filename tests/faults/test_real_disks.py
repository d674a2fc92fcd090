"""A job on real disks that fail: one clear line, then it waits, then it goes on as if nothing was.

`tests/engine/test_faults.py` does the same with every error code at the storage seam.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import disks
import pytest
import torch
from toy_task import ToyTask

from self6d.bug_report import write_bug_report
from self6d.engine import reporting
from self6d.engine.loop import LoopConfig, run_task
from self6d.errors import InputError, StorageError, from_os_error
from self6d.events import Finished, Note, Progress
from self6d.files import check_free, check_writable
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.storage import atomic_write, is_device, whole_folder

LOOP = LoopConfig(checkpoint_every=5, preview_every=5)
STEPS, WIDTH = 20, 96  # a checkpoint of 110 kB


@pytest.fixture
def whole(tmp_path):
    """Weights and loss curve of a run that nothing disturbed."""
    run = RunFolder.create(tmp_path / "whole", "toy", {})
    run_task(ToyTask(STEPS, width=WIDTH), run, LOOP)
    return run.load_checkpoint(run.latest_checkpoint()).tensors, run.curves()["loss/total"]


@pytest.mark.parametrize(
    ("disk", "code"),
    [
        (disks.full, errno.ENOSPC),
        (disks.read_only, errno.EROFS),
        (disks.limited, errno.EFBIG),
        (disks.denied, errno.EACCES),
    ],
)
def test_job_waits_and_goes_on(disk, code, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(reporting, "RETRY_S", 0.02)
    folder = tmp_path / "disk"
    folder.mkdir()
    notes: list[Note] = []
    with disk(folder) as (path, fail, mend):

        def listen(event: object) -> None:
            if isinstance(event, Note):
                notes.append(event)
                if event.level == "error":
                    mend()

        def break_down(task: ToyTask, step: int) -> None:
            if step == 8:
                fail()

        run = RunFolder.create(path, "toy", {})
        task = ToyTask(STEPS, width=WIDTH, before_step=break_down)
        run_task(task, run, LOOP, listen)
        again = RunFolder.open(path)
        assert again.status == "done"
        last = again.load_checkpoint(again.latest_checkpoint()).tensors
        steps, values = again.curves()["loss/total"]
        assert not list(path.rglob(".*.tmp"))
    errors = [note.text for note in notes if note.level == "error"]
    assert len(errors) == 1
    assert re.match(
        f"paused: cannot write {re.escape(str(path))}/[a-z0-9_/.]+: {os.strerror(code)}. "
        f"{'Free space' if code == errno.ENOSPC else 'Make it writable again'}; ",
        errors[0],
    )
    assert [note.text for note in notes][-1] == "the run folder can be written again; going on"
    assert task.steps_done == list(range(STEPS))  # no step was lost or made twice
    tensors, (expected_steps, expected_values) = whole
    assert all(torch.equal(last[name], tensors[name]) for name in tensors)
    assert steps.tolist() == expected_steps.tolist() == list(range(STEPS))
    assert values.tolist() == expected_values.tolist()


@pytest.mark.parametrize("gives_up", [False, True])
def test_job_without_anybody_who_could_mend_the_disk_ends_by_itself(
    gives_up, whole, tmp_path, monkeypatch
):
    """It waited without end: a command of the night was found in the morning, paused."""
    monkeypatch.setattr(reporting, "RETRY_S", 0.01)
    monkeypatch.setattr(reporting, "GIVE_UP_S", 0.1)
    (tmp_path / "disk").mkdir()
    heard: list = []
    with disks.full(tmp_path / "disk") as (path, fail, mend):
        control = Control(patient=not gives_up)

        def listen(event: object) -> None:
            heard.append(event)
            if isinstance(event, Progress) and event.phase == "paused":
                threading.Timer(1.0, mend if control.patient else lambda: None).start()

        run = RunFolder.create(path, "toy", {})
        task = ToyTask(STEPS, width=WIDTH, before_step=lambda _, step: step == 8 and fail())
        if gives_up:
            with pytest.raises(StorageError) as caught:
                run_task(task, run, LOOP, listen, control)
            assert caught.value.one_line() == (
                f"{path}/checkpoints/step_00000010.safetensors: cannot be written (No space left "
                "on device). Free space, then go on from step_00000005.safetensors, which is kept, "
                "with --resume."
            )
            assert isinstance(heard[-1], Finished)
            mend()
            run, task = RunFolder.open(path), ToyTask(STEPS, width=WIDTH)
        run_task(task, run, LOOP, listen, control)
        last = run.load_checkpoint(run.latest_checkpoint()).tensors
        assert run.status == "done"
    assert all(torch.equal(last[name], value) for name, value in whole[0].items())
    paused = [event.text for event in heard if isinstance(event, Note) and event.level == "error"]
    assert len(paused) == 1
    assert ("the job waits" in paused[0]) != gives_up


@pytest.mark.parametrize("disk", [disks.full, disks.read_only, disks.denied])
def test_job_that_cannot_even_begin_is_one_line(disk, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    with disk(folder) as (path, fail, mend):
        RunFolder.create(path, "toy", {})
        fail()
        with pytest.raises((StorageError, InputError)) as caught:
            run_task(ToyTask(STEPS), RunFolder.open(path), LOOP)
        mend()
        assert str(path) in caught.value.one_line()
        assert caught.value.remedy
        fail()
        with pytest.raises(StorageError):
            RunFolder.create(path / "another", "toy", {})
        mend()


def test_what_fails_in_a_folder_made_whole_is_named_as_in_that_folder(tmp_path):
    out = tmp_path / "labels"
    with pytest.raises(OSError) as caught, whole_folder(out) as part:
        (part / "masks" / "1.png").write_bytes(b"")
    assert caught.value.filename == str(out / "masks" / "1.png")
    with pytest.raises(InputError) as told, whole_folder(out) as part:
        raise from_os_error(caught.value, part / "2.png")
    assert told.value.one_line().startswith(f"{out / '2.png'}: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o775), (0o077, 0o700)])
def test_who_may_use_a_folder_made_whole_is_the_umasks_to_say(tmp_path, umask, mode):
    """A group could not write into a package, and all could read what was to be private."""
    before = os.umask(umask)
    try:
        with whole_folder(tmp_path / "package"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "package").stat().st_mode) == mode


def test_a_folder_made_whole_where_a_disk_is_mounted(tmp_path):
    (tmp_path / "disk").mkdir()
    with disks.full(tmp_path / "disk") as (run, _, _):
        with whole_folder(run.parent) as part:
            (part / "masks").mkdir()
            (part / "masks" / "1.png").write_bytes(b"1")
        assert [path.name for path in run.parent.iterdir()] == ["masks"]
        assert (run.parent / "masks" / "1.png").read_bytes() == b"1"


def test_a_folder_or_file_that_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file" / "out", tmp_path / "file" / "sub" / "out.csv"):
        with pytest.raises(InputError, match=r"out.*: cannot be used"):
            check_writable(wrong)
    check_writable(tmp_path / "file")
    with disks.denied(tmp_path) as (run, fail, mend):
        check_free(run / "sub" / "new")
        fail()
        with pytest.raises(StorageError, match=re.escape(f"{run / 'sub' / 'new'}: cannot be")):
            check_free(run / "sub" / "new")
        mend()
    (tmp_path / "run").mkdir()
    with disks.read_only(tmp_path / "run") as (run, fail, mend):
        fail()
        try:
            with pytest.raises(StorageError, match="Read-only"):
                check_free(run / "new")
        finally:
            mend()


@pytest.mark.skipif(os.name != "posix", reason="folders are flushed on POSIX alone")
def test_a_disk_whose_folders_cannot_be_flushed_takes_files(tmp_path, monkeypatch):
    """Some network disks answer EINVAL; a broken one that answers EIO is still told."""
    flush, answers = os.fsync, [errno.EINVAL, errno.EIO]

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(answers.pop(0), "of a folder")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    atomic_write(tmp_path / "run.json", b"new")
    assert (tmp_path / "run.json").read_bytes() == b"new"
    with pytest.raises(OSError, match="of a folder") as told:
        atomic_write(tmp_path / "run.json", b"newer")
    assert told.value.errno == errno.EIO


def test_a_bug_report_that_does_not_fit_leaves_nothing(tmp_path):
    """Half an archive stayed, which could not be read and was in the way of the next."""
    folder, out = RunFolder.create(tmp_path / "made", "toy", {}).path, tmp_path / "report.zip"
    (folder / "previews").mkdir(exist_ok=True)
    (folder / "previews" / "a.npz").write_bytes(os.urandom(100_000))
    with disks.limited(tmp_path) as (_, fail, _):
        fail()
        with pytest.raises(StorageError, match="cannot be written"):
            write_bug_report(out, run=folder, with_images=True)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    write_bug_report(out, run=folder, with_images=True)
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None


def test_what_is_no_file_is_written_into_and_a_link_stays_one(tmp_path):
    """`--json /dev/stdout`, as root, put a file in the place of /dev/stdout itself."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "there" / "real.json")
    for text in (b"first", b"second"):
        atomic_write(link, text)
        assert link.is_symlink()
        assert (tmp_path / "there" / "real.json").read_bytes() == text
    assert os.listdir(tmp_path / "there") == ["real.json"]

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    atomic_write(pipe, b"x" * 100_000)
    reader.join(10)
    check_writable(pipe)
    check_writable(Path("/dev/stdout"))
    assert heard == [b"x" * 100_000]
    assert pipe.is_fifo()

    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:  # a disk as any other
        for text in (b"first", b"second"):
            atomic_write(Path(memory, "run.json"), text)
        assert Path(memory, "run.json").read_bytes() == b"second"
        assert not is_device(Path(memory, "new"))

    before = os.readlink("/dev/stdout")
    code = "import pathlib, sys, self6d.storage as s; print('table', flush=True); "
    code += "[s.atomic_write(pathlib.Path(p), b'json') for p in sys.argv[1:]]"
    (tmp_path / "led").symlink_to("/dev/stdout")
    names = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", str(tmp_path / "led")]
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code, *names], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"table\n" + 4 * b"json"
    assert os.readlink("/dev/stdout") == before
