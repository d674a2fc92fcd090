"""What comes next, in a sentence with its button: no step is a dead end."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

from studio.panels.evaluate_page import EvaluatePage
from studio.panels.run_panel import RunPanel
from studio.shell.window import StudioWindow

Suggestion = tuple[str, str, Callable[[], object]]  # sentence, button, what it does


class NextStep(QObject):
    """Keeps the job bar's suggestion up to date while nothing runs."""

    def __init__(
        self, window: StudioWindow, train: RunPanel, adapt: RunPanel, evaluate: EvaluatePage,
        parent: QObject,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self.window, self.train, self.adapt, self.evaluate = window, train, adapt, evaluate
        project = window.project
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self.refresh)
        changes = (
            project.recordingChanged, project.modelsChanged, project.runsChanged,
            project.stepChanged, project.optionsChanged, evaluate.evaluated,
        )  # fmt: skip
        for signal in changes:
            signal.connect(lambda *_: self._soon.start())
        window.queue.changed.connect(lambda job: self._soon.start())
        self._soon.start()

    def refresh(self) -> None:
        self.window.job_bar.suggest(*(self.next() or ("", "", lambda: None)))

    def next(self) -> Suggestion | None:
        """The first thing that is missing on the way to an exported network; None at the start."""
        window, project = self.window, self.window.project
        if project.recording is None and not project.model_paths:
            return None  # the welcome page says what to do
        if not project.model_paths:
            return ("Next: the CAD models of your objects.", "Open CAD models…",
                    window.choosers.models)  # fmt: skip
        fitting = [r for r in project.networks() if not project.misfit(r.path)]
        usable = [r for r in fitting if r.status in ("done", "stopped")]
        if not usable:
            text = "Next: train on rendered images (stage 1)."
            return self._run_of("synthetic", self.train, text, "Go to stage 1")
        if project.recording is None:
            return ("Next: a recording of your camera to adapt to, without labels.",
                    "Open a recording…", window.choosers.recording)  # fmt: skip
        if not any(r.kind == "adapt" for r in usable):
            name = usable[-1].name
            return self._run_of(
                "selfsup", self.adapt, f"Next: adapt {name} to this recording, without labels.",
                "Go to stage 2",
            )  # fmt: skip
        if project.recording.has_truth and not self.evaluate.results:
            if project.step != "evaluate":
                return ("Next: see how right it is, where there are labels.", "Go to Evaluate",
                        lambda: window.show_step("evaluate"))  # fmt: skip
            return ("Next: score the runs on the labelled frames.", "Evaluate",
                    self.evaluate.go.click)  # fmt: skip
        if project.step == "export":
            return None
        return ("Next: take the network with you.", "Go to Export",
                lambda: window.show_step("export"))  # fmt: skip

    def _run_of(self, step: str, panel: RunPanel, text: str, there: str) -> Suggestion:
        """Go to a run's step or, on it, start the run."""
        if self.window.project.step != step:
            return text, there, lambda: self.window.show_step(step)
        if panel.run_button.isEnabled():
            return text, panel.run_button.text(), panel.run_button.click
        return f"{text} {panel.problem.text()}", "", lambda: None
