"""Disks that fail in every way, vanished folders: nothing lost, and one clear line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch
from same_end import assert_same_end
from toy_task import ToyTask

from self6d.engine import reporting
from self6d.engine.loop import LoopConfig, run_task
from self6d.errors import StorageError
from self6d.events import Note
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder

LOOP = LoopConfig(checkpoint_every=5, preview_every=5)


@pytest.fixture
def quick_retry(monkeypatch):
    monkeypatch.setattr(reporting, "RETRY_S", 0.02)


class Disk:
    """Makes writing under a folder fail with an error until mended."""

    def __init__(self, monkeypatch, folder: Path) -> None:
        self.error: int | None = None
        self.room = 0  # bytes that still fit before the error
        self._folder = str(folder)
        real_open, real_write, real_replace = os.open, os.write, os.replace
        import builtins

        file_open = builtins.open

        def check(path: object) -> None:
            if self.error is not None and str(path).startswith(self._folder):
                raise OSError(self.error, os.strerror(self.error), str(path))

        def guarded_open(path, flags, *args, **kwargs):
            if flags & (os.O_WRONLY | os.O_RDWR):
                check(path)
            return real_open(path, flags, *args, **kwargs)

        def guarded_file(path, mode="r", *args, **kwargs):
            if "w" in mode or "a" in mode:
                check(path)
            return file_open(path, mode, *args, **kwargs)

        def guarded_replace(a, b):
            check(b)
            return real_replace(a, b)

        def guarded_write(descriptor, data):
            if self.room and len(data) > self.room:
                data, self.room, self.error = data[: self.room], 0, errno.ENOSPC
            return real_write(descriptor, data)

        monkeypatch.setattr(os, "open", guarded_open)
        monkeypatch.setattr(os, "replace", guarded_replace)
        monkeypatch.setattr(os, "write", guarded_write)
        monkeypatch.setattr(builtins, "open", guarded_file)


@pytest.fixture
def whole(tmp_path):
    run = RunFolder.create(tmp_path / "whole", "toy", {})
    run_task(ToyTask(20), run, LOOP)
    return run


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT])
def test_job_waits_for_a_disk_that_fails(run_path, whole, monkeypatch, quick_retry, code):
    run = RunFolder.create(run_path, "toy", {})
    disk = Disk(monkeypatch, run_path)
    told = threading.Event()
    notes: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
            if event.level == "error":
                told.set()

    def fail(task: ToyTask, step: int) -> None:
        if step == 8:
            disk.error = code

    def mend() -> None:
        told.wait(20)
        disk.error = None

    thread = threading.Thread(target=mend)
    thread.start()
    run_task(ToyTask(20, before_step=fail), run, LOOP, listen)
    thread.join()
    paused = [text for text in notes if text.startswith("paused")]
    assert len(paused) == 1
    assert str(run_path) in paused[0]
    assert os.strerror(code) in paused[0]
    assert any("going on" in text for text in notes)
    monkeypatch.undo()
    assert_same_end(run, whole)


def test_line_cut_by_a_full_disk_is_completed(run_path, whole, monkeypatch, quick_retry):
    run = RunFolder.create(run_path, "toy", {})
    disk = Disk(monkeypatch, run_path)

    def listen(event: object) -> None:
        if isinstance(event, Note) and event.level == "error":
            disk.error = None

    def fill(task: ToyTask, step: int) -> None:
        if step == 8:
            disk.room = 11

    run_task(ToyTask(20, before_step=fill), run, LOOP, listen)
    monkeypatch.undo()
    lines = run.events_path.read_bytes().splitlines()
    assert all(json.loads(line) for line in lines)
    assert_same_end(run, whole)


def test_folder_removed_and_put_back(run_path, whole, tmp_path, quick_retry):
    run = RunFolder.create(run_path, "toy", {})
    notes: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
            if event.level == "error":
                shutil.move(tmp_path / "elsewhere", run_path)

    def remove(task: ToyTask, step: int) -> None:
        if step == 8:
            shutil.move(run_path, tmp_path / "elsewhere")

    run_task(ToyTask(20, before_step=remove), run, LOOP, listen)
    assert any("the folder is gone. Put it back" in text for text in notes)
    assert_same_end(run, whole)


def test_a_folder_that_stays_away_is_to_be_put_back(run_path, quick_retry, monkeypatch):
    """It was to be made writable again, and nothing kept yet: what was kept is where it went."""
    monkeypatch.setattr(reporting, "GIVE_UP_S", 0.05)
    run = RunFolder.create(run_path, "toy", {})
    away = run_path.with_name("elsewhere")
    task = ToyTask(20, before_step=lambda _, step: step == 8 and run_path.rename(away))
    with pytest.raises(StorageError) as caught:
        run_task(task, run, LOOP)
    assert caught.value.one_line() == (
        f"{run_path}: cannot be written (the folder is gone). Put it back, then go on with "
        "--resume."
    )


def test_folder_deleted_and_made_anew(run_path, whole, quick_retry):
    run = RunFolder.create(run_path, "toy", {"a": {"b": 1}})

    def listen(event: object) -> None:
        if isinstance(event, Note) and event.level == "error":
            run_path.mkdir()

    def remove(task: ToyTask, step: int) -> None:
        if step == 8:
            shutil.rmtree(run_path)

    run_task(ToyTask(20, before_step=remove), run, LOOP, listen)
    again = RunFolder.open(run_path)
    assert again.config == {"a": {"b": 1}}
    assert again.status == "done"
    last, expected = (r.load_checkpoint(r.latest_checkpoint()) for r in (again, whole))
    assert all(torch.equal(last.tensors[k], expected.tensors[k]) for k in last.tensors)


def test_stop_while_the_disk_fails_is_a_clear_end(run_path, monkeypatch, quick_retry):
    run = RunFolder.create(run_path, "toy", {})
    disk = Disk(monkeypatch, run_path)
    control = Control()

    def listen(event: object) -> None:
        if isinstance(event, Note) and event.level == "error":
            control.stop()

    def fail(task: ToyTask, step: int) -> None:
        if step == 8:
            disk.error = errno.ENOSPC

    with pytest.raises(StorageError, match="No space left") as caught:
        run_task(ToyTask(20, before_step=fail), run, LOOP, listen, control)
    assert "--resume" in caught.value.one_line()
    monkeypatch.undo()
    assert run.latest_checkpoint().stem == "step_00000005"


def test_damaged_newest_checkpoint_costs_only_its_steps(run_path, whole):
    run = RunFolder.create(run_path, "toy", {})
    control = Control()
    stopping = ToyTask(20, before_step=lambda _, s: s == 12 and control.stop())
    run_task(stopping, run, LOOP, control=control)
    newest = run.latest_checkpoint()
    data = newest.read_bytes()
    newest.write_bytes(data[: len(data) // 2])
    assert run.latest_checkpoint().stem == "step_00000010"
    again = ToyTask(20)
    run_task(again, run, LOOP)
    assert again.steps_done[0] == 10
    assert_same_end(run, whole)
