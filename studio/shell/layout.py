"""The working window: pages in the middle, docks around them, and who hears whom."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QTabWidget, QWidget

from studio.controllers.fitting import Fitting
from studio.curves.corner import HeadInCorner
from studio.curves.view import CurvesView
from studio.jobs import Job, JobSpec
from studio.jobs.run_info import NOTHING_RIGHT, RunInfo
from studio.panels.doctor_panel import DoctorPanel
from studio.panels.evaluate_page import EvaluatePage
from studio.panels.export_page import ExportPage
from studio.panels.jobs_panel import JobsPanel
from studio.panels.log import LogPanel
from studio.panels.project_tree import ProjectTree
from studio.panels.stage import Stage
from studio.panels.xray_panel import XrayPanel
from studio.posing.panel import PosePanel
from studio.shell.window import StudioWindow
from studio.shell.wiring.answers import Answers
from studio.shell.wiring.elsewhere import Elsewhere
from studio.shell.wiring.helped import Helped
from studio.shell.wiring.job_notices import JobNotices
from studio.shell.wiring.label_export import LabelExport
from studio.shell.wiring.layering import Layering
from studio.shell.wiring.next_step import NextStep
from studio.shell.wiring.on_disk import OnDisk
from studio.shell.wiring.pose_editing import PoseEditing
from studio.shell.wiring.rerun_export import RerunExport
from studio.shell.wiring.single_image import SingleImage
from studio.shell.wiring.track_control import TrackControl
from studio.toolkit.dialogs import Facts
from studio.toolkit.focus import land, usable
from studio.toolkit.widgets import GAP, scrolled
from studio.training.panel import RunPanel
from studio.training.settings import told

LOW = 700  # height of a window, pixels; below, the picture comes before the curves
STAGE_PAGES = {
    "data": ("frames",),
    "synthetic": ("synthetic",),
    "selfsup": ("frames", "probes"),
}


class Workspace(QObject):
    """Made by the window after its first paint."""

    def __init__(self, window: StudioWindow) -> None:
        super().__init__(window)
        self.window = window
        project, runs = window.project, window.runs
        self.job_notices = JobNotices(window, self)
        self.on_disk = OnDisk(window, self)
        self.tree = ProjectTree(project, window.queue)
        self.stage = Stage(project, window.director)
        self.curves = CurvesView()
        self.log = LogPanel()
        self.log.said.connect(window.say)
        self.jobs_panel = JobsPanel(window.queue)
        self.jobs_panel.acted.connect(runs.act)
        self.train_panel = RunPanel("train", project, window.settings, window.engine)
        self.adapt_panel = RunPanel("adapt", project, window.settings, window.engine)
        self.pose_panel = PosePanel(project, window.director, window.settings)
        self.xray_panel = XrayPanel(project, window.director, window.worker)
        self.doctor_panel = DoctorPanel(project, window.worker)
        self.doctor_panel.failed.connect(window.show_error)
        self.doctor_panel.said.connect(window.say)
        self.doctor_panel.unitChosen.connect(window.opener.read_in)
        self.tree.unitChosen.connect(window.opener.read_in)
        self.doctor_panel.stateChanged.connect(
            lambda state, why: window.header.set_state("data", state, why)
        )
        self.fitting = Fitting(project, window.worker, self)
        self.single_image = SingleImage(project, self.pose_panel, self)
        self._step = ""
        self._front: dict[str, int] = {}
        self.inspector = QTabWidget()
        self.inspector.setDocumentMode(True)
        self.inspector.tabBar().setAccessibleName("Tools")
        self.inspector.setMinimumWidth(264)
        self.tree.setMinimumWidth(148)
        self.bottom = QTabWidget()
        self.bottom.setDocumentMode(True)
        self.bottom.tabBar().setAccessibleName("Course of the runs")
        self.bottom.setMinimumHeight(92)
        self.bottom.addTab(self.curves, "Curves")
        HeadInCorner(self.bottom, self.curves)
        self.bottom.addTab(self.jobs_panel, "Jobs")
        self.bottom.addTab(self.log, "Log")
        self.layering = Layering(window, self.stage.frame_view.painter, self)
        self.helped = Helped(window, self.stage, self.bottom, self)
        self.evaluate_page = EvaluatePage(project, window.settings, window.worker)
        self.export_page = ExportPage(project, window.settings, window.worker)
        self.middle = {
            "evaluate": scrolled(self.evaluate_page), "export": scrolled(self.export_page),
        }  # fmt: skip
        for view in (self.stage, *self.middle.values()):
            window.pages.addWidget(view)
        for page in (self.evaluate_page, self.export_page):
            page.failed.connect(window.show_error)
            page.said.connect(window.say)
        self.evaluate_page.wantThumbnails.connect(window.director.ask_thumbnails)
        window.director.thumbnailReady.connect(self.evaluate_page.add_thumbnail)
        self.evaluate_page.evaluated.connect(self._show_scores)
        self._show_scores()
        self.export_page.exported.connect(
            lambda level, told: window.header.set_state("export", level, told)
        )
        self.evaluate_page.frameWanted.connect(self._on_frame_wanted)
        area = Qt.DockWidgetArea
        self.docks = [
            window.add_dock("project", "Project", self.tree, area.LeftDockWidgetArea),
            window.add_dock("inspector", "Inspector", self.inspector, area.RightDockWidgetArea),
            window.add_dock("bottom", "Progress", self.bottom, area.BottomDockWidgetArea),
        ]
        for dock in self.docks:
            dock.visibilityChanged.connect(self._fit_margins)
        self.placed = False
        self.stage.largeChanged.connect(lambda large: self.docks[2].setVisible(not large))
        for panel in (self.train_panel, self.adapt_panel):
            panel.runRequested.connect(self._on_run)
            panel.copyRequested.connect(runs.copy)
            panel.liveWeight.connect(runs.set_weight)
        self.tree.runAction.connect(runs.act)
        self.pose_editing = PoseEditing(window, self.stage, self.pose_panel, self.xray_panel, self)
        self.tracking = TrackControl(window, self.stage, self)
        self.track_panel = self.tracking.panel
        self.track_panel.trackRequested.connect(self._on_run)
        self.track_panel.copyRequested.connect(runs.copy)
        self.track_panel.placeRequested.connect(self.place)
        self.answers = Answers(window, self.curves, self.stage, self.train_panel,
                               self.adapt_panel, self)  # fmt: skip
        self.elsewhere = Elsewhere(window, self.train_panel, self.adapt_panel, self)
        self.rerun = RerunExport(window, self)
        self.label_export = LabelExport(window, self.track_panel.labels, self)
        runs.settingsWanted.connect(self._show_settings)
        self.next_step = NextStep(
            window,
            self.train_panel,
            self.adapt_panel,
            self.evaluate_page,
            self.export_page,
            self.tracking,
            self.pose_panel,
            self,
        )
        self.pose_panel.runRequested.connect(self._on_run)
        self.pose_panel.copyRequested.connect(runs.copy)
        self.pose_panel.predictRequested.connect(self.answers.predict)
        runs.scalarsArrived.connect(self.curves.add_scalars)
        runs.previewArrived.connect(self.stage.add_preview)
        runs.checkpointArrived.connect(self.curves.set_checkpoints)
        runs.marked.connect(self.curves.add_mark)
        runs.noted.connect(self.log.add)
        window.noted.connect(lambda level, text: self.log.add(level, text))
        runs.followed.connect(self._on_followed)
        project.left.connect(self._on_left)
        runs.discarded.connect(lambda job: self._on_discarded())
        runs.duplicateWanted.connect(self._on_duplicate)
        window.queue.changed.connect(self._on_job_changed)
        project.runsChanged.connect(self._show_states)

    def show_step(self, step: str) -> None:
        """Put what belongs to a step in the middle and into the inspector."""
        self.window.pages.setCurrentWidget(self.middle.get(step, self.stage))
        self._show_inspector(step)
        if step in STAGE_PAGES:
            self.stage.offer(STAGE_PAGES[step])
        if step == "synthetic":
            self.train_panel.describe()
        elif step == "selfsup":
            self.adapt_panel.describe()

    def first_of(self, step: str) -> QWidget:
        """Where the keyboard is useful on a step: its page, its tab, or the frames."""
        if step == "data" and self.window.project.recording is not None:
            return self.stage.scrubber
        if step == "data" and usable(self.window.job_bar.go):
            return self.window.job_bar.go
        if step == "evaluate":  # scores of an earlier evaluation may stand above
            return self.evaluate_page.runs
        page = self.middle.get(step, self.inspector.currentWidget())
        return self.adapt_panel.start if page is self.adapt_panel else page  # above it: a way out

    def _show_inspector(self, step: str) -> None:
        """The step's tabs; each step remembers which was in front."""
        if self._step:
            self._front[self._step] = self.inspector.currentIndex()
        self._step = step
        pose_tabs = [
            (self.pose_panel, "Pose"), (self.track_panel, "Track"), (self.xray_panel, "X-ray"),
            (self.layering.panel, "Layers"),
        ]  # fmt: skip
        pages: dict[str, list[tuple[QWidget, str]]] = {
            "data": [(self.doctor_panel, "Doctor"), *pose_tabs],
            "synthetic": [(self.train_panel, "Stage 1")],
            "selfsup": [(self.adapt_panel, "Stage 2"), *pose_tabs],
        }
        self.inspector.clear()
        for widget, title in pages.get(step, []):
            self.inspector.addTab(widget, title)
        self.inspector.setCurrentIndex(self._front.get(step, 0))

    def _on_frame_wanted(self, index: int, object_id: int, run: Path) -> None:
        """A bad frame of the table: look at it, with that run's prediction."""
        project = self.window.project
        self.window.show_step("selfsup")
        self.stage.show_page("frames")
        project.select_object(object_id)
        project.select_frame(index)
        land(self.stage.scrubber)
        self.answers.predict(run)

    def place(self) -> None:
        """Bring the Pose tab to the front, the mouse ready to place the selected object."""
        self._to_front(self.pose_panel)
        if not self.pose_panel.edit.isChecked():
            self.pose_panel.edit.click()

    def show_track(self) -> None:
        """Bring the Track tab to the front."""
        self._to_front(self.track_panel)

    def _to_front(self, panel: QWidget) -> None:
        if self.window.project.step not in ("data", "selfsup"):
            self.window.show_step("data")
        self.inspector.setCurrentWidget(panel)
        land(panel)

    def show_xray(self) -> None:
        """Bring the X-ray to the front and examine the present pose."""
        self._to_front(self.xray_panel)
        self.xray_panel.ask()

    def show_docks(self, shown: bool) -> None:
        """Docks belong to an open project; the welcome page stands alone."""
        working = self.window.pages.currentWidget() is self.stage
        hidden = self.docks[2] if self.stage.cloud_view.large.isChecked() else None
        for dock in self.docks:
            here = working or dock is self.docks[0]
            dock.setVisible(shown and here and dock is not hidden)
        if shown and not self.placed:
            self.placed = True
            QTimer.singleShot(0, self.default_layout)  # sizes count once the docks are shown

    def _fit_margins(self, *_: object) -> None:
        """Where a dock stands, its border keeps the distance; elsewhere the page does."""
        left, right, bottom = (dock.isVisible() for dock in self.docks)
        self.window.middle.setContentsMargins(
            0 if left else GAP, GAP, 0 if right else GAP, 0 if bottom else GAP
        )

    def default_layout(self) -> None:
        window = self.window
        window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        window.resizeDocks(self.docks[:2], [208, 312], Qt.Orientation.Horizontal)
        high = 240 if window.height() >= LOW else window.height() // 5
        window.resizeDocks(self.docks[2:], [high], Qt.Orientation.Vertical)

    def close(self) -> None:
        """Free what Qt's own clean-up would not."""
        self.layering.filming.close()
        self.stage.cloud_view.close_scene()

    def _on_run(self, spec: JobSpec) -> None:
        known = self.window.queue.jobs[:]
        job = self.window.runs.submit(spec)
        if job in known:
            return  # it is there already
        if spec.kind == "optimize":
            self.single_image.watch(job)
        spec = job.spec  # its folder is sure now
        self.log.add("info", spec.shell(), spec.out.name)
        if not job.state.active and not job.state.over:
            return  # the running one stays in view
        self.window.runs.follow(job)
        self.window.project.select_run(spec.out)
        if spec.kind == "adapt":
            self.stage.probes.clear(spec.out)
            self.stage.show_page("probes")

    def unfinished(self) -> list[str]:
        """Work that ends with the window."""
        return [*self.evaluate_page.unfinished(), *self.export_page.unfinished(),
                *self.layering.unfinished(), *self.elsewhere.unfinished(),
                *self.track_panel.colours.unfinished(), *self.rerun.unfinished(),
                *self.label_export.unfinished()]  # fmt: skip

    def _on_left(self) -> None:
        """Another project: nothing of the old one stays in view but a job that still works."""
        job = self.window.runs.job
        self.curves.clear(keep=str(job.run) if job is not None else "")
        if job is None:
            self.stage.probes.clear()
        self.stage.clear_gallery()
        self.pose_panel.forget()
        self.export_page.forget()
        for step in ("evaluate", "export"):
            self.window.header.set_state(step, "")
        self.window.banner.dismiss()
        self._on_job_changed()  # the panel no longer steers a job of the old one

    def _on_discarded(self) -> None:
        if self.window.runs.job is None:
            self.curves.clear()
            self.stage.probes.clear()

    def _on_followed(self, job: Job | None) -> None:
        if job is not None:
            if job.spec.kind not in ("track", "optimize"):  # these move the poses on the frames
                job.mailbox.wants_preview = self.stage.shows
            if str(job.run) not in self.curves.runs:
                self.curves.clear()
            if self.stage.probes.run != job.run:
                self.stage.probes.clear(job.run)
        self._on_job_changed()

    def _on_job_changed(self, *_: object) -> None:
        """Weights steer the followed job while it is active; another run would have to wait."""
        job = self.window.runs.job
        active = job is not None and job.state.active
        status = job.state.value if job is not None and job.state.over else ""
        self.answers.expect(None if job is None else job.run, status)
        for panel in (self.train_panel, self.adapt_panel):
            mine = (
                job is not None and active and job.spec.kind == panel.kind == "adapt"
                and self.window.runs.at_home(job)
            )  # fmt: skip
            panel.set_live(job.spec if job is not None and mine else None, queued=active)
        self._show_states()

    def _show_states(self) -> None:
        """The marks of steps 2 and 3."""
        runs = self.window.runs
        active = {job.spec.kind for job in self.window.queue.active if runs.at_home(job)}
        for step, kind in (("synthetic", "train"), ("selfsup", "adapt")):
            project = self.window.project
            known = [r for r in project.runs_of(kind) if not project.misfit(r.path)]
            ended = [r for r in known if r.status in ("done", "stopped")]
            good = any(not r.found_nothing for r in ended)
            state = "busy" if kind in active else "ok" if good else "warn" if ended else ""
            self.window.header.set_state(
                step, state, f"Ended, but {NOTHING_RIGHT}" if state == "warn" else ""
            )

    def _show_scores(self) -> None:
        """The mark of step 4: scores of nothing but zeros are no success."""
        recalls = [run["mean"].get("recall_10") for run in self.evaluate_page.results]
        known = [recall for recall in recalls if recall is not None]
        if not recalls:
            self.window.header.set_state("evaluate", "")
        elif known and not any(known):
            self.window.header.set_state("evaluate", "warn", "Not one pose of any run is right")
        else:
            self.window.header.set_state("evaluate", "ok", "Scores are there")

    def _show_settings(self, info: RunInfo, spec: JobSpec) -> None:
        Facts(self.window, f"Settings of {info.name}", told(info, spec)).show()

    def _on_duplicate(self, spec: JobSpec) -> None:
        panel = {"train": self.train_panel, "adapt": self.adapt_panel}.get(spec.kind)
        if panel is not None:
            self.window.show_step("synthetic" if spec.kind == "train" else "selfsup")
            differs = panel.load(spec)
            if differs:
                self.window.say("warn", f"The settings are there; recording and models stay those "
                                f"that are open. {differs}")  # fmt: skip
            else:
                self.window.say("good", f"The settings of {spec.out.name} are here: change what "
                                "shall differ, then run.")  # fmt: skip
        elif spec.kind == "optimize":
            why_not = self.pose_panel.load(spec)
            if why_not:
                self.window.say("warn", why_not)
            elif self.window.project.step not in ("data", "selfsup"):
                self.window.show_step("data")
            self.inspector.setCurrentWidget(self.pose_panel)
        elif spec.kind == "track":
            self.tracking.take_over(spec)
            self.show_track()
