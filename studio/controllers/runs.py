"""Runs as the window sees them: starting, following, steering, and looking at old ones."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QUrl, Signal
from PySide6.QtGui import QDesktopServices

from self6d.events import CheckpointSaved, Finished, Note, Preview
from studio.controllers.health_watch import HealthWatch
from studio.engine import Engine, Failure
from studio.engine.history import RunHistory, live_mark
from studio.jobs import Job, JobState
from studio.jobs.queue import JobQueue
from studio.jobs.run_info import NETWORKS, checkpoint_steps, free_name, is_run, read_run
from studio.jobs.spec import JobSpec, spec_from
from studio.model.edits import FunctionEdit
from studio.model.project import Project
from studio.model.settings import Settings
from studio.toolkit.dialogs import copy_text
from studio.toolkit.words import in_window


class RunControl(QObject):
    """Between the queue and the views. One job is followed; its events are passed on.

    Signals:
        historyReady: a RunHistory of a run that is shown; the bool says whether to overlay it.
        previewArrived, scalarsArrived, checkpointArrived, marked: of the followed job; runs are
            named by their folder, as two may bear the same name. checkpointArrived brings the
            steps of all that are on disk now.
        ended: (job, Finished) of any job. discarded: a job that was cancelled.
    """

    followed = Signal(object)
    scalarsArrived = Signal(str, list)
    previewArrived = Signal(object)
    checkpointArrived = Signal(str, list)
    marked = Signal(str, int, str)
    historyReady = Signal(object, bool)
    ended = Signal(object, object)
    discarded = Signal(object)
    noted = Signal(str, str, str)  # level, text, source
    said = Signal(str, str)  # level, text
    failed = Signal(object)
    duplicateWanted = Signal(object)
    predictWanted = Signal(object)
    packWanted = Signal(object)
    settingsWanted = Signal(object, object)  # RunInfo, JobSpec

    def __init__(
        self,
        project: Project,
        settings: Settings,
        queue: JobQueue,
        engine: Engine,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.project, self.settings, self.queue, self.engine = project, settings, queue, engine
        self.job: Job | None = None
        self._cancelled: set[Job] = set()
        self._home: dict[Job, int] = {}  # number of the project each job was set up from
        self.health = HealthWatch(self)
        queue.added.connect(self._on_added)
        queue.changed.connect(self._on_changed)
        queue.removed.connect(lambda job: self._home.pop(job, None))
        project.left.connect(self._on_left)
        project.recordingChanged.connect(self._on_recording)

    def submit(self, spec: JobSpec) -> Job:
        """Start (or queue) a run; it gets a folder that no job before it will make.

        Returns:
            its job; the one that does exactly this already, which is said, if there is one.
        """
        if spec.resume:
            return self.queue.submit(spec, self.settings.runner)
        for job in self.queue.jobs:
            if not job.state.over and replace(job.spec, out=spec.out, resume=False) == spec:
                self.said.emit(
                    "warn",
                    f"{job.run.name} does exactly this already, so that it was not started twice; "
                    "another seed, say, makes another run.",
                )
                return job
        return self.queue.submit(self.again(spec), self.settings.runner)

    def again(self, spec: JobSpec) -> JobSpec:
        """The same run once more, in a folder that is free and that no job here will make."""
        return again(spec, [job.run for job in self.queue.jobs if not job.state.over])

    def copy(self, spec: JobSpec) -> None:
        """The command of a run to make, for a terminal."""
        spec = self.again(spec)
        copy_text(spec.shell())
        self.said.emit("good", f"In the clipboard: the command that makes {spec.out.name}.")

    def follow(self, job: Job | None) -> None:
        """Pass this job's events on from now, instead of another's."""
        if job is not self.job:
            self.job = job
            self.followed.emit(job)
            if job is not None and is_run(job.run):
                self.show(job.run)

    def toggle_pause(self) -> None:
        if self.job is not None and self.job.state is JobState.PAUSED:
            self.job.resume()
        elif self.job is not None:
            self.job.pause()

    def stop(self, rung: str = "stop") -> None:
        """One rung of the ladder: "stop" (save first), "terminate", "kill"."""
        if self.job is not None and self.job.state.active:
            getattr(self.job, rung)()

    def cancel(self, job: Job) -> None:
        """End a job and delete the folder it made, once its process is gone."""
        if job.state.active and job.discardable:
            self._cancelled.add(job)
            job.kill()

    def save_now(self) -> None:
        if self.job is not None and self.job.state.active:
            self.job.save_now()

    def set_weight(self, term: str, value: float) -> None:
        """Change a loss weight of the followed job; its note of when marks the curve."""
        if self.job is not None and self.job.state.active:
            self.job.set_live({f"loss.{term}": value})

    def show(self, run: Path, *, overlay: bool = False) -> None:
        """Load a run's curves, checkpoints and previews."""
        number = self.project.number

        def arrived(history: RunHistory) -> None:
            followed = self.job is not None and self.job.run == run
            if followed or number == self.project.number:
                self.historyReady.emit(history, overlay)

        self.engine.request("history", str(run), key=f"history {run}", failed=self.failed.emit,
                            done=arrived)  # fmt: skip

    def look_at(self, run: Path) -> None:
        """Show a run that was opened; one that some process works on is followed."""
        info = read_run(run)
        at_work = info is not None and info.running
        job = self.queue.attach(run) if at_work else self.queue.find(run)
        other_active = self.job is not None and self.job.state.active and self.job.run != run
        if job is not None and (job.state.active or not other_active):
            self.follow(job)
        if is_run(run):
            self.show(run, overlay=other_active)
        else:
            self.noted.emit("info", "waits for its turn: there is nothing to show yet", run.name)

    def start_again(self, job: Job) -> None:
        """After a collapse: stop the job and offer a new run from its best checkpoint."""
        spec = self.spec_of(job.run)
        job.stop()
        if spec is not None:
            self.duplicateWanted.emit(replace(spec, from_run=job.run, resume=False))

    def attach_running(self) -> list[Job]:
        """Follow runs of the project that some process still works on."""
        jobs = []
        for info in list(self.project.runs):
            fresh = self.project.add_run(info.path)
            if fresh is not None and fresh.running:
                job = self.queue.attach(info.path)
                if job is not None:
                    jobs.append(job)
        return jobs

    def act(self, action: str, run: Path) -> None:
        """What the tree's menu offers; see `ProjectTree.menu_for`."""
        if action == "open":
            self.project.select_run(run)
            self.look_at(run)
        elif action == "curves":
            self.show(run, overlay=True)
        elif action == "resume":
            self.resume_run(run)
        elif action == "attach":
            self.queue.attach(run)
        elif action == "duplicate":
            spec = self.spec_of(run)
            if spec is not None:
                self.duplicateWanted.emit(spec)
        elif action == "pack":
            spec = self.spec_of(run)
            if spec is not None:
                self.packWanted.emit(self.again(spec))
        elif action == "settings":
            spec, info = self.spec_of(run), read_run(run)
            if spec is not None and info is not None:
                self.settingsWanted.emit(info, spec)
        elif action == "predict":
            self.predictWanted.emit(run)
        elif action == "copy":
            spec = self.spec_of(run)
            if spec is not None:
                self.copy(spec)
        elif action == "folder":
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(run)))
        elif action == "forget":
            project = self.project
            project.undo.push(FunctionEdit(
                "Take run off the list",
                lambda: project.forget_run(run), lambda: project.add_run(run),
            ))  # fmt: skip

    def resume_run(self, run: Path) -> Job | None:
        """Go on from the newest checkpoint; None where that cannot be, which is said."""
        known = self.queue.under_way(run)
        if known is not None:
            waits = known.state is JobState.QUEUED
            what = "is resumed already: it waits for its turn" if waits else "is at work already"
            self.failed.emit(Failure(what, path=str(run), remedy="See the tab Jobs."))
            return None
        spec = self.spec_of(run)
        if spec is None:
            return None
        if not spec.resumable:
            what = f"a run of {spec.title} is not resumed"
            self.failed.emit(Failure(what, path=str(run), remedy="Duplicate it instead."))
            return None
        return self.submit(replace(spec, resume=True))

    def spec_of(self, run: Path) -> JobSpec | None:
        """The run's settings, from the job that made it or from its own provenance."""
        job, info = self.queue.find(run), read_run(run)
        spec = job.spec if job is not None else spec_from(info) if info is not None else None
        if spec is None:
            self.failed.emit(Failure("not a run folder", path=str(run)))
            return None
        lacks = spec.lacks()
        if lacks:
            what = f"its run.json does not tell the whole command: {', '.join(lacks)} missing"
            remedy = "Start it from the command that made it, or set up a new run."
            self.failed.emit(Failure(what, path=str(run), remedy=remedy))
            return None
        return spec

    def at_home(self, job: Job) -> bool:
        """Whether a job belongs to what is open."""
        return self._home.get(job) == self.project.number

    def _list(self, job: Job) -> None:
        """Read its run again for the project that it belongs to, or that lists it."""
        if self.at_home(job) or any(run.path == job.run for run in self.project.runs):
            self.project.add_run(job.run)

    def _on_left(self) -> None:
        """A job that is over goes with its project; one at work is still told of."""
        if self.job is not None and not self.job.state.active:
            self.follow(None)

    def _on_recording(self) -> None:
        """Back at the recording that a job works on: it belongs to what is open again."""
        for job in self.queue.jobs:
            spec, home = job.spec, self.at_home(job)
            data = spec.data or spec.options.get("camera")
            if not job.state.over and not home and self.project.is_of_it(data):
                self._home[job] = self.project.number
                if job is self.job:
                    self.job = None
                    self.follow(job)  # once more: the panels take over what it has by now

    def _on_added(self, job: Job) -> None:
        project, data = self.project, job.spec.data
        # one that is resumed or attached may work on another recording than the open one
        if project.recording is None or data is None or project.is_of_it(data):
            self._home[job] = project.number
        scalars = self.scalarsArrived
        job.scalars.connect(lambda batch: self._pass(job, scalars, str(job.run), batch))
        job.preview.connect(lambda preview: self._on_preview(job, preview))
        job.checkpoint.connect(lambda saved: self._on_checkpoint(job, saved))
        job.note.connect(lambda note: self._on_note(job, note))
        job.finished.connect(lambda ending: self._on_finished(job, ending))
        if job.spec.kind == "adapt":
            self.health.watch(job)
        if self.job is None or self.job.state.over:
            self.follow(job)

    def _on_changed(self, job: Job) -> None:
        if job.state.active and (self.job is None or self.job.state.over):
            before = self.job
            self.follow(job)
            if before is not None and job.spec.from_run == before.run == self.project.run:
                self.project.select_run(job.run)  # it goes on from there: export would offer that
        if job.state in (JobState.RUNNING, JobState.PAUSED):
            self._list(job)

    def _pass(self, job: Job, signal: Any, *args: object) -> None:
        if job is self.job:
            signal.emit(*args)

    def _on_preview(self, job: Job, preview: Preview) -> None:
        self._pass(job, self.previewArrived, preview)

    def _on_checkpoint(self, job: Job, saved: CheckpointSaved) -> None:
        if job.spec.kind in NETWORKS:
            self._pass(job, self.checkpointArrived, str(job.run), checkpoint_steps(job.run))
        self._list(job)  # its checkpoints are offered as layers
        self.noted.emit("info", f"checkpoint saved at step {saved.step}", job.run.name)

    def _on_note(self, job: Job, note: Note) -> None:
        self.noted.emit(note.level, in_window(note.text), job.run.name)
        mark = live_mark(note)
        if mark is not None:
            self._pass(job, self.marked, str(job.run), *mark)

    def _discard(self, job: Job) -> None:
        self._cancelled.discard(job)
        self.project.forget_run(job.run)
        if self.job is job:
            self.follow(None)
        try:
            if job.run.exists():
                shutil.rmtree(job.run)
        except OSError as error:
            self.failed.emit(Failure(f"could not be deleted ({error.strerror})", path=str(job.run)))
        self.noted.emit("info", "cancelled and discarded", job.run.name)
        self.discarded.emit(job)

    def _on_finished(self, job: Job, ending: Finished) -> None:
        if job in self._cancelled:
            self._discard(job)
            return
        self._list(job)
        level = "info" if ending.reason in ("done", "stopped") else "error"
        self.noted.emit(level, f"{ending.reason} at step {ending.step}", job.run.name)
        self.ended.emit(job, ending)


def again(spec: JobSpec, taken: Collection[Path] = ()) -> JobSpec:
    """The same run once more, in a folder that is free."""
    if not spec.out.exists() and spec.out not in taken:
        return spec
    stem = re.sub(r"-\d\d$", "", spec.out.name)
    return replace(spec, out=free_name(spec.out.parent, stem, taken), resume=False)
