"""The card `Did it help?` in the window: when it compares, and what it shows where."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QTabWidget

from self6d.events import Finished
from studio.controllers.comparison import Comparison
from studio.jobs import Job
from studio.jobs.run_info import read_run
from studio.jobs.spec import spec_from
from studio.model.layers import Network
from studio.panels.helped_card import HelpedCard
from studio.panels.stage import Stage
from studio.shell.window import StudioWindow

TITLE = "Did it help?"


class Helped(QObject):
    """Compares on its own after stage 2; otherwise when asked to."""

    def __init__(
        self, window: StudioWindow, stage: Stage, bottom: QTabWidget, parent: QObject
    ) -> None:
        super().__init__(parent)
        self.window, self.stage, self.bottom = window, stage, bottom
        project = window.project
        self.comparison = Comparison(project, window.worker, window.predictions, self)
        self.card = HelpedCard(self.comparison)
        bottom.addTab(self.card, TITLE)
        self._to_front = ""  # the step on which the card is waited for
        self.comparison.failed.connect(window.show_error)
        self.comparison.ready.connect(self._on_ready)
        self.comparison.changed.connect(self._on_changed)
        self.card.compareWanted.connect(self._on_compare)
        self.card.frameWanted.connect(self.show_frame)
        self.card.wantThumbnails.connect(window.director.ask_thumbnails)
        window.director.thumbnailReady.connect(self.card.add_thumbnail)
        window.runs.ended.connect(self._on_ended)
        project.runSelected.connect(self._offer)
        project.runsChanged.connect(lambda: self._offer(project.run))
        project.left.connect(self.card.forget)

    def compare(self, run: Path) -> None:
        """Hold a run's network against the one it started from, on the open recording."""
        pair = self._pair(run)
        info = read_run(run)
        if pair is not None and info is not None:
            self.comparison.start(*pair, spec_from(info).split)
            self.window.layers.add(Network(pair[0]))  # the poses before stand beside those after
            if not self.comparison.at_work():  # a track's poses are, or some set by hand
                self.window.layers.add(Network(pair[1]))

    def show_frame(self, index: int) -> None:
        """A frame with the poses before and after."""
        if self.window.project.step not in ("data", "selfsup"):
            self.window.show_step("selfsup")
        self.stage.show_page("frames")
        self.window.project.select_frame(index)

    def _pair(self, run: Path) -> tuple[Path, Path] | None:
        """Before and after, where both networks are there and fit the open objects."""
        info = read_run(run)
        if info is None or info.kind != "adapt" or info.running:
            return None
        start = info.start
        if start is None or read_run(start) is None or self.window.project.misfit(run):
            return None
        here = self.window.project.is_of_it(spec_from(info).data)
        return (start, run) if here else None

    def _offer(self, run: object) -> None:
        """The selected run, else the newest there is something to say of."""
        runs = [run] if isinstance(run, Path) else []
        newest_first = self.window.project.runs[::-1]  # only these are read from disk again
        runs += [known.path for known in newest_first if known.kind == "adapt"]
        pair = next((pair for pair in map(self._pair, runs) if pair is not None), None)
        self.card.offer(*(pair or (None, None)))

    def _on_compare(self) -> None:
        if self.card.offered is not None:
            self._to_front = self.window.project.step
            self.compare(self.card.offered[1])

    def _on_ended(self, job: Job, ending: Finished) -> None:
        kept = ending.reason in ("done", "stopped")
        if job.spec.kind == "adapt" and kept and self.window.runs.at_home(job):
            self._to_front = "selfsup"
            self.compare(job.run)

    def _on_ready(self) -> None:
        """It opens on the frame that changed most, unless the user went elsewhere."""
        verdict = self.comparison.verdict
        if verdict is None or self.window.project.step != self._to_front:
            return
        self._to_front = ""
        self.bottom.setCurrentWidget(self.card)
        self.show_frame(verdict.most_changed)

    def _on_changed(self) -> None:
        self.stage.scrubber.set_scores(self.comparison.scores())
