"""A small real recording, a run trained for two steps, and a window that cleans up after itself."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from block_shapes import block
from made_once import made_once
from PySide6.QtCore import QCoreApplication, QEvent, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from tracked_block import pose_at, write_recording
from warm_processes import Warm

from self6d import jobs
from self6d.runs.folder import RunFolder
from self6d.sample.sample import make_sample
from self6d.scene.models_copy import save_models

if TYPE_CHECKING:
    from studio.shell.window import StudioWindow

# What makes a run take seconds; the code is the same.
QUICK = {
    "network.backbone": "resnet10-w8",
    "network.crop_backbone": "resnet10-w8",
    "network.crop_size": 32,
    "network.head_channels": 32,
    "train.batch": 2,
    "train.validate_every": 0,
    "synthesis.height": 96,
    "synthesis.background_pool": 4,
    "synthesis.faces_max": 500,
    "loop.preview_every": 1,
}
TIMEOUT_MS = 120_000  # a busy machine; an idle one needs seconds


@pytest.fixture(scope="session")
def quick() -> dict:
    """Settings that differ from the preset in a quick run."""
    return QUICK


@pytest.fixture(scope="session")
def sample() -> Path:
    """Eight unlabelled and four labelled frames of 128 x 96, which nobody changes."""
    return made_once(
        "sample", lambda path: make_sample(path, frames=8, eval_frames=4, size=(96, 128))
    )


@pytest.fixture(scope="session")
def trained(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage-1 run that has hardly learnt anything, but is one."""
    out = tmp_path_factory.mktemp("runs") / "stage1"
    run = jobs.train(sample / "models", out, preset="tiny", camera=sample, steps=2, overrides=QUICK)
    assert isinstance(run, RunFolder)
    return out


@pytest.fixture(scope="session")
def block_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six unlabelled frames of 160 x 120 with a block and its model; it is away in the fourth."""
    folder = tmp_path_factory.mktemp("data") / "block"
    write_recording(folder, [pose_at(i, (3,)) for i in range(6)])
    save_models([block()], folder / "models")
    return folder


@pytest.fixture(scope="session")
def warm(sample: Path) -> Iterator[Warm | None]:
    """What starts the helper processes and the jobs of windows."""
    started = Warm(sample) if sys.platform == "linux" else None
    yield started
    if started is not None:
        started.close()


@pytest.fixture(autouse=True)
def _warm_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "qapp" not in request.fixturenames:
        return
    warm = request.getfixturevalue("warm")
    if warm is not None:
        monkeypatch.setattr("studio.engine.client.launch", warm.helper)
        monkeypatch.setattr("studio.jobs.process_runner.launch", warm.job)


@pytest.fixture(scope="session")
def _waits_rest() -> None:
    """vispy puts a loop in the place of Qt's own waiting; it kept a core busy."""
    wait = QTest.qWait
    importlib.import_module("vispy.app.backends._pyside6")
    QTest.qWait = wait


@pytest.fixture
def settings(tmp_path: Path):
    from studio.model.settings import Settings

    kept = Settings(tmp_path / "studio.ini")
    kept.theme = "light"
    kept.runs_folder = tmp_path / "runs"
    return kept


@pytest.fixture
def open_studio(qtbot, settings, wait, warm, _waits_rest) -> Iterator[Callable]:
    """Opens windows; at the end of the test all are closed, and no job or helper is left."""
    from studio.shell.app import make_application, open_window
    from studio.training.panel import RunPanel

    make_application()
    bury()
    windows = []

    def start(*data: Path, restore: bool = False):
        window = open_window(settings, *data, restore=restore)
        windows.append(window)
        qtbot.waitExposed(window)
        window.activateWindow()  # shortcuts belong to the active window
        qtbot.waitUntil(lambda: window.built and window.isActiveWindow(), timeout=TIMEOUT_MS)
        return window

    yield start
    try:
        for window in windows:
            shut(window, wait)
    finally:  # whatever failed, no job goes on beside the tests to come
        end_children("self6d.cli")
        if warm:
            warm.end()
    for left in QApplication.topLevelWidgets():
        if isinstance(left, RunPanel) and left.parent() is None:  # no step of its window showed it
            left.deleteLater()
    nothing_left(wait, warm)


def shut(window: StudioWindow, wait: Callable) -> None:
    """Close a window without a question; its jobs are over before."""
    for job in window.queue.waiting:
        window.queue.drop(job)
    for job in window.queue.active:
        job.kill()
    if window.isVisible():  # one that is closed hears nothing of its jobs
        wait(lambda: not window.queue.active, 20)
    window.queue.close()
    if window.isVisible():
        window.close()
    timers = [t for t in window.findChildren(QTimer) if t.isActive()]
    assert not timers, f"still ticking: {timers}"
    window.deleteLater()


def bury() -> None:
    """Delete what the test before has left to be deleted."""
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def nothing_left(wait: Callable, warm: Warm | None) -> None:
    """No helper process, no thread that reads one, no follower of a run."""

    def threads() -> list[str]:
        names = (thread.name for thread in threading.enumerate())
        return [name for name in names if name == "engine" or name.startswith("follow ")]

    def helpers() -> list[int]:
        found = warm.alive() if warm else []
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if "studio.engine.server" in " ".join(child.cmdline()):
                    found.append(child.pid)
        return found

    wait(lambda: not threads() and not helpers(), 20)


def end_children(name: str) -> None:
    """End jobs of this test that outlive their window by design."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if name in " ".join(process.cmdline()):
                process.kill()
                process.wait(5)


@pytest.fixture
def wait(qtbot) -> Callable:
    """wait(condition): lets the window live until the condition holds."""

    def until(condition: Callable[[], object], seconds: float = TIMEOUT_MS / 1000) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain: {inspect.getsource(condition).strip()}")
            qtbot.wait(20)

    return until


@pytest.fixture
def opened(open_studio, sample: Path, wait):
    """A window with the sample, its models and its first frame."""
    window = open_studio(sample)
    wait(lambda: window.project.models and window.director.frame is not None)
    return window
