"""A window used for long: prints the memory of its processes before and after each use, as JSON.

Every tenth of the way goes to standard error.

python tests/helpers/long_use.py SETTINGS.ini RECORDING USE=COUNT...

A USE is "frames" or "cycles"; what changes frames comes first, as cycles close the recording.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from PySide6.QtCore import QEventLoop, QTimer

from studio.model.settings import Settings
from studio.shell.app import make_application, open_window

WARM_UP = 0.1  # share of the count that is not counted


def wait(condition: Callable[[], object], seconds: float = 120) -> None:
    """Until it once holds: a window that was idle may be at work again a moment later."""
    loop, until, held = QEventLoop(), time.monotonic() + seconds, False

    def look() -> None:
        nonlocal held
        held = bool(condition())
        if held or time.monotonic() > until:
            loop.quit()
        else:
            QTimer.singleShot(5, look)

    look()
    if not held:
        loop.exec()
    assert held, "the window did not get there"


def main(ini: str, recording: str, uses: dict[str, int]) -> None:
    app = make_application()
    window = open_window(Settings(Path(ini)), Path(recording), restore=False)
    project = window.project
    ready = lambda: project.models and window.director.frame is not None  # noqa: E731
    wait(lambda: window.built and ready() and window.workspace.doctor_panel.report)

    def settled() -> None:
        wait(lambda: not window.engine.busy and not window.worker.busy)

    def cycle(_: int) -> None:
        window.opener.open_recording(Path(recording))
        wait(ready)
        window.close_project()

    def change(number: int) -> None:
        project.select_frame(number % len(project.recording))
        app.processEvents()

    works = {"cycles": cycle, "frames": change}
    for what, count in uses.items():
        measure(window, what, count, works[what], settled)
    window.close()


def measure(
    window, what: str, count: int, work: Callable[[int], None], settled: Callable[[], None]
) -> None:
    """Use it so often, and print what it then holds."""
    for number in range(max(int(WARM_UP * count), 10)):
        work(number)
        settled()  # what is loaded or compiled on first use is there before anything is counted
    before = resident(window)
    began = time.monotonic()
    for number in range(count):
        work(number)
        if (number + 1) % max(count // 10, 1) == 0:
            print(number + 1, resident(window), file=sys.stderr, flush=True)
    settled()
    print(json.dumps({
        "what": what, "count": count, "seconds": round(time.monotonic() - began, 1),
        "before_mb": before, "after_mb": resident(window),
    }))  # fmt: skip


def resident(window) -> dict[str, float]:
    """MB held by the window's process and by its two helpers."""
    pids = {"window": psutil.Process().pid, "frames": window.engine.pid, "work": window.worker.pid}
    return {
        name: round(psutil.Process(pid).memory_info().rss / 2**20, 1) for name, pid in pids.items()
    }


if __name__ == "__main__":
    pairs = (word.split("=") for word in sys.argv[3:])
    main(sys.argv[1], sys.argv[2], {what: int(count) for what, count in pairs})
