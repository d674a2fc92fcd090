"""One image, one pose: nudge it, perturb it, let the loss pull it, and watch it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QSlider, QWidget

from studio.controllers.director import Director
from studio.curves.replay_plot import ReplayPlot, Trace
from studio.engine.compose import rotation_error_deg
from studio.engine.types import FrameData, PoseData
from studio.jobs import JobSpec
from studio.jobs.run_info import free_name
from studio.model.project import PoseKey, Project
from studio.model.settings import Settings
from studio.model.start_files import pose_start, read_pose_start
from studio.posing import nudge
from studio.posing.numbers import PoseNumbers
from studio.posing.placing import Placing
from studio.posing.searching import Searching
from studio.posing.tool import help_text, search_text
from studio.toolkit.boxes import spin
from studio.toolkit.widgets import (
    Choice,
    ElidedLabel,
    IconButton,
    button,
    captioned,
    column,
    label,
    row,
    scrolled,
)

NO_REPLAY = "After a run, drag to replay its steps."


class PosePanel(QWidget):
    """Works on the selected frame and object; all edits are undoable."""

    editToggled = Signal(bool)
    runRequested = Signal(object)
    copyRequested = Signal(object)
    predictRequested = Signal(object)
    placeRequested = Signal()  # in the middle of the image

    def __init__(self, project: Project, director: Director, settings: Settings) -> None:
        super().__init__()
        self.project, self.director, self.settings = project, director, settings
        self._generator = np.random.default_rng(0)
        self.title = ElidedLabel("", "title", Qt.TextElideMode.ElideMiddle)
        self.origin = label("", "small", wrap=True)
        self.numbers = PoseNumbers()
        self.numbers.edited.connect(lambda pose, text: project.edit_pose(pose, text, merge=True))
        self.unseen = label("", "warn", wrap=True)
        self.error = label("", "truthnote", wrap=True)
        self.edit = button("Place with mouse and keys")
        self.edit.setCheckable(True)
        self.edit.toggled.connect(self.editToggled)
        self.keys = label("", "small", wrap=True)
        self.keys.hide()
        self.edit.toggled.connect(self.keys.setVisible)
        self.snap = QCheckBox("Snap to the depth when let go")
        self.snap.setChecked(True)
        self.snap.setToolTip(
            "After a drag, its near surface is moved onto the depth the camera measured"
        )
        self.place = button(
            "Place in the middle", self.placeRequested.emit, "",
            "Start from a pose in front of the camera",
        )  # fmt: skip
        self.placing = Placing(self)
        self.searching = Searching(self)
        self.search = self.searching.button
        self.searching.changed.connect(self.refresh)
        self.degrees = spin("Turn at random by up to", 0, 180, 10, "°")
        self.shift = spin("Shift at random by up to", 0, 500, 20, " mm")
        self.perturb = button("Perturb", self._on_perturb, "", "Turn and shift at random")
        self.run_choice = Choice("Start of the optimisation")
        self.run_choice.setToolTip(
            "Where the optimisation starts, and who says which pixels are the object"
        )
        self.predict = button("Predict", self._on_predict, "", "Poses on this frame from RGB alone")
        self.run_choice.activated.connect(self.refresh)
        self.steps = spin("Steps", 0, 2000, 200)
        self.steps.setSpecialValueText("as in the preset")
        self._more: dict[str, Any] = {}
        self.more = label("", "small", wrap=True)
        self.drop_more = button("Leave them out", self._on_drop_more)
        self.starts = spin("Starts", 1, 32, 1)
        self.starts.setToolTip("Random starts around the pose; the image decides among them")
        self.optimise = button(
            "Optimise",
            self._on_optimise,
            "primary",
            "Pull the pose by the self-supervised loss on this image",
        )
        self.copy_button = IconButton("terminal", "Copy as command", self._on_copy)
        self.replay = QSlider(Qt.Orientation.Horizontal)
        self.replay.setAccessibleName("Step of the replay")
        self.replay.setEnabled(False)
        self.replay.valueChanged.connect(self._on_replay)
        self.plot = ReplayPlot()
        self.plot.stepChosen.connect(self.replay.setValue)
        self.replay_note = label(NO_REPLAY, "small", wrap=True)
        grid = captioned(("Steps", self.steps), ("Starts", self.starts), ("Start", self.run_choice))
        content = QWidget()
        content.setLayout(column(
            self.title, self.origin, self.numbers, self.unseen, self.error,
            label("PLACE", "section"), self.edit, self.keys, self.snap,
            row(self.search, self.searching.cancel, self.predict), self.place,
            row(self.perturb, self.degrees, self.shift),
            label("OPTIMISE ON THIS IMAGE", "section"), grid, 
            self.more, self.drop_more, row(self.optimise, self.copy_button),
            self.plot, self.replay, self.replay_note, 1, margin=12, gap=8,
        ))  # fmt: skip
        self.setLayout(column(scrolled(content, whole=True)))
        for signal in (project.objectChanged, project.frameChanged, project.posesChanged,
                       project.modelsChanged, project.runsChanged,
                       project.runSelected):  # fmt: skip
            signal.connect(self.refresh)
        director.frameReady.connect(self.refresh)
        self._replay: list[dict[str, Any]] = []
        self._replay_key: PoseKey = (0, 0)
        self.refresh()

    @property
    def frame(self) -> FrameData | None:
        return self.director.frame

    def truth(self) -> PoseData | None:
        """The labelled pose of the selected object, for the error read-out alone."""
        if self.frame is None:
            return None
        return next((p for p in self.frame.truth if p.object_id == self.project.object_id), None)

    def refresh(self, *_: object) -> None:
        project = self.project
        self._fill_runs()
        model, pose = project.model(project.object_id), project.pose()
        ready = model is not None and self.frame is not None
        self.title.setText(model.name if model else "No object selected")
        depth = self.frame is not None and self.frame.depth_m is not None
        if not ready:
            self.origin.setText("Open a recording and CAD models, then choose an object.")
        elif pose is None:
            ways = ["place it by a click"] + ["search for it"] * depth
            ways += ["predict it"] * (self.network() is not None)
            told = f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[0]
            self.origin.setText(f"No pose on this frame yet: {told}.")
        else:
            told = project.told_by(project.frame_index, project.object_id)
            self.origin.setText(f"frame {project.frame_index + 1}, {told}")
        self.numbers.show_pose(pose)
        where = self.where_unseen(pose)
        self.unseen.setText(f"{where} Place in the middle brings it into the picture.")
        self.unseen.setVisible(bool(where))
        self.error.setText(self._error_text(pose))
        self.error.setVisible(bool(self.error.text()))
        for widget in (self.edit, self.place):
            widget.setEnabled(ready)
        self.perturb.setEnabled(ready and pose is not None)
        if self.frame is None or model is None:
            self.edit.setChecked(False)
        self.search.setEnabled(ready and depth and not self.searching.under_way)
        seen = depth or self.frame is None
        self.search.setToolTip(search_text(depth=seen))
        self.keys.setText(help_text(depth=seen))
        self.snap.setVisible(seen)
        self.optimise.setEnabled(self.spec_ready())
        self.copy_button.setEnabled(self.spec_ready())
        self.more.setText(_told(self._more))
        self.more.setVisible(bool(self._more))
        self.drop_more.setVisible(bool(self._more))

    def where_unseen(self, pose: PoseData | None) -> str:
        """That the picture does not show a pose of the selected object; "" where it does."""
        project, frame, index = self.project, self.frame, self.project.frame_index
        model = project.model(project.object_id)
        if pose is None or model is None or frame is None or frame.index != index:
            return ""
        where = nudge.unseen(pose, model, frame.K, frame.size)
        mine = project.origins.get((index, model.object_id)) == "edited" and project.undo.canUndo()
        return where and f"{model.name} is {where}.{' Ctrl+Z takes that back.' * mine}"

    def show_replay(self, key: PoseKey, rows: list[dict[str, Any]]) -> None:
        """Poses of an optimisation, a row a step.

        Args:
            key: frame and object they belong to;
            rows: {"step", "R_m2c", "t_m2c", "total", "degrees", "mm"}; the last two are None
                without truth.
        """
        self._replay, self._replay_key = rows, key
        self.replay.setEnabled(len(rows) > 1)
        self.replay.blockSignals(True)
        self.replay.setRange(0, max(len(rows) - 1, 0))
        self.replay.setValue(len(rows) - 1)
        self.replay.blockSignals(False)
        column_of = lambda key: np.array([r[key] for r in rows], dtype=float)  # noqa: E731
        self.plot.set_traces((
            Trace("loss", "", column_of("total")), Trace("rotation", "°", column_of("degrees")),
            Trace("shift", " mm", column_of("mm")),
        ))  # fmt: skip
        self._describe_step(len(rows) - 1)

    def forget(self) -> None:
        """Let go of what belongs to a project that was left."""
        self._more = {}
        self.run_choice.clear()
        self.show_replay((0, 0), [])
        self.replay_note.setText(NO_REPLAY)
        self.refresh()

    def spec_ready(self) -> bool:
        """Whether there is an object on a frame and a start, be it a pose or a network's."""
        known = self.frame is not None and self.project.model(self.project.object_id) is not None
        return known and bool(self.project.pose() is not None or self.run_choice.currentData())

    def load(self, spec: JobSpec) -> str:
        """Take over frame, object, start and settings of another run, to change and run again.

        Returns:
            why not; mostly "".
        """
        project, options = self.project, spec.options
        keys = project.recording.keys if project.recording is not None else []
        scenes = lambda scene: options.get("scene") in (None, scene)  # noqa: E731
        at = [
            i
            for i, (scene, image) in enumerate(keys)
            if image == options["frame"] and scenes(scene)
        ]
        if project.recording_path != spec.data or not at:
            return f"Open {spec.data} first: that run is about its frame {options['frame']}."
        number = int(options["object"])
        if project.model(number) is None:
            return f"Open the CAD model of object {number} first."
        try:
            start = read_pose_start(number, options.get("init"))
        except (OSError, ValueError, KeyError, TypeError):
            return f"The start pose of that run is gone: {options['init']}"
        project.select_frame(at[0])
        project.select_object(number)
        if start is not None:
            project.edit_pose(start, "Duplicate run")
        overrides = dict(spec.overrides)
        self.starts.setValue(int(overrides.pop("optimize.starts", 1)))
        overrides.pop("models.unit", None)  # the project's
        self.steps.setValue(spec.steps or 0)
        more = {"preset": spec.preset, "seed": spec.seed, "device": spec.device,
                "overrides": overrides}  # fmt: skip
        self._more = {name: value for name, value in more.items() if value}
        self._choose_run(str(spec.from_run) if spec.from_run else None)
        self.refresh()
        return ""

    def spec(self) -> JobSpec | None:
        """The optimisation as a job; its start pose goes into a file of its own."""
        project, pose = self.project, self.project.pose()
        recording = project.recording
        if recording is None or not self.spec_ready():
            return None
        scene, image = recording.keys[project.frame_index]
        out = free_name(self.settings.runs_folder, f"{Path(recording.root).name}-pose")
        run = self.run_choice.currentData()
        options: dict[str, Any] = {"frame": image, "object": project.object_id}
        if not run:
            assert pose is not None
            options["init"] = pose_start(out.name, pose)
        if len({s for s, _ in recording.keys}) > 1:
            options["scene"] = scene
        starts = {"optimize.starts": self.starts.value()} if self.starts.value() > 1 else {}
        return JobSpec(
            "optimize", out, data=Path(recording.root), models=tuple(project.model_paths),
            from_run=Path(run) if run else None, steps=self.steps.value() or None, options=options,
            **{**self._more, "overrides": {**self._more.get("overrides", {}), **starts,
                                           **project.unit_setting}},
        )  # fmt: skip

    def _fill_runs(self) -> None:
        chosen = self.run_choice.currentData()
        self.run_choice.clear()
        self.run_choice.addItem("this pose", None)
        for run in reversed(self.project.networks()):
            if not self.project.misfit(run.path):
                self.run_choice.addItem(f"prediction of {run.name}", str(run.path))
        self._choose_run(chosen)
        network = self.network()
        self.predict.setEnabled(self.frame is not None and network is not None)
        name = "a network" if network is None else network.name
        self.predict.setToolTip(f"Poses on this frame from RGB alone, by {name}")

    def network(self) -> Path | None:
        """Which run predicts: the one chosen here, else the one selected, else the newest."""
        run, selected = self.run_choice.currentData(), self.project.run
        if not run and selected is not None and self.run_choice.findData(str(selected)) > 0:
            run = str(selected)
        run = run or self.run_choice.itemData(1)
        return Path(run) if run else None

    def _choose_run(self, run: str | None) -> None:
        if run is not None and self.run_choice.findData(run) < 0:
            self.run_choice.addItem(f"prediction of {Path(run).name}", run)
        self.run_choice.setCurrentIndex(max(self.run_choice.findData(run), 0) if run else 0)

    def _on_drop_more(self) -> None:
        self._more = {}
        self.refresh()

    def _error_text(self, pose: PoseData | None) -> str:
        truth = self.truth()
        if pose is None or truth is None:
            return ""
        turn = rotation_error_deg(pose.R, truth.R)
        shift = float(np.linalg.norm(pose.t - truth.t)) * 1000
        return f"off by {turn:.1f}° and {shift:.1f} mm from the truth, which training never sees"

    def _on_perturb(self) -> None:
        pose, model = self.project.pose(), self.project.model(self.project.object_id)
        if pose is not None and model is not None:
            moved = nudge.perturb(pose, model, self.degrees.value(), self.shift.value(),
                                  self._generator)  # fmt: skip
            self.project.edit_pose(moved, "Perturb pose")

    def _on_predict(self) -> None:
        run = self.network()
        if run is not None:
            self.predictRequested.emit(run)

    def _on_optimise(self) -> None:
        spec = self.spec()
        if spec is not None:
            self.runRequested.emit(spec)

    def _on_copy(self) -> None:
        spec = self.spec()
        if spec is not None:
            self.copyRequested.emit(spec)

    def _on_replay(self, index: int) -> None:
        if 0 <= index < len(self._replay):
            self._describe_step(index)
            step = self._replay[index]["step"]
            pose = PoseData.from_dict({**self._replay[index], "object_id": self._replay_key[1]})
            told = f"optimised on this image, step {step}"
            self.project.put_poses(self._replay_key[0], [pose], told)

    def _describe_step(self, index: int) -> None:
        if not 0 <= index < len(self._replay):
            return
        entry = self._replay[index]
        text = f"Step {entry['step']}"
        if entry["total"] is not None:
            text += f", loss {entry['total']:.4g}"
        if entry["degrees"] is not None:
            text += f", off by {entry['degrees']:.1f}° and {entry['mm']:.1f} mm"
        self.replay_note.setText(f"{text}. Drag to replay.")
        self.plot.set_step(index)


def _told(more: dict[str, Any]) -> str:
    """Settings of a duplicated run that have no box here."""
    words = [f"{name} {value}" for name, value in more.items() if name != "overrides"]
    words += [f"{key} = {value}" for key, value in more.get("overrides", {}).items()]
    return f"As in the run it was taken from: {', '.join(words)}." if words else ""
