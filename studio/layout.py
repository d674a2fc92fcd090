"""The working window: pages in the middle, docks around them, and who hears whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QTabWidget

from studio.engine.history import RunHistory
from studio.jobs import Job, JobSpec
from studio.panels.log import LogPanel
from studio.panels.project_tree import ProjectTree
from studio.panels.run_panel import RunPanel
from studio.panels.stage import Stage
from studio.views.curves import CurvesView, RunCurves

if TYPE_CHECKING:
    from studio.window import StudioWindow


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
        self.train_panel = RunPanel("train", project, window.settings, window.engine)
        self.adapt_panel = RunPanel("adapt", project, window.settings, window.engine)
        self.inspector = QTabWidget()
        self.inspector.setDocumentMode(True)
        self.bottom = QTabWidget()
        self.bottom.setDocumentMode(True)
        self.bottom.addTab(self.curves, "Curves")
        self.bottom.addTab(self.log, "Log")
        window.pages.addWidget(self.stage)
        area = Qt.DockWidgetArea
        self.docks = [
            window.add_dock("project", "Project", self.tree, area.LeftDockWidgetArea),
            window.add_dock("inspector", "Inspector", self.inspector, area.RightDockWidgetArea),
            window.add_dock("bottom", "Progress", self.bottom, area.BottomDockWidgetArea),
        ]
        self.default_layout()
        for panel in (self.train_panel, self.adapt_panel):
            panel.runRequested.connect(self._on_run)
            panel.liveWeight.connect(runs.set_weight)
        self.tree.runAction.connect(runs.act)
        runs.scalarsArrived.connect(self.curves.add_scalars)
        runs.previewArrived.connect(self.stage.add_preview)
        runs.checkpointArrived.connect(self.curves.add_checkpoint)
        runs.marked.connect(self.curves.add_mark)
        runs.historyReady.connect(self._on_history)
        runs.noted.connect(self.log.add)
        runs.followed.connect(self._on_followed)
        runs.ended.connect(lambda job, ending: self._on_followed(runs.job))
        runs.duplicateWanted.connect(self._on_duplicate)

    def show_step(self, step: str) -> None:
        """Put what belongs to a step in the middle and into the inspector."""
        self.window.pages.setCurrentWidget(self.stage)
        self.inspector.clear()
        if step == "synthetic":
            self.inspector.addTab(self.train_panel, "Stage 1")
            self.train_panel.describe()
            self.stage.show_page("synthetic")
        elif step == "selfsup":
            self.inspector.addTab(self.adapt_panel, "Stage 2")
            self.adapt_panel.describe()
        else:
            self.stage.show_page("frames")

    def show_docks(self, shown: bool) -> None:
        for dock in self.docks:
            dock.setVisible(shown)

    def default_layout(self) -> None:
        window = self.window
        window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        window.resizeDocks(self.docks[:2], [208, 304], Qt.Orientation.Horizontal)
        window.resizeDocks(self.docks[2:], [208], Qt.Orientation.Vertical)

    def close(self) -> None:
        """Free what Qt's own clean-up would not."""
        self.stage.cloud_view.close_scene()

    def _on_run(self, spec: JobSpec) -> None:
        job = self.window.runs.submit(spec)
        self.log.add("info", spec.shell(), spec.out.name)
        self.window.runs.follow(job)
        if spec.kind == "adapt":
            self.stage.probes.clear()
            self.stage.show_page("probes")

    def _on_followed(self, job: Job | None) -> None:
        active = job is not None and job.state.active
        self.adapt_panel.set_live(active and job is not None and job.spec.kind == "adapt")
        for step, kind in (("synthetic", "train"), ("selfsup", "adapt")):
            mine = active and job is not None and job.spec.kind == kind
            done = bool(self.window.project.runs_of(kind))
            self.window.header.set_state(step, "busy" if mine else "ok" if done else "")
        if job is not None:
            job.mailbox.wants_preview = self.stage.shows

    def _on_history(self, history: RunHistory, overlay: bool) -> None:
        name = Path(history.run).name
        curves = RunCurves(name, checkpoints=history.checkpoints)
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


