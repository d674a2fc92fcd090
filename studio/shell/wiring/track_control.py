"""Tracks in the window: live while the job runs, whole when it ends, and what learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject

from self6d.events import Finished, Preview
from self6d.laptop.order import AFTER, BEFORE, COLOURS
from self6d.paths import POSES
from studio.engine import Failure
from studio.engine.types import PoseData, TrackData, TrackRow
from studio.jobs import Job, JobSpec
from studio.jobs.run_info import read_run
from studio.model.track import Track
from studio.panels.stage import Stage
from studio.shell.window import StudioWindow
from studio.tracking.colours import Colours
from studio.tracking.panel import DOUBTFUL, TrackPanel
from studio.tracking.plan import SEARCH, TrackPlan


class TrackControl(QObject):
    """Between the Track tab, the project and the jobs."""

    def __init__(self, window: StudioWindow, stage: Stage, parent: QObject) -> None:
        super().__init__(parent)
        self.window, self.project, self.stage = window, window.project, stage
        self.plan = TrackPlan(self.project, window.settings)
        colours = Colours(self.project, window.settings, window.worker)
        colours.failed.connect(window.show_error)
        colours.kept.connect(self._on_kept)
        colours.useRequested.connect(window.opener.use_models)
        self.panel = TrackPanel(self.project, self.plan, colours)
        self.panel.learnRequested.connect(self.learn)
        self._kept = ""  # why the next learning has no colours
        self.reading = ""  # name of the track that is being read
        project = self.project
        for signal in (project.trackChanged, project.objectChanged, project.recordingChanged):
            signal.connect(self._show_strip)
        project.recordingChanged.connect(self._ask_settings)
        project.runSelected.connect(self._on_run_selected)
        window.opener.trackWanted.connect(self.load)
        window.queue.added.connect(self._on_added)
        window.runs.ended.connect(self._on_ended)

    def track(self) -> None:
        """Follow the objects from where they were placed."""
        self.panel.trackRequested.emit(self.plan.spec())

    def learn(self, track: Path) -> None:
        """Let a network learn a track's poses: what `quick` does after its track, in its order."""
        if COLOURS in self.plan.phases():
            self.panel.colours.take_then(track, lambda models: self._learn(track, models))
        else:
            self._learn(track, self.plan.coloured())

    def _learn(self, track: Path, models: tuple[Path, ...]) -> None:
        """Submit the trainings that are left, each on the network of the one before.

        Args:
            models: with the recording's colours; none: those in use.
        """
        kept, self._kept = self._kept, ""  # nothing said afterwards may cover it
        network, jobs = self.plan.network(), list[Job]()
        for name in (phase for phase in self.plan.phases() if phase != COLOURS):
            start = jobs[-1].run if jobs else network.path if network is not None else None
            spec = self.plan.stage_1(models) if name == BEFORE else None
            if name == AFTER and start is not None:
                spec = self.plan.learning(track, start, new=bool(jobs), coloured=models)
            if spec is None:
                return  # its settings are not known yet
            job = self._submit(spec)
            if not jobs:
                self._follow(job)
            jobs.append(job)
        text = kept
        if len(jobs) > 1:
            first, then = (job.run.name for job in jobs)
            text = (
                f"{kept} {first} trains the smallest network first; {then} then learns the poses."
            )
        if text:
            self.window.banner.say(
                "warn" if kept else "good", text.strip(), about=None if kept else jobs[-1]
            )

    def _on_kept(self, why: str) -> None:
        """The models go on with their own colours."""
        self._kept = why
        self.window.noted.emit("warning", why)

    def load(self, run: Path) -> None:
        """Show a track: its poses on all frames, its strip on the timeline."""
        project, recording, number = self.project, self.project.recording, self.project.number
        if recording is None or not (run / POSES).exists():
            return

        info = read_run(run)
        stopped = info is not None and info.status != "done"

        def arrived(data: TrackData) -> None:
            self.reading = ""
            if number == project.number:
                project.put_track(run, data, stopped=stopped)
            else:
                project.trackChanged.emit()

        def failed(failure: Failure) -> None:
            self.reading = ""
            project.trackChanged.emit()  # who waited for it goes on without
            self.window.show_error(failure)

        self.reading = run.name
        self.window.engine.request("read_track", str(run), recording.root, key="track",
                                   done=arrived, failed=failed)  # fmt: skip

    def take_over(self, spec: JobSpec) -> None:
        """Another run's track, key frames and settings, to correct it and follow it again."""
        more = {
            "preset": spec.preset,
            "seed": spec.seed,
            "device": spec.device,
            "steps": spec.steps,
            "split": spec.split,
            "cut": spec.options.get("cut"),
            "overrides": {k: v for k, v in spec.overrides.items() if k != "models.unit"},
        }
        self.plan.more = {name: value for name, value in more.items() if value}
        self.plan.chosen = None
        if spec.from_run is not None:
            self.plan.chosen = str(spec.from_run)
        elif spec.options.get("search"):
            self.plan.chosen = SEARCH
        self.load(spec.out)
        self.panel.refresh()

    def _submit(self, spec: JobSpec) -> Job:
        job = self.window.runs.submit(spec)
        self.window.noted.emit("info", job.spec.shell())
        return job

    def _follow(self, job: Job) -> None:
        self.window.runs.follow(job)
        self.project.select_run(job.run)
        if job.spec.kind in ("train", "adapt"):
            self.window.show_step("synthetic" if job.spec.kind == "train" else "selfsup")

    def _on_run_selected(self, run: object) -> None:
        if isinstance(run, Path) and (self.project.track is None or self.project.track.run != run):
            info = read_run(run)
            if info is not None and info.kind == "track" and not info.running:
                if self.project.is_of_it(info.provenance.data):
                    self.load(run)
                elif self.project.recording is not None:
                    self.window.say("warn", f"{run.name} is a track of another recording: "
                                    f"{info.provenance.data}")  # fmt: skip

    def _on_added(self, job: Job) -> None:
        if job.spec.kind == "track":
            job.preview.connect(lambda preview: self._on_preview(job, preview))
            job.checkpoint.connect(lambda _: self._on_checkpoint(job))
            if job.state.active:  # it was begun elsewhere: what it has found so far is not here
                job.save_now()  # does nothing where it has just been saved
                self._on_checkpoint(job)

    def _on_preview(self, job: Job, preview: Preview) -> None:
        """A frame that was just looked at."""
        recording = self.project.recording
        if recording is None or not self.window.runs.at_home(job):
            return
        index = recording.index_of(preview.frame)
        if index is not None:
            poses = [PoseData.from_dict(entry) for entry in preview.poses]
            states = ["tracked" if pose.score >= DOUBTFUL else "weak" for pose in poses]
            self.project.put_tracked(job.run, [
                TrackRow(index, pose.object_id, 0, state, pose.score, pose)
                for pose, state in zip(poses, states, strict=True)
            ])  # fmt: skip

    def _on_checkpoint(self, job: Job) -> None:
        """All that it has found: previews tell of some frames alone, and of none before a start."""
        project, number = self.project, self.project.number
        if project.recording is None or not self.window.runs.at_home(job):
            return

        def arrived(rows: tuple[TrackRow, ...]) -> None:
            if number == project.number and not job.state.over:
                project.put_tracked(job.run, rows)

        self.window.worker.request(
            "track_so_far", str(job.run), project.recording.root, key="track so far", done=arrived,
            failed=lambda failure: self.window.noted.emit("warning", failure.one_line()),
        )  # fmt: skip

    def _on_ended(self, job: Job, ending: Finished) -> None:
        if job.spec.kind == "track" and self.window.runs.at_home(job):
            self.load(job.run)

    def _show_strip(self, *_: object) -> None:
        project, track = self.project, self.project.track
        strip = track.strip(project.object_id) if track is not None else {}
        for index, number in self.plan.corrected():  # it does not say how sure these are
            if number == project.object_id:
                strip.pop(index, None)
        for index in self._left(track, project.object_id):
            strip.pop(index, None)
        keys = {index for index, number in project.keys if number == project.object_id}
        self.stage.scrubber.set_track(strip, keys)

    def _left(self, track: Track | None, object_id: int | None) -> list[int]:
        """Frames at which a pose was put back, by undoing, that is not the present track's."""
        poses, origins = self.project.poses, self.project.origins
        return [
            row.index
            for row in (track.rows if track is not None else ())
            if row.object_id == object_id and row.instance == 0
            and poses.get(key := (row.index, row.object_id)) is not row.pose
            and not origins.get(key, "").startswith("predicted")
        ]  # fmt: skip

    def _ask_settings(self) -> None:
        """How `quick` would train on images of this height."""
        recording, number = self.project.recording, self.project.number
        if recording is None:
            return

        def settings(own: tuple[dict[str, Any], dict[str, Any], dict[str, str]]) -> None:
            if number == self.project.number:
                self.plan.own = own
                self.panel.refresh()

        self.window.worker.request(
            "laptop_settings", recording.size[0], key="laptop", done=settings
        )
