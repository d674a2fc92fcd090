"""What is open: recording, models, runs, selection and poses. No widgets; everyone listens.

Whatever edits goes through `undo` (Edit > Undo): poses nudged by hand, models added or removed,
fixes accepted from the doctor, settings of the next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoStack

from studio.engine.types import ModelCard, ModelFiles, PoseData, RecordingInfo, TrackData, TrackRow
from studio.jobs.run_info import NETWORKS, RunInfo, brief, checkpoint_steps, is_run, read_run
from studio.model.edits import FunctionEdit, PoseEdit
from studio.model.fit import misfit
from studio.model.track import PoseKey, Track

TRACKED = "tracked by"
ORIGINS = {
    "edited": "set by hand",
    "predicted": "predicted by the network",
    "optimised": "optimised on this image",
    "searched": "found by searching this frame",
}


class Project(QObject):
    """The document behind the window."""

    left = Signal()  # what was open is gone: whoever shows something of it lets go
    recordingChanged = Signal()
    modelsChanged = Signal()
    runsChanged = Signal()
    frameChanged = Signal(int)
    objectChanged = Signal(object)
    runSelected = Signal(object)
    posesChanged = Signal(int)
    optionsChanged = Signal()
    stepChanged = Signal(str)
    trackChanged = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.undo = QUndoStack(self)
        self.recording: RecordingInfo | None = None
        self.models: list[ModelCard] = []
        self.model_paths: list[Path] = []
        self.unit = "auto"  # of the CAD files
        self.awaits_models = False  # those of the recording are being read
        self.runs: list[RunInfo] = []
        self.frame_index = 0
        self.object_id: int | None = None
        self.run: Path | None = None
        self.poses: dict[PoseKey, PoseData] = {}
        self.origins: dict[PoseKey, str] = {}
        self.further: dict[int, list[PoseData]] = {}  # by frame: an object's later instances
        self.keys: dict[PoseKey, PoseData] = {}  # key frames: placed or corrected by hand
        self.track: Track | None = None
        self.options: dict[str, Any] = {}
        self.step = "data"
        self.known: dict[Path, list[ModelCard]] = {}  # objects of each run's network
        self.number = 0  # of the project; an answer to a question of an older one is dropped

    @property
    def recording_path(self) -> Path | None:
        return Path(self.recording.root) if self.recording else None

    def names(self) -> list[str]:
        """Of all that is open: recording, objects and their files, runs."""
        paths = [*self.model_paths, *([self.recording_path] if self.recording_path else [])]
        named = [*(path.name for path in paths), *(model.name for model in self.models)]
        return [*map(str, paths), *named, *(run.name for run in self.runs)]

    @property
    def model_files(self) -> ModelFiles:
        """Paths and unit as the helper process wants them."""
        return ModelFiles(tuple(map(str, self.model_paths)), self.unit)

    @property
    def unit_setting(self) -> dict[str, str]:
        """The unit as a job's configuration takes it; empty where it is left to the files."""
        return {} if self.unit == "auto" else {"models.unit": self.unit}

    def model(self, object_id: int | None) -> ModelCard | None:
        return next((m for m in self.models if m.object_id == object_id), None)

    def set_recording(self, info: RecordingInfo | None) -> None:
        """Another recording: poses and selection of the old one go; the undo history too."""
        self.recording = info
        self.poses.clear()
        self.origins.clear()
        self.further.clear()
        self.keys.clear()
        self.track = None
        self.options.clear()
        self.frame_index = 0
        self.undo.clear()
        self.recordingChanged.emit()
        self.frameChanged.emit(0)
        self.trackChanged.emit()

    def swap_recording(self, info: RecordingInfo) -> None:
        """The same recording, corrected: frame and history stay. For an undoable fix."""
        self.recording = info
        self.frame_index = min(self.frame_index, len(info) - 1)
        self.recordingChanged.emit()
        self.frameChanged.emit(self.frame_index)

    def leave(self) -> None:
        """Models, runs, selection and edits go with the recording they belong to."""
        self.number += 1
        self.runs = []
        self.select_run(None)
        self.set_models([], [])
        self.set_recording(None)
        self.runsChanged.emit()
        self.left.emit()

    def close(self) -> None:
        """Nothing is open any more; runs stay on disk."""
        self.leave()
        self.select_step("data")

    def set_models(self, paths: list[Path], models: list[ModelCard], unit: str = "auto") -> None:
        """Other CAD models, read in a unit."""
        self.model_paths, self.models, self.unit = paths, models, unit
        self.awaits_models = False
        known = {m.object_id for m in models}
        if self.object_id not in known:
            self.object_id = min(known, default=None)
        self.modelsChanged.emit()
        self.objectChanged.emit(self.object_id)

    def select_frame(self, index: int) -> None:
        if self.recording is None or not len(self.recording):
            return
        index = min(max(index, 0), len(self.recording) - 1)
        if index != self.frame_index:
            self.frame_index = index
            self.frameChanged.emit(index)

    def select_object(self, object_id: int | None) -> None:
        if object_id != self.object_id:
            self.object_id = object_id
            self.objectChanged.emit(object_id)

    def select_step(self, step: str) -> None:
        if step != self.step:
            self.step = step
            self.stepChanged.emit(step)

    def select_run(self, run: Path | None) -> None:
        if run != self.run:
            self.run = run
            self.runSelected.emit(run)

    def add_run(self, path: Path) -> RunInfo | None:
        """List a run folder, or read it again."""
        info = read_run(path)
        if info is None:
            return None
        others = [r for r in self.runs if r.path != path]
        self.runs = sorted([*others, info], key=lambda r: (r.created, r.name))
        self.runsChanged.emit()
        return info

    def forget_run(self, path: Path) -> None:
        """Off the list; nothing is deleted."""
        self.runs = [r for r in self.runs if r.path != path]
        if self.run == path:
            self.select_run(None)
        self.runsChanged.emit()

    def networks(self) -> list[RunInfo]:
        """Runs that left a network of poses: one may have ended before its first checkpoint."""
        return [r for r in self.starts() if checkpoint_steps(r.path)]

    def starts(self) -> list[RunInfo]:
        """What another run can start from: these, and runs at work, as it waits for their end."""
        made = (r for r in self.runs if r.kind in NETWORKS)
        return [r for r in made if r.running or checkpoint_steps(r.path)]

    def set_known(self, run: Path, models: list[ModelCard]) -> None:
        """Which objects a run's network is about."""
        self.known[run] = models
        self.runsChanged.emit()

    def is_of_it(self, data: str | Path | None) -> bool:
        """Whether what a run learned from is the open recording, or lies in its folder."""
        root = self.recording_path
        if root is None or data is None:
            return False
        here, there = root.resolve(), Path(data).resolve()
        return here == there or here in there.parents

    def misfit(self, run: Path, *, all_of_them: bool = False) -> str:
        """Why a run's network cannot be used on the open objects, see `fit`; "" where it can."""
        return misfit(self.known.get(run, []), self.models, all_of_them=all_of_them)

    def runs_of(self, kind: str) -> list[RunInfo]:
        return [r for r in self.runs if r.kind == kind]

    def frame_poses(self, index: int | None = None) -> list[PoseData]:
        """Poses known on a frame, in order of the objects; then those of further instances."""
        index = self.frame_index if index is None else index
        first = [p for (i, _), p in sorted(self.poses.items()) if i == index]
        return [*first, *self.further.get(index, [])]

    def pose(self, object_id: int | None = None) -> PoseData | None:
        """Pose of an object (the selected one) on the selected frame."""
        number = self.object_id if object_id is None else object_id
        return None if number is None else self.poses.get((self.frame_index, number))

    def told_by(self, index: int, object_id: int | None = None) -> str:
        """Where the poses of a frame (of one object) come from, in words; "" without any."""
        told: list[str] = []
        for key in sorted(self.poses):
            if key[0] == index and object_id in (None, key[1]):
                origin = self.origins.get(key, "")
                told.append(ORIGINS.get(origin, origin))
        return ", ".join(dict.fromkeys(filter(None, told)))

    def put_poses(self, index: int, poses: list[PoseData], origin: str) -> None:
        """Take over computed poses of a frame; not an edit, so not undoable.

        Of several of one object the first is the one to work on, the others are shown.
        """
        best: dict[int, PoseData] = {}
        later = [p for p in poses if best.setdefault(p.object_id, p) is not p]
        if origin.startswith("predicted"):  # says all there is of its objects
            others = [p for p in self.further.get(index, []) if p.object_id not in best]
            self.further[index] = [*others, *later]
        for number, pose in best.items():
            self.poses[index, number] = pose
            self.origins[index, number] = origin
        self.posesChanged.emit(index)

    def put_prediction(self, index: int, poses: list[PoseData], origin: str) -> None:
        """What a network says of a frame: another one's poses go, also where it is silent."""
        self.further.pop(index, None)
        for key in [k for k in self.poses if k[0] == index]:
            if self.origins.get(key, "").startswith("predicted"):
                del self.poses[key], self.origins[key]
        self.put_poses(index, poses, origin)

    def put_track(self, run: Path, data: TrackData, *, stopped: bool = False) -> None:
        """Take over a track: its poses everywhere but where a hand has corrected one since.

        Its starts become key frames where there are none yet, so that it can be corrected later.
        """
        self.track = Track.of(run, data, stopped=stopped)
        for key, pose in self.track.starts.items():
            self.keys.setdefault(key, pose)
        mine = self.track.corrected(self.keys)
        for key in [k for k, o in self.origins.items() if o.startswith(TRACKED) and k not in mine]:
            self.poses.pop(key, None)
            del self.origins[key]
        objects = {row.object_id for row in data.rows}
        for index in {row.index for row in data.rows}:
            others = [p for p in self.further.get(index, []) if p.object_id not in objects]
            self.further[index] = others
        for row in data.rows:
            if row.pose is not None and row.instance > 0:
                self.further[row.index].append(row.pose)
            elif row.pose is not None and (row.index, row.object_id) not in mine:
                self._follow(run, (row.index, row.object_id), row.pose)
        self.posesChanged.emit(self.frame_index)
        self.trackChanged.emit()

    def put_tracked(self, run: Path, rows: Iterable[TrackRow]) -> None:
        """Poses of a track that is being made; of several instances the first alone."""
        if self.track is None or self.track.run != run:
            self.track = Track(run)
        here = False
        for row in rows:
            key = (row.index, row.object_id)
            if row.pose is None or row.instance:
                continue
            self.track.states[key] = (row.state, row.confidence)
            if key not in self.keys:
                self._follow(run, key, row.pose)
                here = here or row.index == self.frame_index
        if here:
            self.posesChanged.emit(self.frame_index)
        self.trackChanged.emit()

    def _follow(self, run: Path, key: PoseKey, pose: PoseData) -> None:
        self.poses[key] = pose
        self.origins[key] = f"{TRACKED} {brief(run.name)}, confidence {pose.score:.2f}"

    def forget_key(self, key: PoseKey) -> None:
        """A frame is no key frame any more; its pose stays until it is tracked again."""
        before = self.keys[key]
        self.undo.push(FunctionEdit(
            "Forget key frame", lambda: self._set_key(key, None),
            lambda: self._set_key(key, before),
        ))  # fmt: skip

    def _set_key(self, key: PoseKey, pose: PoseData | None) -> None:
        if pose is None:
            self.keys.pop(key, None)
        else:
            self.keys[key] = pose
        self.trackChanged.emit()

    def edit_pose(self, pose: PoseData, text: str, *, merge: bool = False) -> None:
        """Change a pose on the selected frame by hand; small nudges in a row undo together."""
        key = (self.frame_index, pose.object_id)
        self.undo.push(PoseEdit(self, key, self.poses.get(key), pose, text, merge))

    def edit_pose_at(
        self, key: PoseKey, before: PoseData | None, after: PoseData, text: str, origin: str
    ) -> None:
        """Change a pose of any frame; undo goes back to `before`."""
        self.undo.push(PoseEdit(self, key, before, after, text, False, origin))

    def edit_option(self, name: str, value: Any, text: str) -> None:
        """Change an option of the project; None removes it."""
        before = self.options.get(name)
        if before != value:
            self.undo.push(
                FunctionEdit(
                    text, lambda: self._set_option(name, value),
                    lambda: self._set_option(name, before),
                )
            )  # fmt: skip

    def _set_option(self, name: str, value: Any) -> None:
        if value is None:
            self.options.pop(name, None)
        else:
            self.options[name] = value
        self.optionsChanged.emit()

    def set_pose(
        self, key: PoseKey, pose: PoseData | None, origin: str, placed: PoseData | None
    ) -> None:
        """placed: the pose of a key frame; None: it is none."""
        if pose is None:
            self.poses.pop(key, None)
        else:
            self.poses[key] = pose
        self.origins[key] = origin
        self.posesChanged.emit(key[0])
        self._set_key(key, placed)

    def to_dict(self) -> dict[str, Any]:
        """All that a restart brings back."""
        edited = [
            {"frame": i, "origin": self.origins.get((i, number), ""), **pose.to_dict()}
            for (i, number), pose in self.poses.items()
        ]
        later = [
            {"frame": i, "further": True, **pose.to_dict()}
            for i, poses in self.further.items()
            for pose in poses
        ]
        return {
            "recording": self.recording.root if self.recording else None,
            "models": list(self.model_files.paths),
            "unit": self.unit,
            "runs": [str(r.path) for r in self.runs],
            "run": str(self.run) if self.run else None,
            "frame": self.frame_index,
            "object": self.object_id,
            "step": self.step,
            "options": self.options,
            "poses": [*edited[-2000:], *later[-2000:]],
            "keys": [{"frame": i, **pose.to_dict()} for (i, _), pose in self.keys.items()],
            "track": str(self.track.run) if self.track else None,
        }

    def restore_poses(
        self, rows: list[dict[str, Any]], keys: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Poses and key frames of a saved workspace."""
        for entry in keys:
            self.keys[int(entry["frame"]), int(entry["object_id"])] = PoseData.from_dict(entry)
        for entry in rows:
            key = (int(entry["frame"]), int(entry["object_id"]))
            if entry.get("further"):
                self.further.setdefault(key[0], []).append(PoseData.from_dict(entry))
                continue
            self.poses[key] = PoseData.from_dict(entry)
            self.origins[key] = str(entry.get("origin", ""))
        self.posesChanged.emit(self.frame_index)
        self.trackChanged.emit()


def find_runs(folder: Path) -> list[Path]:
    """Run folders directly inside a folder."""
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and is_run(p))
    except OSError:
        return []
