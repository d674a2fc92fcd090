"""The main window: puts panels, models and actions together. What they do is written in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtOpenGLWidgets import QOpenGLWidget
from PySide6.QtWidgets import (
    QApplication,
    QDockWidget,
    QMainWindow,
    QStackedWidget,
    QToolBar,
    QWidget,
)

from studio.controllers.chain import Chain
from studio.controllers.director import Director
from studio.controllers.last_time import keep_edits
from studio.controllers.opening import Opener
from studio.controllers.predictions import Predictions
from studio.controllers.runs import RunControl
from studio.engine import Engine, Failure
from studio.jobs.job import Job
from studio.jobs.queue import JobQueue
from studio.model.layers import Layers
from studio.model.project import Project
from studio.model.settings import Settings
from studio.panels.drop import DropOverlay
from studio.panels.header import StepHeader
from studio.panels.job_bar import JobBar
from studio.panels.welcome import WelcomePage
from studio.shell.actions import Actions
from studio.shell.choosing import Choosers
from studio.shell.closing import may_close
from studio.shell.palette import CommandPalette
from studio.toolkit.dialogs import Banner, Question
from studio.toolkit.focus import EnterPresses, land, usable
from studio.toolkit.theme import theme
from studio.toolkit.widgets import GAP, Panel, column, scrolled

SAVE_EVERY_MS = 5000


class Space(Protocol):
    """What the window asks of its furniture; see `studio.shell.layout.Workspace`."""

    placed: bool
    docks: list[QDockWidget]

    def show_step(self, step: str) -> None: ...
    def first_of(self, step: str) -> QWidget: ...
    def show_docks(self, shown: bool) -> None: ...
    def default_layout(self) -> None: ...
    def unfinished(self) -> list[str]: ...
    def close(self) -> None: ...


class StudioWindow(EnterPresses, QMainWindow):
    """Shows the welcome page at once; `build` adds the rest once the first paint is done.

    Signals:
        noted: (level, text) for the log.
    """

    noted = Signal(str, str)

    def __init__(self, settings: Settings, furnish: Callable[[StudioWindow], Space]) -> None:
        """
        Args:
            furnish: makes the views and panels, and their actions.
        """
        super().__init__()
        self.setWindowTitle("self6d studio")
        self.setObjectName("studio")
        self.setDockOptions(
            QMainWindow.DockOption.AnimatedDocks | QMainWindow.DockOption.AllowTabbedDocks
        )
        self.resize(1280, 800)
        self.settings = settings
        self.first_paint_s: float | None = None
        self.project = Project(self)
        self.engine = Engine(self)
        self.worker = Engine(self)
        self.project.recordingChanged.connect(self._tell_worker)  # before others ask it
        self.queue = JobQueue(self)
        self.opener = Opener(self.project, settings, self.engine, self)
        self.choosers = Choosers(self, self.opener, settings)
        self.runs = RunControl(self.project, settings, self.queue, self.engine, self)
        self.chain = Chain(self.runs, self)
        self.layers = Layers(self)
        self.predictions = Predictions(self.project, self.layers, self.worker, self)
        self.director = Director(self.project, self.engine, self.predictions, self)
        self.built = False
        self._furnish = furnish

        self.header = StepHeader()
        bar = QToolBar("Steps")
        bar.setObjectName("steps")
        bar.setMovable(False)
        bar.addWidget(self.header)
        self.addToolBar(bar)
        self.welcome = WelcomePage()
        self.pages = QStackedWidget()
        self.welcome_page = scrolled(self.welcome)
        self.pages.addWidget(self.welcome_page)
        self.middle = column(self.pages, margin=8)
        middle = QWidget()
        middle.setLayout(self.middle)
        self.banner = Banner(middle, self.project.names)
        self.setCentralWidget(middle)
        self.job_bar = JobBar()
        status = self.statusBar()
        status.setSizeGripEnabled(False)
        status.addWidget(self.job_bar, 1)
        self.drop = DropOverlay(self)
        # with one such child from the start Qt need not make the window anew for the first cloud
        QOpenGLWidget(self).hide()
        self.actions_registry = Actions(self)
        self._connect()
        self.welcome.set_recent(settings.recent())
        self._autosave = QTimer(self, interval=SAVE_EVERY_MS)
        self._autosave.timeout.connect(self.save_workspace)

    def build(self) -> None:
        """Make views and panels; they import numpy, pyqtgraph and vispy."""
        if self.built:
            return
        self.built = True
        self.workspace = self._furnish(self)
        kept = self.settings.layout()
        if kept is not None:
            self.workspace.placed = True
            self.restoreGeometry(kept[0])
            self.restoreState(kept[1])
        self._autosave.start()
        self.show_step(self.project.step)
        self.land()  # Qt took the first button of the bar

    def add_dock(
        self, name: str, title: str, widget: QWidget, area: Qt.DockWidgetArea
    ) -> QDockWidget:
        """A dock whose place and visibility are remembered by `name`."""
        dock = QDockWidget(title, self)
        dock.setObjectName(name)
        card = Panel(margin=4)
        card.body.addWidget(widget)
        frame = QWidget()  # keeps the card off the window's edge
        sides = Qt.DockWidgetArea
        keep = column(card)
        keep.setContentsMargins(
            GAP if area == sides.LeftDockWidgetArea else 0,
            0 if area == sides.BottomDockWidgetArea else GAP,
            GAP if area == sides.RightDockWidgetArea else 0,
            GAP,
        )
        frame.setLayout(keep)
        dock.setWidget(frame)
        dock.setTitleBarWidget(QWidget())  # the content says what it is; View shows and hides it
        self.addDockWidget(area, dock)
        return dock

    def show_step(self, step: str) -> None:
        """Go to one of the five steps, and the keyboard with it."""
        before, held = (self.pages.currentWidget(), self.project.step), self.focusWidget()
        self.header.choose(step)
        self.project.select_step(step)
        empty = self.project.recording is None and not self.project.model_paths
        if self.built:
            self.workspace.show_step(step)
        if not self.built or (empty and step == "data"):
            self.pages.setCurrentWidget(self.welcome_page)
        if self.built:
            self.workspace.show_docks(self.pages.currentWidget() is not self.welcome_page)
        if usable(held) and before == (self.pages.currentWidget(), step):
            held.setFocus()  # the inspector was filled anew
        else:
            self.land()

    def land(self) -> None:
        """Give the keyboard to the first useful control of the page in view."""
        if self.pages.currentWidget() is self.welcome_page:
            land(self.welcome.sample_button)
        else:
            land(self.workspace.first_of(self.project.step))

    def _on_focus(self, before: QWidget | None, now: QWidget | None) -> None:
        page = self.pages.currentWidget()
        if now is None and page is not None and self.isActiveWindow() and not self.focusWidget():
            page.setFocus()  # Tab goes on there; Space presses nothing

    def show_error(self, failure: Failure) -> None:
        self.banner.say_failure(failure)
        self.noted.emit("error", failure.one_line())

    def say(self, level: str, text: str) -> None:
        self.banner.say(level, text)

    def open_palette(self) -> None:
        CommandPalette(self.actions_registry, self).show()

    def open_help(self, page: str = "") -> None:
        """The help page of a subject, or of the present step."""
        from studio.panels.help import HelpDialog

        dialog = HelpDialog(self, page or self.project.step)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()

    def wear(self, look: str) -> None:
        """Change the theme and remember it."""
        self.settings.theme = look
        self.actions_registry[f"view.theme.{look}"].setChecked(True)
        theme.apply(look)

    def open_recent(self, entry: dict[str, Any], *_: object) -> None:
        """Open one of `Settings.recent`, with its CAD files."""
        models = [Path(m) for m in entry["models"]]
        unit = entry.get("unit", "auto")
        self.opener.open_recording(Path(entry["recording"]), models, unit=unit)

    def close_project(self) -> None:
        keep_edits(self.project, self.settings)
        self.project.close()
        self.settings.save_workspace({})
        self.show_step("data")

    def reset_layout(self) -> None:
        self.settings.forget_layout()
        if self.built:
            self.workspace.default_layout()

    def save_workspace(self) -> None:
        """What a restart, or a crash, brings back."""
        if self.project.recording is not None or self.project.model_paths:
            jobs = [str(job.run) for job in self.queue.active]
            waiting = [spec.to_dict() for spec in self.chain.waiting]
            also = {"jobs": jobs, "waiting": waiting, "layers": self.layers.to_list()}
            self.settings.save_workspace({**self.project.to_dict(), **also})

    def _on_jobs(self, _job: Job) -> None:
        """Killed before the next autosave, a window would say of a job at work that it waited."""
        if self._autosave.isActive():  # it is not being closed
            self.save_workspace()

    def _connect(self) -> None:
        self.header.chosen.connect(self.show_step)
        self.welcome.openSample.connect(self.opener.open_sample)
        self.welcome.openRecording.connect(self.choosers.recording)
        self.welcome.openModels.connect(self.choosers.models)
        self.welcome.openTour.connect(lambda: self.open_help("tour"))
        self.welcome.openRecent.connect(self.open_recent)
        self.drop.dropped.connect(self.opener.open_paths)
        self.drop.refused.connect(lambda why: self.say("bad", why))
        self.opener.failed.connect(self.show_error)
        self.opener.said.connect(self.say)
        self.opener.topicsOffered.connect(self.choosers.topics)
        self.opener.opened.connect(self._on_opened)
        self.opener.progress.connect(self._on_progress)
        self.engine.crashed.connect(self.show_error)
        self.worker.crashed.connect(self.show_error)
        self.director.failed.connect(self.show_error)
        self.predictions.failed.connect(self.show_error)
        self.runs.failed.connect(self.show_error)
        self.runs.said.connect(self.say)
        self.runs.followed.connect(self.job_bar.set_job)
        self.runs.discarded.connect(lambda job: self.predictions.drop(job.run))
        for event in (self.queue.added, self.queue.changed, self.queue.removed):
            event.connect(self._on_jobs)
        self.job_bar.pauseClicked.connect(self.runs.toggle_pause)
        self.job_bar.stopClicked.connect(self.runs.stop)
        self.job_bar.cancelClicked.connect(self.cancel_job)
        self.job_bar.saveClicked.connect(self.runs.save_now)
        self.project.recordingChanged.connect(self._on_recording)
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        application.focusChanged.connect(self._on_focus)

    def _on_opened(self, what: str) -> None:
        self.build()
        if self.banner.isVisible() and self.banner.objectName() == "banner_bad":
            self.banner.dismiss()
        if what == "run" and self.project.run is not None:
            self.runs.look_at(self.project.run)
        self.show_step(self.project.step if what == "run" else "data")
        if what == "recording":
            self.land()

    def _on_recording(self) -> None:
        path = self.project.recording_path
        self.setWindowTitle(f"{path.name} — self6d studio" if path else "self6d studio")
        self.welcome.set_recent(self.settings.recent())

    def _tell_worker(self) -> None:
        """The recording was opened, perhaps again: a helper that has it open lists it anew."""
        info = self.project.recording
        if info is not None and self.worker.pid is not None:
            self.worker.request("open_recording", info.root, failed=lambda _: None)

    def _on_progress(self, what: str, done: int, total: int) -> None:
        self.welcome.sample_button.setEnabled(total == 0)
        self.job_bar.show_task(what, done, total)

    def cancel_job(self) -> None:
        """Ask, then end the followed job and delete what it made."""
        job = self.runs.job
        if job is None or not job.state.active or not job.discardable:
            return
        answer = Question.ask(
            self, "Cancel and discard?",
            f"{job.spec.title} is at step {job.step or 0}. Its folder {job.run.name}, with all its "
            "checkpoints, is deleted. Stop early keeps it.",
            [("discard", "Cancel and discard", "danger"), ("stay", "Let it run", "primary")],
        )  # fmt: skip
        if answer == "discard":
            self.runs.cancel(job)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.ThemeChange and self.settings.theme == "system":
            theme.apply("system")
        super().changeEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        lost = self.workspace.unfinished() if self.built else []
        if not may_close(self, lost, self.queue.active, self.queue.waiting):
            event.ignore()
            return
        self._autosave.stop()
        self.save_workspace()
        keep_edits(self.project, self.settings)  # the next start may open something else
        if self.built and self.workspace.docks[0].isVisible():
            self.settings.save_layout(self.saveGeometry(), self.saveState())
        self.queue.close()
        if self.built:
            self.workspace.close()
        self.engine.close()
        self.worker.close()
        for timer in self.findChildren(QTimer):
            timer.stop()
        self.project.undo.blockSignals(True)  # it outlives the actions that show its texts
        event.accept()
