"""Opening things: recordings, CAD, runs, the sample; whatever was dropped; the last workspace."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from self6d.paths import SAMPLE_STAGE_1, find_resource, user_state
from studio.controllers.glance import BAGS
from studio.controllers.last_time import bring_back, keep_edits
from studio.engine import Engine, Failure
from studio.engine.recognise import Found
from studio.engine.types import (
    SAMPLE_EVAL,
    SAMPLE_FRAMES,
    BagTopics,
    ModelCard,
    ModelFiles,
    RecordingInfo,
)
from studio.jobs.run_info import is_run, read_run
from studio.model.edits import FunctionEdit
from studio.model.project import Project, find_runs
from studio.model.settings import Settings


class Opener(QObject):
    """Asks the helper process what things are and puts them into the project."""

    failed = Signal(object)  # Failure
    trackWanted = Signal(object)  # folder of a track that was shown at the last end
    said = Signal(str, str)  # level, text
    progress = Signal(str, int, int)  # what, done, total; total 0: over
    opened = Signal(str)  # "recording", "models" or "run"
    topicsOffered = Signal(object)  # BagTopics

    def __init__(
        self, project: Project, settings: Settings, engine: Engine, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.project, self.settings, self.engine = project, settings, engine
        self._left_out = ""  # of what was to be opened last, in words

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Open whatever these are: a drop, or the command line."""
        paths = [path.absolute() for path in paths]  # runs, and the next start, name them so
        names, self._left_out = [str(p) for p in paths], ""
        if len(paths) == 1 and paths[0].suffix.lower() in BAGS:
            self.ask_topics(paths[0], always=False)
            return
        self.engine.request("recognise", names, done=self._on_recognised, failed=self.failed.emit)

    def open_sample(self) -> None:
        """Open the generated sample, making it first where it is not there yet."""
        out = user_state() / "sample"
        text = "Generating the sample's frames"
        self.progress.emit(text, 0, SAMPLE_FRAMES + SAMPLE_EVAL + SAMPLE_EVAL // 2)

        def finished(path: str) -> None:
            self.progress.emit("", 0, 0)
            self.open_recording(Path(path), [Path(path) / "models"], self._add_shipped)

        def failed(failure: Failure) -> None:
            self.progress.emit("", 0, 0)
            self.failed.emit(failure)

        self.engine.request(
            "make_sample", str(out), done=finished, failed=failed, key="sample",
            partial=lambda got: self.progress.emit(text, *got),
        )  # fmt: skip

    def _add_shipped(self) -> None:
        """The sample's trained stage 1, as a run of the user's own."""
        shipped, copy = find_resource(SAMPLE_STAGE_1), self.settings.runs_folder / "sample-stage1"
        if shipped is None:
            return
        try:
            if not is_run(copy):
                shutil.copytree(shipped, copy, dirs_exist_ok=True)
        except OSError as error:
            self.said.emit("warn", f"The sample's trained stage 1 could not be copied: {error}")
            return
        self.project.add_run(copy)

    def ask_topics(self, path: Path, *, always: bool = True) -> None:
        """Offer the topics of a bag, see `topicsOffered`.

        Args:
            always: False: open it at once where there is nothing to choose.
        """

        def arrived(offer: BagTopics) -> None:
            one = len(offer.colours) == 1 and len(offer.depths) <= 1 and offer.colour
            if always or not one:
                self.topicsOffered.emit(offer)
            else:
                self.open_bag(offer, offer.colour, offer.depth, offer.info)

        self.engine.request("bag_topics", str(path), key="topics", done=arrived,
                            failed=self.failed.emit)  # fmt: skip

    def open_bag(self, offer: BagTopics, colour: str, depth: str, info: str) -> None:
        """Open a bag by topics; another choice than it stands is kept beside it."""
        path = Path(offer.path)

        def opened(file: str | None = None) -> None:
            if file is not None:
                self.said.emit("good", f"The choice of topics is kept in {file}")
            self.open_recording(path)

        if (colour, depth, info) == (offer.colour, offer.depth, offer.info):
            opened()
        else:
            self.engine.request("choose_topics", offer.path, colour, depth, info, key="topics",
                                done=opened, failed=self.failed.emit)  # fmt: skip

    def open_recording(
        self,
        path: Path,
        models: Sequence[Path] = (),
        after: Callable[[], None] | None = None,
        unit: str = "auto",
        *,
        runs: bool = True,
    ) -> None:
        """Open a recording; its own CAD models come with it unless others are named.

        Models that were opened before any recording stay; those of another recording go with it.

        Args:
            runs: list those of the runs folder that learned from it, or for its camera.
        """

        def ready() -> None:
            bring_back(self.project, self.settings, self.said.emit, self.trackWanted.emit)
            if after is not None:
                after()

        def arrived(info: RecordingInfo) -> None:
            project = self.project
            keep_edits(project, self.settings)
            if project.recording is not None and project.recording.root != info.root:
                project.leave()
            own = [Path(info.models)] if info.models else []
            wanted = list(models) or project.model_paths or own
            read_in = unit if models else project.unit
            if not wanted and runs:
                wanted, read_in = self._models_of_last_time(info.root)
            project.awaits_models = bool(wanted)
            project.set_recording(info)
            if runs:
                self._list_runs_of(info.root)
            self.opened.emit("recording")
            if wanted:
                self.load_models(wanted, ready if runs else after, read_in)
            else:
                self._remember()
                if after is not None:
                    after()

        self.engine.request("open_recording", str(path), key="open", done=arrived,
                            failed=self.failed.emit)  # fmt: skip

    def open_again(self) -> None:
        """List the frames of the open recording anew.

        Where those listed so far are there still, at their places, what was done with them stays.
        """
        listed, project = self.project.recording, self.project
        if listed is None:
            return

        def arrived(info: RecordingInfo) -> None:
            if project.recording is not listed:
                return
            if info.keys[: len(listed)] == listed.keys:
                project.swap_recording(info)
            else:
                self.open_recording(Path(listed.root), project.model_paths, unit=project.unit)

        self.engine.request("open_recording", listed.root, key="open", done=arrived,
                            failed=self.failed.emit)  # fmt: skip

    def load_models(
        self,
        paths: Sequence[Path],
        after: Callable[[], None] | None = None,
        unit: str = "auto",
    ) -> None:
        """Replace the models; not undoable (it comes with opening something)."""
        begun = self.project.step

        def arrived(models: list[ModelCard]) -> None:
            self.project.set_models(list(paths), models, unit)
            self._remember()
            if self.project.step == begun:  # else the user is somewhere else by now
                self.opened.emit("models")
            if after is not None:
                after()

        self._load(paths, unit, arrived)

    def read_in(self, unit: str) -> None:
        """Read the CAD files in another unit ("auto": as they state, else guessed); undoable."""
        project, paths = self.project, self.project.model_paths
        before, infos_before = project.unit, project.models
        if unit == before or not paths:
            return

        def arrived(models: list[ModelCard]) -> None:
            project.undo.push(FunctionEdit(
                f"CAD unit {unit}",
                lambda: project.set_models(paths, models, unit),
                lambda: project.set_models(paths, infos_before, before),
            ))  # fmt: skip
            self._remember()

        self._load(paths, unit, arrived)

    def use_models(self, folder: Path) -> None:
        """Other files for the same objects, such as coloured ones; undoable."""
        project = self.project
        before = (list(project.model_paths), project.models, project.unit)

        def arrived(models: list[ModelCard]) -> None:
            project.undo.push(FunctionEdit(
                f"Use {folder.name}",
                lambda: project.set_models([folder], models),
                lambda: project.set_models(*before),
            ))  # fmt: skip
            self._remember()

        self._load([folder], "auto", arrived)

    def add_models(self, paths: Sequence[Path]) -> None:
        """Add CAD files to those that are open; undoable."""
        before = list(self.project.model_paths)
        wanted = [*before, *(p for p in paths if p not in before)]
        infos_before, unit = list(self.project.models), self.project.unit

        def arrived(models: list[ModelCard]) -> None:
            project = self.project
            # several folders and files become files, as the command line wants them
            after = [Path(m.source) for m in models] if len(wanted) > 1 else wanted
            project.undo.push(FunctionEdit(
                "Add CAD models",
                lambda: project.set_models(after, models, unit),
                lambda: project.set_models(before, infos_before, unit),
            ))  # fmt: skip
            self._remember()
            self.opened.emit("models")

        self._load(wanted, unit, arrived)

    def open_run(self, path: Path, *, models: bool = True) -> None:
        """Open a run, or what a folder of runs holds; `models`: its copy too, where none are."""
        if not is_run(path) and find_runs(path):
            self.open_paths([path])
            return
        info = self.project.add_run(path)
        if info is None:
            self.failed.emit(
                Failure(
                    "not a run folder (no run.json)",
                    path=str(path),
                    remedy="Choose a folder that a training run wrote.",
                )
            )
            return
        self.project.select_run(path)
        self.opened.emit("run")
        copied = path / "models"
        if models and not self.project.model_paths and copied.is_dir():
            self.load_models([copied])

    def find_runs(self) -> None:
        """List the runs in the runs folder."""
        for path in find_runs(self.settings.runs_folder):
            self.project.add_run(path)

    def _models_of_last_time(self, root: str) -> tuple[list[Path], str]:
        """The CAD files a recording was looked at with before, and their unit."""
        for entry in self.settings.recent():
            files = [Path(name) for name in entry["models"]]
            if entry["recording"] == root and files and all(map(Path.exists, files)):
                names = ", ".join(file.name for file in files)
                self.said.emit("good", f"With the CAD models of last time: {names}.")
                return files, entry.get("unit", "auto")
        return [], "auto"

    def _list_runs_of(self, root: str) -> None:
        """Those of a recording, from the runs folder and from beside it; all that lie in it."""
        for path in find_runs(Path(root)):
            self.project.add_run(path)
        folders = dict.fromkeys((self.settings.runs_folder, Path(root).parent))
        for path in (run for folder in folders for run in find_runs(folder)):
            info = read_run(path)
            told = None if info is None else info.provenance
            if told is not None and any(map(self.project.is_of_it, (told.data, told.camera))):
                self.project.add_run(path)

    def restore(self, state: dict[str, Any], after: Callable[[], None]) -> None:
        """Bring a saved workspace back; what is gone meanwhile is left out and said."""
        for name in [*state.get("runs", []), *state.get("jobs", [])]:
            self.project.add_run(Path(name))
        recording = state.get("recording")
        models = [Path(m) for m in state.get("models", []) if Path(m).exists()]
        unit = str(state.get("unit", "auto"))
        begun = self.project.step

        def finish() -> None:
            project = self.project
            project.options.update(state.get("options", {}))
            project.optionsChanged.emit()
            project.restore_poses(state.get("poses", []), state.get("keys", []))
            project.select_frame(int(state.get("frame", 0)))
            if project.model(state.get("object")) is not None:
                project.select_object(state["object"])
            if state.get("track"):
                self.trackWanted.emit(Path(state["track"]))
            if state.get("run") and Path(state["run"]).exists():
                project.select_run(Path(state["run"]))
            if project.step == begun:  # else the user is somewhere else by now
                project.select_step(str(state.get("step", "data")))
            after()

        if recording and Path(recording).exists():
            self.open_recording(Path(recording), models, finish, unit, runs=False)
        elif models:
            self.load_models(models, finish, unit)
        elif recording:
            self.said.emit("warn", f"The recording {recording} is not there any more.")
            finish()
        else:
            finish()

    def _load(
        self, paths: Sequence[Path], unit: str, done: Callable[[list[ModelCard]], None]
    ) -> None:
        def failed(failure: Failure) -> None:
            self.project.awaits_models = False
            self.project.modelsChanged.emit()  # whoever showed the choice goes back to what is so
            remedy = f"{failure.remedy or ''} {self._left_out}".strip()  # which this would cover
            self.failed.emit(replace(failure, remedy=remedy or None))

        files = ModelFiles(tuple(map(str, paths)), unit)
        self.engine.request("load_models", files, key="models", done=done, failed=failed)

    def _on_recognised(self, found: list[Found]) -> None:
        recordings = [Path(f.path) for f in found if f.kind == "recording"]
        models = [Path(f.path) for f in found if f.kind == "model"]
        refused = [f for f in found if f.kind == "refused"]
        for item in found:
            if item.kind != "refused":
                self.settings.keep_place(item.kind, Path(item.path).parent)
            if item.kind == "run":
                self.open_run(Path(item.path), models=not models)
        told = []  # in one banner: another would cover the one before
        if refused:
            names = ", ".join(Path(f.path).name for f in refused[1:])
            more = f" Nor can these be opened: {names}." if names else ""
            told.append(f"Not opened: {refused[0].reason}{more}")
        if len(recordings) > 1:
            names = ", ".join(path.name for path in recordings[1:])
            told.append(f"One recording at a time: opened {recordings[0].name}, left out {names}.")
        self._left_out = " ".join(told)
        if told and len(refused) < len(found):  # an error would go when the rest is open
            self.said.emit("warn", " ".join(told))
        elif told:
            self.failed.emit(Failure(told[0]))
        if recordings:
            self.open_recording(recordings[0], models)
        elif models:
            self.add_models(models)

    def _remember(self) -> None:
        path = self.project.recording_path
        if path is not None:
            self.settings.add_recent(path, self.project.model_paths, self.project.unit)
