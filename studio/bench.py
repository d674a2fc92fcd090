"""How smooth the window is: first paint, first pictures, event delay while training, redraws.

`self6d-studio bench gui [--seconds S] [--json FILE]` runs this. Delay is how late a 5 ms timer
fires while a stage-1 job trains at full speed and the window shows its curves and pictures; it is
measured for `event_delay_over_s` seconds. `event_own_p99_ms` is what of it the window itself uses:
its main thread's processor time between two ticks. Where the delay is long and this is short, other
programs hold the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QEventLoop, QObject, Qt, QTimer
from PySide6.QtWidgets import QApplication

from self6d.errors import Self6DError

TICK_MS = 5
CURVES, POINTS = 6, 100_000
FRAME_SIZE = (480, 640)
WAIT_S = 300.0


class DelayMeter(QObject):
    """Notes how late each tick of a timer comes."""

    def __init__(self) -> None:
        super().__init__()
        self.late_ms: list[float] = []
        self.own_ms: list[float] = []
        self._timer = QTimer(self, interval=TICK_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._due = 0.0

    def start(self) -> None:
        self._due = time.perf_counter() + TICK_MS / 1000
        self._used = time.thread_time()
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        used = time.thread_time()
        self.late_ms.append(max(now - self._due, 0.0) * 1000)
        self.own_ms.append((used - self._used) * 1000)
        self._used = used
        self._due = now + TICK_MS / 1000


def bench_gui(json_path: str | Path | None = None, seconds: float = 10.0) -> dict[str, Any]:
    """Measure everything; print it and write it where asked."""
    from studio.shell.app import make_application

    began = time.perf_counter()
    make_application()  # says so where there is no screen
    result: dict[str, Any] = {"first_paint_s": first_paint()}
    with tempfile.TemporaryDirectory() as folder:
        sample, opened = sample_opened(Path(folder))
        result |= opened
        result["launch_first_picture_s"] = first_picture(sample)
        result |= event_delay(Path(folder), sample, seconds)
    result["curves_redraw_ms"] = curves_redraw()
    result["bench_s"] = time.perf_counter() - began
    for name, value in result.items():
        print(f"{name:24} {value:.4g}")
    if json_path is not None:
        Path(json_path).write_text(json.dumps(result, indent=1) + "\n")
    return result


def first_paint(repeats: int = 3) -> float:
    """Seconds from the start of a fresh process to the first painted window, median."""
    code = """
import psutil, time, tempfile, pathlib
from studio.shell.app import FirstPaint, make_application, make_window
from studio.model.settings import Settings
from studio.toolkit.theme import theme
app = make_application()
theme.apply('light')
w = make_window(Settings(pathlib.Path(tempfile.mkdtemp()) / 'a.ini'))
born = psutil.Process().create_time()
FirstPaint(w, lambda: (print(time.time() - born), app.quit()))
w.show()
app.exec()
"""
    return float(np.median([_fresh(code) for _ in range(repeats)]))


def first_picture(data: Path) -> float:
    """Seconds from the start of `launch DATA` in a fresh process to its first frame in sight."""
    code = """
import psutil, sys, time
from studio.shell import app
born = psutil.Process().create_time()
def watched(*given, **how):
    window = opened(*given, restore=False)
    def shown():
        print(time.time() - born)
        window.close()
        app.QApplication.quit()
    def arrived(frame):
        if frame is not None:
            canvas = window.workspace.stage.frame_view.canvas
            app.FirstPaint(canvas, shown)
            canvas.update()
    window.director.frameReady.connect(arrived)
    return window
opened, app.open_window = app.open_window, watched
app.main(sys.argv[1:])
"""
    with tempfile.TemporaryDirectory() as folder:
        return _fresh(code, str(data), settings=Path(folder) / "studio.ini")


def _fresh(code: str, *arguments: str, settings: Path | None = None) -> float:
    """The number that a fresh process prints last."""
    own = {} if settings is None else {"SELF6D_STUDIO_CONFIG": str(settings)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **own}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip() or "nothing").splitlines()[-1]
        raise Self6DError(f"the window could not be shown (exit code {done.returncode}): {said}")
    return float(done.stdout.split()[-1])


def sample_opened(folder: Path) -> tuple[Path, dict[str, float]]:
    """Where the sample lies, and the time from the click on "Open sample" to its first frame.

    It is generated, as for somebody who opens it for the first time; each count that the window
    shows meanwhile counts as one.
    """
    from studio.model.settings import Settings
    from studio.shell.app import open_window

    usual = os.environ.get("SELF6D_STATE")
    os.environ["SELF6D_STATE"] = str(folder / "state")
    settings = Settings(folder / "first.ini")
    settings.theme, settings.runs_folder = "light", folder / "runs"
    window = open_window(settings, restore=False)
    counts: set[int] = set()
    window.opener.progress.connect(lambda text, done, total: counts.add(done))
    try:
        _wait(lambda: window.built)
        began = time.perf_counter()
        window.welcome.sample_button.click()
        _wait(lambda: window.director.frame is not None and bool(window.project.models))
        took = time.perf_counter() - began
        frames = len(window.project.recording or ())
    finally:
        window.close()
        window.deleteLater()
        if usual is None:
            del os.environ["SELF6D_STATE"]
        else:
            os.environ["SELF6D_STATE"] = usual
    told = {"sample_opened_s": took, "sample_frames": frames, "sample_counts_shown": len(counts)}
    return folder / "state" / "sample", told


def event_delay(folder: Path, sample: Path, seconds: float) -> dict[str, float]:
    """Delays while a job trains, and frames scrubbed a second."""
    from studio.jobs import JobSpec
    from studio.model.settings import Settings
    from studio.shell.app import open_window

    settings = Settings(folder / "studio.ini")
    settings.theme, settings.runs_folder = "light", folder / "runs"
    window = open_window(settings, sample, restore=False)
    try:
        _wait(lambda: window.built and window.director.frame is not None)
        rate = frames_per_second(window)
        job = window.runs.submit(JobSpec(
            "train", folder / "runs" / "bench", models=(sample / "models",), preset="tiny",
            steps=1_000_000, options={"camera": sample}, overrides={"loop.preview_every": 5},
        ))  # fmt: skip
        window.show_step("synthetic")
        _wait(lambda: job.last_progress is not None and job.last_progress.step >= 5)
        meter = DelayMeter()
        meter.start()
        _spin(seconds)
        meter.stop()
        late = np.array(meter.late_ms)
        job.kill()
        _wait(lambda: job.state.over)
    finally:
        window.close()
        window.deleteLater()
    return {
        "event_delay_median_ms": float(np.median(late)),
        "event_delay_p99_ms": float(np.percentile(late, 99)),
        "event_delay_max_ms": float(late.max()),
        "event_own_p99_ms": float(np.percentile(meter.own_ms, 99)),
        "event_delay_over_s": seconds,
        "frames_per_s": rate,
    }


def frames_per_second(window: Any, count: int = 60) -> float:
    """Cached frames of 640 x 480 that can be scrubbed through a second, each painted."""
    from studio.engine.types import FrameData

    project, director = window.project, window.director
    total, path = len(project.recording), project.recording.root
    generator = np.random.default_rng(0)
    for index in range(total):
        rgb = generator.integers(0, 255, (*FRAME_SIZE, 3), dtype=np.uint8)
        depth = generator.random(FRAME_SIZE, dtype=np.float32)
        director.cache.put(path, FrameData(index, "", rgb, depth, np.eye(3)))
    canvas = window.workspace.stage.frame_view.canvas
    began = time.perf_counter()
    for i in range(1, count + 1):
        project.select_frame(i % total)
        canvas.repaint()
        QApplication.processEvents()
    rate = count / (time.perf_counter() - began)
    director.cache.clear()
    project.select_frame(0)
    return rate


def curves_redraw(repeats: int = 20) -> float:
    """Median milliseconds to redraw six curves of 100 000 points, raw and smoothed."""
    from studio.curves.view import TERM_ORDER, CurvesView, RunCurves

    view = CurvesView()
    view.resize(1200, 300)
    view.show()
    generator = np.random.default_rng(0)
    run = RunCurves("bench")
    steps = np.arange(POINTS)
    for term in TERM_ORDER[:CURVES]:
        run.extend(f"loss/{term}", steps, np.exp(-steps / 2e4) + 0.3 * generator.random(POINTS))
    view.show_run(run)
    _spin(0.3)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        view.redraw_now()
        times.append((time.perf_counter() - began) * 1000)
    view.close()
    view.deleteLater()
    return float(np.median(times))


def _spin(seconds: float) -> None:
    loop = QEventLoop()
    QTimer.singleShot(int(seconds * 1000), loop.quit)
    loop.exec()


def _wait(condition: Any) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the window did not get there")
        _spin(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how smooth the window is.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", default=None)
    given = parser.parse_args()
    bench_gui(given.json, given.seconds)


if __name__ == "__main__":
    main()
