"""Pictures of every page of the studio, light and dark, at two screens' resolutions.

    xvfb-run -a -s "-screen 0 1280x800x24" .venv/bin/python scripts/screenshots.py --out screenshots

Runs on a small generated recording with a run trained for a few steps (or with --data and --run on
real ones). Each page is reached as a user would reach it, and taken when it has come to rest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SCREENS = {1: (1280, 800), 2: (2560, 1440)}  # by scale
LOOKS = [(look, scale) for scale in SCREENS for look in ("light", "dark")]
WAIT_S = 600.0
QUICK = {"train.batch": 2, "train.validate_every": 0, "synthesis.background_pool": 8}
# A run trained for 20 steps is sure of nothing: take what it finds, and little of it.
FAST_ADAPT = {
    "adapt.detection_score": 0.02, "adapt.batch": 2, "adapt.max_objects": 4, "adapt.region": 128,
    "adapt.refresh_every": 0, "adapt.health_frames": 2, "adapt.collapse": 0.0,
    "loop.preview_every": 2,
}  # fmt: skip


def main() -> None:
    """Prepare data, then take each look in a process of its own (the scale is fixed at start)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--data", type=Path, help="recording; default: a small sample")
    parser.add_argument("--run", type=Path, help="trained run; default: trained for a few steps")
    parser.add_argument("--look", choices=["light", "dark"], help="only this one")
    parser.add_argument("--scale", type=int, choices=SCREENS, help="only this one")
    parser.add_argument("--on-this-screen", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.on_this_screen:
        take(given.out, given.look, given.scale, given.data, given.run)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SELF6D_STATE"] = str(Path(folder) / "state")
        data = given.data or make_data(Path(folder))
        run = given.run or train(Path(folder), data)
        for look, scale in LOOKS:
            if given.look not in (None, look) or given.scale not in (None, scale):
                continue
            width, height = SCREENS[scale]
            command = [sys.executable, __file__, "--on-this-screen", "--out", str(given.out),
                       "--look", look, "--scale", str(scale), "--data", str(data),
                       "--run", str(run)]  # fmt: skip
            screen = f"-screen 0 {width}x{height}x24"
            environment = {**os.environ, "QT_SCALE_FACTOR": str(scale)}
            environment.pop("DISPLAY", None)
            subprocess.run(["xvfb-run", "-a", "-s", screen, *command], check=True, env=environment)
    print(f"{len(list(given.out.glob('*.png')))} pictures in {given.out}")


def make_data(folder: Path) -> Path:
    from self6d.sample.sample import make_sample

    return make_sample(folder / "sample", frames=24, eval_frames=6, size=(480, 640))


def train(folder: Path, data: Path) -> Path:
    from self6d import jobs

    out = folder / "runs" / "sample-train-01"
    jobs.train(data / "models", out, preset="tiny", camera=data, steps=20,
                         overrides=QUICK)  # fmt: skip
    return out


def take(out: Path, look: str, scale: int, data: Path, run: Path) -> None:
    """All pages in one look."""
    from PySide6.QtCore import QTimer

    from studio.model.settings import Settings
    from studio.shell.app import make_application, open_window

    app = make_application()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder) / "studio.ini")
        settings.theme, settings.runs_folder = look, run.parent
        settings.add_recent(data, [])
        window = open_window(settings, restore=False)
        size = tuple(side // scale for side in SCREENS[scale])
        window.resize(*size)
        story = pages(window, data, run)
        began = time.monotonic()

        def advance() -> None:
            """Take a picture at each name the story yields; wait where it yields a condition."""
            nonlocal waiting
            if time.monotonic() - began > WAIT_S:
                raise TimeoutError("a page did not come to rest")
            try:
                if waiting is None or waiting():
                    step = next(story)
                    if isinstance(step, str):
                        if (window.width(), window.height()) != size:
                            print(f"{step}-{look}-{scale}x: the window has grown to "
                                  f"{window.width()} x {window.height()}")  # fmt: skip
                        picture(window).save(str(out / f"{step}-{look}-{scale}x.png"))
                        waiting = None
                    else:
                        waiting = step
            except StopIteration:
                for job in window.queue.active:
                    job.kill()
                window.queue.close()
                window.close()
                app.quit()
                return
            QTimer.singleShot(150, advance)

        waiting: Callable[[], object] | None = None
        QTimer.singleShot(500, advance)
        app.exec()


def picture(window):
    """The window with its pop-ups, which are windows of their own, painted where they stand."""
    from PySide6.QtGui import QPainter
    from PySide6.QtWidgets import QApplication, QDialog

    whole = window.grab()
    painter = QPainter(whole)
    for dialog in QApplication.topLevelWidgets():
        if isinstance(dialog, QDialog) and dialog.isVisible():
            painter.drawPixmap(window.mapFromGlobal(dialog.pos()), dialog.grab())
    painter.end()
    return whole


def pages(window, data: Path, run: Path) -> Iterator[str | Callable[[], object]]:
    """The tour: names to take, conditions to wait for."""
    yield lambda: window.built
    yield "1-welcome"
    window.opener.open_paths([data])
    yield lambda: window.director.frame is not None and window.project.models
    window.opener.open_run(run)
    space, project = window.workspace, window.project
    window.show_step("data")
    yield lambda: space.doctor_panel.report and not window.engine.busy
    yield lambda: space.stage.cloud_view.cloud is not None
    yield "2-data"
    labelled = project.recording.splits.get("eval", (0,))
    project.select_frame(labelled[0])
    yield lambda: window.director.frame.index == labelled[0] and not window.engine.busy
    project.put_poses(project.frame_index, list(window.director.frame.truth), "predicted")
    space.pose_panel.degrees.setValue(8)
    space.pose_panel.perturb.click()
    space.inspector.setCurrentWidget(space.pose_panel)
    space.stage.frame_view.show_truth.setChecked(True)
    yield lambda: not window.engine.busy and space.stage.frame_view.rendering("predicted")
    space.stage.frame_view.zoom_to_object()
    yield "3-pose"
    window.actions_registry["tools.xray"].trigger()
    space.stage.frame_view.show_truth.setChecked(False)
    yield lambda: space.xray_panel.xray is not None
    yield "4-xray"
    space.stage.frame_view.canvas.fit()
    window.show_step("synthetic")
    space.stage.preview_button.click()
    yield lambda: space.stage.preview_button.isEnabled() and space.train_panel.form.ready
    yield "5-synthetic"
    window.show_step("selfsup")
    space.adapt_panel.describe()
    yield lambda: space.adapt_panel.weights.weight("mask")
    for key, value in FAST_ADAPT.items():
        project.edit_option(f"adapt:set:{key}", value, "Prepare")
    project.edit_option("adapt:steps", 200, "Prepare")
    space.adapt_panel.run_button.click()
    yield lambda: window.runs.job.last_progress is not None
    yield lambda: window.runs.job.state.over or window.runs.job.last_progress.step >= 12
    yield "6-selfsup"
    window.runs.stop()
    yield lambda: window.runs.job.state.over
    window.banner.dismiss()
    window.show_step("evaluate")
    space.evaluate_page.go.click()
    yield lambda: space.evaluate_page.results
    space.evaluate_page.table.setCurrentCell(0, 1)
    yield "7-evaluate"
    window.show_step("export")
    yield "8-export"
    window.show_step("data")
    yield lambda: not window.engine.busy and space.stage.cloud_view.cloud is not None
    window.open_palette()
    yield "9-palette"
    from PySide6.QtWidgets import QApplication, QDialog

    for dialog in QApplication.topLevelWidgets():
        if isinstance(dialog, QDialog):
            dialog.close()
    window.banner.say("bad", "/data/mug.ply: mesh is a Git-LFS pointer, not the data. "
                      "Run `git lfs pull` in its repository, or download the file itself.",
                      details="InputError")  # fmt: skip
    yield "10-error"
    window.banner.dismiss()


if __name__ == "__main__":
    main()
