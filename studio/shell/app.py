"""Starting the studio: the window first, everything heavy after its first paint."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication, QMainWindow, QWidget

from self6d.errors import MissingDependencyError
from studio.model.settings import Settings
from studio.toolkit.theme import install_font, theme

if TYPE_CHECKING:
    from studio.jobs import JobSpec
    from studio.shell.layout import Workspace
    from studio.shell.window import StudioWindow

_STARTED = time.perf_counter()
CUT = ("interrupted", "stopped")  # runs that can go on
NAME = "self6d studio"
LATER = ("vispy.scene", "self6d.datasets.pose_track")


def make_application(arguments: list[str] | None = None) -> QApplication:
    """The QApplication with fonts and look.

    Raises:
        MissingDependencyError: there is no screen, where Qt itself would abort the process.
    """
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in screens):
        raise MissingDependencyError(
            "there is no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set)",
            remedy="Start it in a desktop session, or under: xvfb-run -a.",
        )
    existing = QApplication.instance()
    if isinstance(existing, QApplication):
        app = existing
    else:
        app = QApplication(arguments or sys.argv[:1])
    if app.applicationName() == NAME:
        return app  # a style put on again dresses every widget there is anew
    app.setApplicationName(NAME)
    app.setOrganizationName("self6d-studio")
    app.setStyle("Fusion")
    install_font(app)
    return app


class FirstPaint(QObject):
    """Calls a function once, after a widget has been painted for the first time."""

    def __init__(self, widget: QWidget, then: Callable[[], object]) -> None:
        super().__init__(widget)
        self._widget, self._then = widget, then
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self._then)
        return False


def furnish(window: StudioWindow) -> Workspace:
    """Views, panels and their actions."""
    from studio.shell.layout import Workspace
    from studio.shell.view_menus import register_view_actions

    space = Workspace(window)
    register_view_actions(window, space)
    return space


def make_window(settings: Settings) -> StudioWindow:
    """The window with its menus; views and panels come with its `build`."""
    from studio.shell.menus import register_actions
    from studio.shell.window import StudioWindow

    window = StudioWindow(settings, furnish)
    register_actions(window)
    window.actions_registry.fill(window.menuBar())
    return window


def fit_screen(window: QMainWindow) -> None:
    """Take a window back onto its screen, with the frame that it has from its first paint on."""
    if window.isMaximized() or window.isFullScreen():
        return
    whole, inside = window.frameGeometry(), window.geometry()
    room = window.screen().availableGeometry()
    if room.contains(whole):
        return
    frame = whole.size() - inside.size()
    window.resize(inside.size().boundedTo(room.size() - frame))
    left = min(whole.left(), room.right() + 1 - window.width() - frame.width())
    top = min(whole.top(), room.bottom() + 1 - window.height() - frame.height())
    window.move(max(left, room.left()), max(top, room.top()))


def open_window(settings: Settings, *data: Path, restore: bool = True) -> StudioWindow:
    """Show the window; views are built and data is opened once it is on the screen."""
    theme.apply(settings.theme)
    window = make_window(settings)

    def afterwards() -> None:
        window.first_paint_s = time.perf_counter() - _STARTED
        window.engine.start()
        window.build()
        fit_screen(window)
        threading.Thread(target=load_ahead, daemon=True).start()
        if data:
            window.opener.open_paths(data)
        elif restore:
            offer_workspace(window)

    FirstPaint(window, afterwards)
    window.show()
    return window


def load_ahead() -> None:
    """Import what the first cloud and the first track would hold the window for; any thread."""
    for name in LATER:
        with contextlib.suppress(ImportError):  # whoever needs it says so
            importlib.import_module(name)


def offer_workspace(window: StudioWindow) -> None:
    """Bring back what was open at the last end, and find its jobs again."""
    state = window.settings.workspace()
    if not state:
        return

    def restored() -> None:
        gone = window.layers.restore(state.get("layers", []))
        window.show_step(window.project.step)
        running = window.runs.attach_running()
        if not running and window.project.run is not None:
            window.runs.show(window.project.run)
        welcome_back(window, state, [job.run.name for job in running], gone)

    window.opener.restore(state, restored)


def welcome_back(
    window: StudioWindow, state: dict[str, Any], running: list[str], gone: list[str]
) -> None:
    """Say what was found again: a job that still runs, has ended meanwhile, or was cut short.

    Args:
        gone: networks of layers that are not there any more.
    """
    from studio.controllers.chain import needs
    from studio.jobs.run_info import named_or_counted

    text = [f"Back in {Path(state.get('recording') or 'the last project').name}."]
    text += [f"{name} is still running." for name in running]
    left = set(state.get("jobs", ())) - {str(job.run) for job in window.queue.active}
    ended = [run for run in window.project.runs if str(run.path) in left]
    for run in ended:
        how = f"failed ({run.error})" if run.status == "failed" else run.status
        text.append(f"{run.name} ended meanwhile: {how} at step {run.step}.")
    text += [f"The layer {name} is left out: its run is gone." for name in gone]
    waited = waiting_jobs(state)
    for spec in waited:
        window.noted.emit("warning", f"waited and was not started: {spec.shell()}")
    if waited:
        names = named_or_counted([spec.out.name for spec in waited], "jobs")
        text.append(f"{names} waited and {'was' if len(waited) == 1 else 'were'} not started.")
    cut = next((r.path for r in ended if r.status in CUT and r.can_resume), None)
    grave = any(run.status in ("failed", "interrupted") for run in ended)
    level = "warn" if grave or waited or gone else "good"
    if cut is not None:
        window.chain.hold(waited)
        if any(cut in needs(spec) for spec in waited):
            text.append(f"Resume {cut.name}, and what learns from it waits for it again.")
        window.banner.say(level, " ".join(text), action="Resume from the last checkpoint",
                          on_action=lambda: window.runs.resume_run(cut), about=cut)  # fmt: skip
    elif waited:
        window.banner.say(level, " ".join(text), action="Start what waited",
                          on_action=lambda: [window.runs.submit(spec) for spec in waited],
                          )  # fmt: skip
    else:
        window.banner.say(level, " ".join(text), action="Start afresh",
                          on_action=window.close_project)  # fmt: skip


def waiting_jobs(state: dict[str, Any]) -> list[JobSpec]:
    """Jobs that had not begun at the last end."""
    from studio.jobs import JobSpec

    try:
        return [JobSpec.from_dict(one) for one in state.get("waiting", ())]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []  # of another version of the program


def main(arguments: list[str] | None = None) -> int:
    """Run the studio; `arguments` may name a recording, CAD files and runs to open."""
    arguments = sys.argv[1:] if arguments is None else arguments
    app = make_application()
    window = open_window(Settings(), *map(Path, arguments))
    code = app.exec()
    del window
    return code
