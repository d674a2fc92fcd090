"""Mouse, keys, X-ray and optimisation of the selected pose: who hears whom."""

from __future__ import annotations

from PySide6.QtCore import QObject
from PySide6.QtGui import QKeyEvent

from studio.controllers.director import Director
from studio.model.project import Project
from studio.panels.pose_panel import PosePanel
from studio.panels.stage import Stage
from studio.panels.xray_panel import XrayPanel
from studio.views.nudge import PoseTool, key_nudge


class PoseEditing(QObject):
    """Keeps the canvas's tool on the selected pose and turns its moves into undoable edits."""

    def __init__(
        self,
        project: Project,
        director: Director,
        stage: Stage,
        pose_panel: PosePanel,
        xray_panel: XrayPanel,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.project, self.director, self.stage = project, director, stage
        self.pose_panel = pose_panel
        self.tool = PoseTool(self)
        self.tool.nudged.connect(lambda pose, text: project.edit_pose(pose, text, merge=True))
        pose_panel.editToggled.connect(self._on_edit)
        stage.frame_view.canvas.keys.connect(self._on_key)
        for signal in (project.posesChanged, project.objectChanged, project.modelsChanged):
            signal.connect(self._arm)
        director.frameReady.connect(self._arm)
        xray_panel.ready.connect(stage.frame_view.set_xray)
        xray_panel.termChosen.connect(stage.frame_view.choose_term)

    def _on_edit(self, editing: bool) -> None:
        self.stage.show_page("frames")
        self.stage.frame_view.set_tool(self.tool if editing else None)
        self._arm()
        if editing:
            self.stage.frame_view.canvas.setFocus()

    def _arm(self, *_: object) -> None:
        self.tool.pose = self.project.pose()
        self.tool.model = self.project.model(self.project.object_id)
        self.tool.frame = self.director.frame

    def _on_key(self, event: QKeyEvent) -> None:
        tool = self.tool
        if not self.pose_panel.edit.isChecked() or tool.pose is None or tool.model is None:
            return
        moved = key_nudge(tool.pose, tool.model, event)
        if moved is not None:
            self.project.edit_pose(*moved, merge=True)
            event.accept()
