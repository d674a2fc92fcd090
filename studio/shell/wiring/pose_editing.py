"""Mouse, keys, search, X-ray and optimisation of the selected pose: who hears whom."""

from __future__ import annotations

import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, QPointF
from PySide6.QtGui import QKeyEvent

from studio.controllers.director import Director
from studio.engine import Engine, Failure
from studio.engine.types import Landed, PoseData
from studio.model.project import PoseKey, Project
from studio.panels.stage import Stage
from studio.panels.xray_panel import XrayPanel
from studio.posing.nudge import centre_of, key_nudge
from studio.posing.panel import PosePanel
from studio.posing.tool import PoseTool
from studio.shell.window import StudioWindow
from studio.tracking.panel import DOUBTFUL

C = S = float(np.sqrt(0.5))
ABOVE = np.array([[1.0, 0, 0], [0, -C, -S], [0, S, -C]])
"""Model z up, seen from 45 degrees above: how most things stand before a camera."""


class PoseEditing(QObject):
    """Keeps the canvas's tool on the selected pose and turns its moves into undoable edits."""

    def __init__(
        self,
        window: StudioWindow,
        stage: Stage,
        pose_panel: PosePanel,
        xray_panel: XrayPanel,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.window, self.stage, self.pose_panel = window, stage, pose_panel
        self.project: Project = window.project
        self.director: Director = window.director
        self.engine: Engine = window.engine
        project, director = self.project, self.director
        self._landings = 0
        self._missed: PoseKey | None = None  # where somebody tried to move what has no pose
        self._stop_file = Path()  # of the search under way
        self.tool = PoseTool(self)
        self.tool.nudged.connect(lambda pose, text: project.edit_pose(pose, text, merge=True))
        self.tool.pointed.connect(lambda at: self.land(at, "Place object"))
        self.tool.released.connect(self._on_released)
        self.tool.missed.connect(self._on_missed)
        stage.frame_view.canvas.layers.append(self.tool.paint)
        pose_panel.editToggled.connect(self._on_edit)
        pose_panel.placeRequested.connect(self.place_in_the_middle)
        pose_panel.placing.changed.connect(
            lambda: stage.frame_view.set_busy(pose_panel.placing.told)
        )
        pose_panel.searching.wanted.connect(self.search)
        pose_panel.searching.cancelled.connect(self.cancel_search)
        stage.frame_view.canvas.keys.connect(self._on_key)
        for signal in (project.posesChanged, project.objectChanged, project.modelsChanged):
            signal.connect(self._arm)
        director.frameReady.connect(self._arm)
        xray_panel.ready.connect(stage.frame_view.set_xray)
        xray_panel.termChosen.connect(stage.frame_view.choose_term)

    def land(self, at: QPointF, text: str) -> None:
        """Put the selected object on a point of the image, in image coordinates."""
        project, frame, number = self.project, self.director.frame, self.project.object_id
        model = project.model(number)
        if frame is None or project.recording is None or number is None or model is None:
            return
        before, project_number = project.pose(), project.number
        # what is behind the camera has no distance to keep
        keeps = before is not None and centre_of(before, model)[2] > 0
        self._landings += 1
        asked, placing = self._landings, self.pose_panel.placing
        start = before if before is not None else _anywhere(number)

        def over(*, arrived: bool) -> None:
            if asked == self._landings:
                placing.end(arrived=arrived)

        def arrived(landed: Landed) -> None:
            over(arrived=True)
            here = project.frame_index == frame.index and project.object_id == number
            same = asked == self._landings and project.pose() is before
            if project.number != project_number or not here or not same:
                return  # the user went on: to another frame, or back by undo
            project.edit_pose(landed.pose, text, merge=True)
            if landed.depth_m is None and not keeps:
                put = f"No depth there: put {landed.distance_m:.2f} m away, guessed from its size."
                self.window.say("warn", f"{put} Ctrl-drag changes it.")
            elif landed.depth_m is None:
                self.window.say("warn", "No depth there: the object keeps its distance.")

        def failed(failure: Failure) -> None:
            over(arrived=False)
            self.window.show_error(failure)

        self._missed = None
        self._arm()
        placing.begin(f"Placing {model.name} on frame {frame.index + 1}", seen=keeps)
        self.engine.request(
            "land", project.recording.root, frame.index, project.model_files, start,
            (at.x(), at.y()), keeps, key="land", done=arrived, failed=failed,
        )  # fmt: skip

    def place_in_the_middle(self) -> None:
        frame = self.director.frame
        if frame is not None:
            h, w = frame.size
            self.land(QPointF(w / 2, h / 2), "Place object")

    def search(self) -> None:
        """Look for the selected object in the selected frame; frames can be looked at meanwhile."""
        project, frame, number = self.project, self.director.frame, self.project.object_id
        model = project.model(number)
        if frame is None or project.recording is None or number is None or model is None:
            return
        key, before, project_number = (frame.index, number), project.pose(), project.number
        began, name = time.monotonic(), model.name
        searching = self.pose_panel.searching
        stop = Path(tempfile.mkdtemp(prefix="self6d-")) / "stop"
        searching.begin(f"Searching frame {frame.index + 1} for {model.name}")
        self._stop_file = stop

        def take(found: PoseData) -> None:
            if project.number == project_number:
                at = project.poses.get(key)
                project.edit_pose_at(key, at, found, "Search object", "searched")

        def over() -> bool:
            """Whether it was not cancelled."""
            shutil.rmtree(stop.parent, ignore_errors=True)
            mine = self._stop_file == stop
            if mine:
                searching.end()
            return mine

        def arrived(found: PoseData | None) -> None:
            if not over() or project.number != project_number:
                return
            took = f"after {time.monotonic() - began:.0f} s"
            where = f"frame {key[0] + 1}"
            if found is None:
                self.window.say("warn", f"{name} was not found in {where} {took}: place it by a "
                                "click, or search another frame.")  # fmt: skip
            elif project.poses.get(key) is not before:
                self.window.banner.say(
                    "warn", f"{name} was found in {where} {took}, confidence {found.score:.2f}, "
                    "but its pose was changed meanwhile and stays.",
                    action="Take the found one", on_action=partial(take, found),
                )  # fmt: skip
            else:
                take(found)
                sure = found.score >= DOUBTFUL
                self.window.say("good" if sure else "warn", f"{name} was found in {where} {took}, "
                                f"confidence {found.score:.2f}{'' if sure else ', which is low'}. "
                                "Check it against the picture.")  # fmt: skip

        def failed(failure: Failure) -> None:
            if over():
                self.window.show_error(failure)

        self.window.worker.request(
            "locate", project.recording.root, frame.index, project.model_files, number, str(stop),
            done=arrived, failed=failed,
        )  # fmt: skip

    def cancel_search(self) -> None:
        """End it at once here; the helper process goes on for the part it is at, unheard."""
        if self.pose_panel.searching.under_way:
            self._stop_file.touch()
            self._stop_file = Path()
            self.pose_panel.searching.end(cancelled=True)

    def _on_edit(self, editing: bool) -> None:
        self.stage.show_page("frames")
        self.tool.active, self._missed = editing, None
        self.stage.frame_view.set_tool(self.tool if editing else None)
        self._arm()
        if editing:
            self.stage.frame_view.canvas.setFocus()

    def _arm(self, *_: object) -> None:
        self.tool.pose = self.project.pose()
        self.tool.model = self.project.model(self.project.object_id)
        self.tool.frame = self.director.frame
        self.stage.frame_view.set_warning(
            self.pose_panel.where_unseen(self.tool.pose) or self._nothing_to_move()
        )
        self.stage.frame_view.canvas.update()

    def _nothing_to_move(self) -> str:
        """What to do first, where somebody tried to move an object without a pose; mostly ""."""
        model, here = self.tool.model, (self.project.frame_index, self.project.object_id)
        if self._missed != here or model is None or self.tool.pose is not None:
            self._missed = None
            return ""
        return f"{model.name} has no pose on this frame yet: click where it is, then move it."

    def _on_missed(self) -> None:
        number = self.project.object_id
        if number is not None and not self.pose_panel.placing.told:
            self._missed = (self.project.frame_index, number)
            self._arm()

    def _on_released(self, at: QPointF) -> None:
        frame = self.director.frame
        if self.pose_panel.snap.isChecked() and frame is not None and frame.depth_m is not None:
            self.land(at, "Move pose")

    def _on_key(self, event: QKeyEvent) -> None:
        tool = self.tool
        if not self.pose_panel.edit.isChecked() or tool.model is None or tool.frame is None:
            return
        moved = key_nudge(tool.pose or _anywhere(tool.model.object_id), tool.model, event)
        if moved is None:
            return
        event.accept()
        if tool.pose is None:
            self._on_missed()
        else:
            self.project.edit_pose(*moved, merge=True)


def _anywhere(number: int) -> PoseData:
    """A pose of an object that has none, to start from."""
    return PoseData(number, ABOVE, np.array([0, 0, 1.0]))
