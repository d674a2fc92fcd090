"""The working window: pages in the middle, docks around them, and who hears whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QTabWidget, QWidget

from studio.engine import Failure
from studio.engine.history import RunHistory
from studio.engine.types import PoseData
from studio.jobs import Job, JobSpec
from studio.panels.doctor_panel import DoctorPanel
from studio.panels.evaluate_page import EvaluatePage
from studio.panels.export_page import ExportPage
from studio.panels.jobs_panel import JobsPanel
from studio.panels.log import LogPanel
from studio.panels.pose_panel import PosePanel
from studio.panels.project_tree import ProjectTree
from studio.panels.run_panel import RunPanel
from studio.panels.stage import Stage
from studio.panels.xray_panel import XrayPanel
from studio.single_image import SingleImage
from studio.views.curves import CurvesView, RunCurves
from studio.views.nudge import PoseTool, key_nudge

if TYPE_CHECKING:
    from studio.window import StudioWindow


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
        self.tree = ProjectTree(project, window.queue)
        self.stage = Stage(project, window.director)
        self.curves = CurvesView()
        self.log = LogPanel()
        self.jobs_panel = JobsPanel(window.queue)
        self.jobs_panel.acted.connect(runs.act)
        self.train_panel = RunPanel("train", project, window.settings, window.engine)
        self.adapt_panel = RunPanel("adapt", project, window.settings, window.engine)
        self.pose_panel = PosePanel(project, window.director, window.settings)
        self.xray_panel = XrayPanel(project, window.director, window.worker)
        self.doctor_panel = DoctorPanel(project, window.worker)
        self.doctor_panel.failed.connect(window.show_error)
        self.doctor_panel.stateChanged.connect(
            lambda state, why: window.header.set_state("data", state, why)
        )
        self.pose_tool = PoseTool(self)
        self.single_image = SingleImage(project, self.pose_panel, self)
        self._step = ""
        self._front: dict[str, int] = {}
        self.inspector = QTabWidget()
        self.inspector.setDocumentMode(True)
        self.inspector.setMinimumWidth(296)
        self.tree.setMinimumWidth(176)
        self.bottom = QTabWidget()
        self.bottom.setDocumentMode(True)
        self.bottom.addTab(self.curves, "Curves")
        self.bottom.addTab(self.jobs_panel, "Jobs")
        self.bottom.addTab(self.log, "Log")
        self.evaluate_page = EvaluatePage(project, window.worker)
        self.export_page = ExportPage(project, window.settings, window.worker)
        self.middle = {"evaluate": self.evaluate_page, "export": self.export_page}
        for page in (self.stage, self.evaluate_page, self.export_page):
            window.pages.addWidget(page)
        for page in (self.evaluate_page, self.export_page):
            page.failed.connect(window.show_error)
        self.evaluate_page.evaluated.connect(
            lambda: window.header.set_state("evaluate", "ok", "Scores are there")
        )
        self.export_page.exported.connect(
            lambda path: window.header.set_state("export", "ok", f"Written: {path}")
        )
        self.evaluate_page.frameWanted.connect(self._on_frame_wanted)
        area = Qt.DockWidgetArea
        self.docks = [
            window.add_dock("project", "Project", self.tree, area.LeftDockWidgetArea),
            window.add_dock("inspector", "Inspector", self.inspector, area.RightDockWidgetArea),
            window.add_dock("bottom", "Progress", self.bottom, area.BottomDockWidgetArea),
        ]
        self.placed = False
        for panel in (self.train_panel, self.adapt_panel):
            panel.runRequested.connect(self._on_run)
            panel.liveWeight.connect(runs.set_weight)
        self.tree.runAction.connect(runs.act)
        self._connect_pose()
        runs.scalarsArrived.connect(self.curves.add_scalars)
        runs.previewArrived.connect(self.stage.add_preview)
        runs.checkpointArrived.connect(self.curves.add_checkpoint)
        runs.marked.connect(self.curves.add_mark)
        runs.historyReady.connect(self._on_history)
        runs.noted.connect(self.log.add)
        runs.followed.connect(self._on_followed)
        runs.ended.connect(lambda job, ending: self._on_followed(runs.job))
        runs.duplicateWanted.connect(self._on_duplicate)
        runs.predictWanted.connect(self._on_predict)
        window.queue.changed.connect(lambda job: self._show_states())
        project.runsChanged.connect(self._show_states)
        self.stage.previewWanted.connect(self._on_synthetic)

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

    def _show_inspector(self, step: str) -> None:
        """The step's tabs; each step remembers which was in front."""
        if self._step:
            self._front[self._step] = self.inspector.currentIndex()
        self._step = step
        pose_tabs = [(self.pose_panel, "Pose"), (self.xray_panel, "X-ray")]
        pages: dict[str, list[tuple[QWidget, str]]] = {
            "data": [(self.doctor_panel, "Doctor"), *pose_tabs],
            "synthetic": [(self.train_panel, "Stage 1")],
            "selfsup": [(self.adapt_panel, "Stage 2"), *pose_tabs],
        }
        self.inspector.clear()
        for widget, title in pages.get(step, []):
            self.inspector.addTab(widget, title)
        self.inspector.setCurrentIndex(self._front.get(step, 0))

    def _connect_pose(self) -> None:
        """Mouse, keys, X-ray and optimisation of the selected pose."""
        project, frame_view = self.window.project, self.stage.frame_view
        self.pose_panel.editToggled.connect(self._on_edit)
        self.pose_panel.runRequested.connect(self._on_run)
        self.pose_panel.predictRequested.connect(self.window.runs.predictWanted)
        self.pose_tool.nudged.connect(lambda p, text: project.edit_pose(p, text, merge=True))
        frame_view.canvas.keys.connect(self._on_key)
        for signal in (project.posesChanged, project.objectChanged, project.modelsChanged):
            signal.connect(self._arm_tool)
        self.window.director.frameReady.connect(self._arm_tool)
        self.xray_panel.ready.connect(frame_view.set_xray)
        self.xray_panel.termChosen.connect(frame_view.choose_term)

    def _on_edit(self, editing: bool) -> None:
        self.stage.show_page("frames")
        self.stage.frame_view.set_tool(self.pose_tool if editing else None)
        self._arm_tool()
        if editing:
            self.stage.frame_view.canvas.setFocus()

    def _arm_tool(self, *_: object) -> None:
        project = self.window.project
        self.pose_tool.pose = project.pose()
        self.pose_tool.model = project.model(project.object_id)
        self.pose_tool.frame = self.window.director.frame

    def _on_key(self, event: QKeyEvent) -> None:
        tool, project = self.pose_tool, self.window.project
        if not self.pose_panel.edit.isChecked() or tool.pose is None or tool.model is None:
            return
        moved = key_nudge(tool.pose, tool.model, event)
        if moved is not None:
            project.edit_pose(*moved, merge=True)
            event.accept()

    def _on_frame_wanted(self, index: int, object_id: int, run: Path) -> None:
        """A bad frame of the table: look at it, with that run's prediction."""
        project = self.window.project
        self.window.show_step("selfsup")
        self.stage.show_page("frames")
        project.select_object(object_id)
        project.select_frame(index)
        self.window.runs.predictWanted.emit(run)

    def show_xray(self) -> None:
        """Bring the X-ray to the front and examine the present pose."""
        if self.window.project.step not in ("data", "selfsup"):
            self.window.show_step("data")
        self.inspector.setCurrentWidget(self.xray_panel)
        self.xray_panel.ask()

    def show_docks(self, shown: bool) -> None:
        """Docks belong to an open project; the welcome page stands alone."""
        working = self.window.pages.currentWidget() is self.stage
        for dock in self.docks:
            dock.setVisible(shown and (working or dock is self.docks[0]))
        if shown and not self.placed:
            self.placed = True
            QTimer.singleShot(0, self.default_layout)  # sizes count once the docks are shown

    def default_layout(self) -> None:
        window = self.window
        window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        window.resizeDocks(self.docks[:2], [208, 312], Qt.Orientation.Horizontal)
        window.resizeDocks(self.docks[2:], [184], Qt.Orientation.Vertical)

    def close(self) -> None:
        """Free what Qt's own clean-up would not."""
        self.stage.cloud_view.close_scene()

    def _on_run(self, spec: JobSpec) -> None:
        job = self.window.runs.submit(spec)
        if spec.kind == "optimize":
            self.single_image.watch(job)
        self.log.add("info", spec.shell(), spec.out.name)
        self.window.runs.follow(job)
        if spec.kind == "adapt":
            self.stage.probes.clear()
            self.stage.show_page("probes")

    def _on_followed(self, job: Job | None) -> None:
        active = job is not None and job.state.active
        self.adapt_panel.set_live(active and job is not None and job.spec.kind == "adapt")
        self._show_states()
        if job is not None:
            job.mailbox.wants_preview = self.stage.shows

    def _show_states(self) -> None:
        """The marks of steps 2 and 3."""
        active = {job.spec.kind for job in self.window.queue.active}
        for step, kind in (("synthetic", "train"), ("selfsup", "adapt")):
            runs = self.window.project.runs_of(kind)
            ended = [r for r in runs if r.status in ("done", "stopped")]
            state = "busy" if kind in active else "ok" if ended else ""
            self.window.header.set_state(step, state)

    def _on_predict(self, run: Path) -> None:
        """Poses of a run's network on the selected frame."""
        project = self.window.project
        if project.recording is None:
            return
        index = project.frame_index

        def arrived(poses: list[PoseData]) -> None:
            project.put_poses(index, poses, "predicted")
            if not poses:
                self.window.say("warn", "The network finds none of the objects on this frame.")

        self.window.worker.request(
            "predict", str(run), project.recording.root, index, key="predict", done=arrived,
            failed=self.window.show_error,
        )  # fmt: skip

    def _on_synthetic(self) -> None:
        """A sheet of what stage 1 would train on with the settings as they stand."""
        spec = self.train_panel.spec()
        if spec is None:
            return
        self.stage.preview_button.setEnabled(False)
        self.stage.gallery_note.setText("Rendering…")

        def arrived(sheet: np.ndarray) -> None:
            self.stage.preview_button.setEnabled(True)
            self.stage.show_gallery(sheet, "what stage 1 would train on, with masks and boxes")

        def failed(failure: Failure) -> None:
            self.stage.preview_button.setEnabled(True)
            self.stage.gallery_note.setText("")
            self.window.show_error(failure)

        camera = spec.options.get("camera")
        self.window.worker.request(
            "synthetic_sheet", [str(m) for m in spec.models], str(camera) if camera else None,
            spec.preset, spec.overrides, 12, spec.seed or 0, key="sheet", done=arrived,
            failed=failed,
        )  # fmt: skip

    def _on_history(self, history: RunHistory, overlay: bool) -> None:
        name = Path(history.run).name
        curves = RunCurves(name, checkpoints=history.checkpoints, marks=history.marks)
        for key, (steps, values) in history.curves.items():
            curves.extend(key, steps, values)
        if not overlay:
            self.curves.clear()
            self.stage.probes.clear()
            for preview in history.first:
                self.stage.add_preview(preview, first=True)
            for preview in history.newest:
                self.stage.add_preview(preview)
        self.curves.show_run(curves)

    def _on_duplicate(self, spec: JobSpec) -> None:
        panel = {"train": self.train_panel, "adapt": self.adapt_panel}.get(spec.kind)
        if panel is not None:
            self.window.show_step("synthetic" if spec.kind == "train" else "selfsup")
            panel.load(spec)
