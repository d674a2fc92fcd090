"""What comes next, in a sentence with its button: no step is a dead end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer

from studio.jobs.run_info import RunInfo, brief, read_run
from studio.model.machine import has_gpu
from studio.panels.evaluate_page import EvaluatePage
from studio.panels.export_page import ExportPage
from studio.posing.panel import PosePanel
from studio.shell.window import StudioWindow
from studio.shell.wiring.track_control import TrackControl
from studio.tracking.panel import DOUBTFUL
from studio.training.panel import RunPanel

Suggestion = tuple[str, str, Callable[[], object]]  # sentence, button, what it does


class NextStep(QObject):
    """Keeps the job bar's suggestion up to date while nothing runs."""

    def __init__(
        self, window: StudioWindow, train: RunPanel, adapt: RunPanel, evaluate: EvaluatePage,
        export: ExportPage, tracking: TrackControl, posing: PosePanel, parent: QObject,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self.window, self.train, self.adapt = window, train, adapt
        self.evaluate, self.export, self.tracking = evaluate, export, tracking
        self.posing = posing
        project = window.project
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self.refresh)
        changes = (
            project.recordingChanged, project.modelsChanged, project.runsChanged,
            project.stepChanged, project.optionsChanged, project.trackChanged,
            project.posesChanged, evaluate.evaluated, evaluate.busyChanged,
            evaluate.chosenChanged, export.exported, export.busyChanged, export.chosenChanged,
            posing.editToggled, posing.searching.changed, posing.placing.changed,
            tracking.panel.colours.changed, tracking.panel.colours.came, train.problemChanged,
            adapt.problemChanged,
        )  # fmt: skip
        for signal in changes:
            signal.connect(lambda *_: self._soon.start())
        window.queue.changed.connect(lambda job: self._soon.start())
        self._soon.start()

    def refresh(self) -> None:
        """Say what comes next; without a GPU stage 1 is offered beside it."""
        bar, window = self.window.job_bar, self.window
        bar.suggest(*(self.next() or ("", "", lambda: None)))
        there = self._placing() and window.project.step != "synthetic"
        bar.offer("Go to stage 1" if there else "", lambda: window.show_step("synthetic"))

    def next(self) -> Suggestion | None:
        """The first thing that is missing on the way to an exported network; None at the start."""
        window, project = self.window, self.window.project
        if project.recording is None and not project.model_paths:
            if project.step == "data":
                return None  # the welcome page says what to do
            return "Next: open what you have.", "Go to Data", lambda: window.show_step("data")
        if project.awaits_models:
            return "The CAD models are being read.", "", lambda: None
        if not project.model_paths:
            return ("Next: the CAD models of your objects.", "Open CAD models…",
                    window.choosers.models)  # fmt: skip
        at_work = self._at_work()
        if at_work is not None:
            return at_work
        fitting = [r for r in project.networks() if not project.misfit(r.path)]
        usable = [r for r in fitting if r.status in ("done", "stopped")]
        if self._placing():
            return self._without_gpu()
        if not usable:
            text = "Next: train on rendered images (stage 1)."
            return self._run_of("synthetic", self.train, text, "Go to stage 1")
        if project.recording is None:
            theirs = self._recording_of_runs()
            if theirs is not None:
                return (f"Next: {theirs.name}, the recording of these runs.", f"Open {theirs.name}",
                        partial(window.opener.open_recording, theirs))  # fmt: skip
            return ("Next: a recording of your camera to adapt to, without labels.",
                    "Open a recording…", window.choosers.recording)  # fmt: skip
        adapted = [r for r in usable if r.kind == "adapt" and project.is_of_it(r.provenance.data)]
        if not adapted:
            newest = usable[-1]
            halted = self._halted()
            if halted is not None:
                return halted
            if self._learnable():
                return self._learn()
            why = self._too_weak(newest)
            if why and newest.can_resume:
                stopped = f"{brief(newest.name)}, stopped at step {newest.step}"
                return (f"Next: go on with {stopped}; its poses are not right yet.", "Resume",
                        partial(window.runs.resume_run, newest.path))  # fmt: skip
            if why:
                text = f"Next: train longer or with other settings; {why}."
                return self._run_of("synthetic", self.train, text, "Go to stage 1")
            name = brief(newest.name)
            return self._run_of(
                "selfsup", self.adapt, f"Next: adapt {name} to this recording, without labels.",
                "Go to stage 2",
            )  # fmt: skip
        last = max(adapted, key=lambda r: r.created).path
        unscored = not self.evaluate.is_scored(last)
        if project.recording.has_truth and unscored and last in self.evaluate.chosen():
            text = "Next: score the runs on the labelled frames."
            if project.step != "evaluate":
                return text, "Go to Evaluate", lambda: window.show_step("evaluate")
            return text, "Evaluate", self.evaluate.go.click
        if project.step == "export":
            written = self.export.written
            if written is not None and self.export.packed == self.export.chosen():
                return f"Written: {written}", "Show folder", self.export.show_folder.click
            return ("Next: write the network's package.", self.export.package.text(),
                    self.export.package.click)  # fmt: skip
        return "Next: take the network with you.", "Go to Export", partial(self._take_away, last)

    def _take_away(self, adapted: Path) -> None:
        """The export page offers the selected run: stage 1, whose training ended last, or any."""
        self.window.project.select_run(adapted)
        self.window.show_step("export")

    def _recording_of_runs(self) -> Path | None:
        """What the newest run that tells it worked on, where it is still there."""
        told = (run.provenance.data for run in reversed(self.window.project.runs))
        return next((Path(data) for data in told if data and Path(data).exists()), None)

    def _at_work(self) -> Suggestion | None:
        """What the window itself is busy with: it is not offered again meanwhile."""
        window, step = self.window, self.window.project.step
        if self.evaluate.unfinished():
            there = "Go to Evaluate" if step != "evaluate" else ""
            return ("The runs are being scored on the labelled frames.", there,
                    lambda: window.show_step("evaluate"))  # fmt: skip
        doing = self.export.unfinished()
        if doing:
            there = "Go to Export" if step != "export" else ""
            return (f"{doing[0].capitalize()} is being written.", there,
                    lambda: window.show_step("export"))  # fmt: skip
        colours = self.tracking.panel.colours
        if colours.under_way:
            return colours.under_way, "Cancel", colours.stop
        searching = self.posing.searching
        if searching.under_way:
            return searching.told, "Cancel", searching.cancelled.emit
        if self.tracking.reading:  # else it would be made once more
            return f"Reading the poses of {brief(self.tracking.reading)}.", "", lambda: None
        if self.posing.placing.told:
            return self.posing.placing.told, "", lambda: None
        return None

    def _placing(self) -> bool:
        """Whether the way of those without a GPU is the one to propose: there is no network yet."""
        project, tracking = self.window.project, self.tracking
        usable = any(
            r.status in ("done", "stopped") and not project.misfit(r.path)
            for r in project.networks()
        )
        able = not has_gpu() and not tracking.plan.unable()
        return able and not usable and project.step != "synthetic"

    def _without_gpu(self) -> Suggestion:
        """Place, track, learn: minutes on two cores where stage 1 alone takes hours."""
        panel, project = self.tracking.panel, self.window.project
        halted = self._halted()
        if halted is not None:
            return halted
        behind = self.tracking.plan.behind()
        if behind is not None:
            return self.tracking.plan.behind_told(), "Show it", partial(self._show_key, *behind)
        if self._learnable():
            return self._learn()
        if self._lost():
            return ("Next: place the object on another frame; from where it was, it is lost.",
                    "Place the object", panel.placeRequested.emit)  # fmt: skip
        if project.keys:
            return ("Next: follow the object from there through the recording.", "Track",
                    self.tracking.track)  # fmt: skip
        if self.posing.edit.isChecked() and self.posing.search.isEnabled():
            return ("Next: click the object in the picture, or let it be searched for.",
                    self.posing.search.text(), self.posing.search.click)  # fmt: skip
        return ("Next, without a GPU: place the object on one frame; it is tracked from there.",
                "Place the object", panel.placeRequested.emit)  # fmt: skip

    def _show_key(self, index: int, number: int) -> None:
        """Go where an object was placed, ready to place it anew."""
        self.window.project.select_frame(index)
        self.window.project.select_object(number)
        self.tracking.panel.placeRequested.emit()

    def _halted(self) -> Suggestion | None:
        """To go on with a track that has not come to all frames; None where there is none."""
        track = self.window.project.track
        if track is None or not track.stopped or self.tracking.plan.corrected():
            return None
        run = read_run(track.run)
        if run is None or not run.can_resume:
            return None
        stopped = f"{brief(run.name)}, stopped at step {run.step} of {run.total}"
        return (f"Next: follow the rest of the frames with {stopped}.", "Resume",
                partial(self.window.runs.resume_run, track.run))  # fmt: skip

    def _learnable(self) -> bool:
        """Whether there are tracked poses that a network can learn without a GPU."""
        panel, project = self.tracking.panel, self.window.project
        return not has_gpu() and project.track is not None and panel.learn.isEnabled()

    def _learn(self) -> Suggestion:
        panel = self.tracking.panel
        if self.tracking.plan.corrected():
            return ("Next: follow the corrected frames again, then a network learns the poses.",
                    panel.again.text(), panel.again.click)  # fmt: skip
        first = self.tracking.plan.unfinished_stage_1()
        if first is not None:
            stopped = f"{brief(first.name)}, stopped at step {first.step} of {first.total}"
            return (f"Next: go on with {stopped}; then a network learns the tracked poses.",
                    "Resume", partial(self.window.runs.resume_run, first.path))  # fmt: skip
        track = self.window.project.track
        sure = track.sure(DOUBTFUL) if track is not None else 0
        doubtful = len(track.rows) - sure if track is not None else 0
        text = "Next: a network learns the tracked poses; no GPU is needed."
        if doubtful:  # said where it is not looked for: the Track tab may never have been open
            left_out = "1 doubtful one is" if doubtful == 1 else f"{doubtful} doubtful ones are"
            text = f"Next: a network learns the {sure} sure poses; {left_out} left out, see Track."
        return text, panel.learn.text(), panel.learn.click

    def _lost(self) -> bool:
        """Whether nothing sure came of following from the present key frames."""
        project = self.window.project
        track = project.track
        return (track is not None and bool(track.rows) and not track.sure(DOUBTFUL)
                and not track.corrected(project.keys))  # fmt: skip

    def _too_weak(self, network: RunInfo) -> str:
        """Why there is nothing in a network to adapt; "" where there is."""
        if network.found_nothing:
            return f"not one pose of {brief(network.name)} is right on its own validation images"
        failed = [r for r in self.window.project.runs_of("adapt") if r.status == "failed"]
        if failed and "finds none of its objects" in (failed[-1].error or ""):
            return f"{brief(network.name)} finds none of its objects in the frames"
        return ""

    def _run_of(self, step: str, panel: RunPanel, text: str, there: str) -> Suggestion:
        """Go to a run's step or, on it, start the run."""
        if self.window.project.step != step:
            return text, there, lambda: self.window.show_step(step)
        if panel.run_button.isEnabled():
            return text, panel.run_button.text(), panel.run_button.click
        return f"{text} {panel.problem.text()}", "", lambda: None
