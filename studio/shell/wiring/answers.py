"""What runs, networks and the renderer are asked on the views' behalf, and where answers go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject

from studio.curves.run_curves import RunCurves
from studio.curves.view import CurvesView
from studio.engine import Failure
from studio.engine.history import RunHistory
from studio.engine.types import PoseData
from studio.jobs.run_info import brief, is_run, read_run
from studio.model.layers import Network
from studio.panels.stage import Stage
from studio.shell.window import StudioWindow
from studio.toolkit.words import ENDED
from studio.training.panel import RunPanel

SHEET_IMAGES = 12


class Answers(QObject):
    """Asks the second helper process, so that frames never wait behind a network."""

    def __init__(
        self,
        window: StudioWindow,
        curves: CurvesView,
        stage: Stage,
        train_panel: RunPanel,
        adapt_panel: RunPanel,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.window, self.curves, self.stage = window, curves, stage
        self.train_panel, self.adapt_panel = train_panel, adapt_panel
        self._told_live: Path | None = None
        window.runs.followed.connect(lambda job: self._expect_live())
        window.runs.historyReady.connect(self._on_history)
        window.runs.predictWanted.connect(self.predict)
        curves.checkpointClicked.connect(self._on_checkpoint)
        curves.checkpointLeft.connect(lambda: window.predictions.pin(None))
        window.predictions.pinnedChanged.connect(self._on_pinned)
        stage.previewWanted.connect(self.synthetic_sheet)
        stage.pageChanged.connect(self._on_page)

    def predict(self, run: Path, step: int | None = None) -> None:
        """Put the poses of a run's network on the selected frame.

        Args:
            step: of the checkpoint; None is the run's best.
        """
        window, project = self.window, self.window.project
        if project.recording is None:
            window.say("warn", "Open a recording first: poses are predicted on its frames.")
            return
        index, number = project.frame_index, project.number

        why_not = project.misfit(run)
        if why_not:
            window.say("warn", f"{run.name} is a network of other objects: {why_not}.")
            return

        def arrived(answer: tuple[int, list[PoseData]]) -> None:
            if number != project.number:
                return
            by = f"{brief(run.name)} at step {answer[0]}"
            network = Network(run, step)
            window.predictions.put(network, answer[0], index, answer[1])
            window.predictions.pin(None if step is None else network)
            project.put_prediction(index, answer[1], f"predicted by {by}")
            if answer[1]:
                window.say("good", f"Poses of {by} on frame {index + 1}.")
            else:
                window.say("warn", f"{by} finds none of the objects on frame {index + 1}.")

        window.worker.request(
            "predict", str(run), project.recording.root, index, step, key="predict", done=arrived,
            failed=window.show_error,
        )  # fmt: skip

    def synthetic_sheet(self) -> None:
        """A sheet of what stage 1 would train on with the settings as they stand."""
        spec, stage = self.train_panel.spec(), self.stage
        if spec is None:
            self.window.say("warn", self.train_panel.problem.text())
            return
        stage.preview_button.setEnabled(False)
        stage.gallery_note.setText("Rendering…")

        def arrived(sheet: np.ndarray) -> None:
            stage.preview_button.setEnabled(True)
            stage.show_gallery(sheet, "What stage 1 would train on, with masks and boxes")

        def failed(failure: Failure) -> None:
            stage.preview_button.setEnabled(True)
            stage.gallery_note.setText("")
            self.window.show_error(failure)

        camera = spec.options.get("camera")
        self.window.worker.request(
            "synthetic_sheet", [str(m) for m in spec.models], str(camera) if camera else None,
            spec.preset, spec.overrides, SHEET_IMAGES, spec.seed or 0, key="sheet", done=arrived,
            failed=failed,
        )  # fmt: skip

    def _on_checkpoint(self, run: str, step: int) -> None:
        """A checkpoint on the curves was clicked: look through it at the selected frame, or,
        where its probes are in view, at the probe's.
        """
        probe = self.stage.probe_frame() if self.stage.probes.run == Path(run) else None
        if self.stage.page == "probes" and probe is not None:
            self.window.project.select_frame(probe)
        else:
            self.stage.show_page("frames")
        self.predict(Path(run), step)

    def _on_pinned(self, network: Network | None) -> None:
        """The curves' cursor stands where the poses at work come from."""
        run, step = ("", None) if network is None else (str(network.run), network.step)
        self.curves.set_cursor(run, step)

    def _on_page(self, page: str) -> None:
        """Probes that came while another page was in view were passed over; the run has them."""
        run = self.stage.probes.run
        if page != "probes" or run is None or not is_run(run):
            return

        def arrived(history: RunHistory) -> None:
            if self.stage.probes.run == run and self.stage.probes.at is None:
                self._add_previews(history)

        self.window.engine.request("history", str(run), key="probes", done=arrived,
                                   failed=self.window.show_error)  # fmt: skip

    def _add_previews(self, history: RunHistory) -> None:
        for preview in history.first:
            self.stage.add_preview(preview, first=True)
        for preview in history.newest:
            self.stage.add_preview(preview)

    def _expect_live(self) -> None:
        """A job that is followed anew has weights that the panel may not show."""
        self._told_live = None

    def expect(self, run: Path | None, status: str) -> None:
        """Where curves and probes of a run are not there, it is said whether they will come.

        Args:
            status: how it ended; "" while it has not.
        """
        self.curves.expect("" if run is None else run.name, status)
        self.stage.probes.expect(run, status)

    def _on_history(self, history: RunHistory, overlay: bool) -> None:
        run = Path(history.run)
        if history.live and run != self._told_live:  # later changes come from the panel itself
            self.adapt_panel.show_live(run, history.live)
        self._told_live = run
        curves = RunCurves(history.run, checkpoints=history.checkpoints, marks=history.marks)
        for key, (steps, values) in history.curves.items():
            curves.extend(key, steps, values)
        if not overlay:
            self.curves.clear()
            self.stage.probes.clear(run)
            self._add_previews(history)
            info = read_run(run)
            if info is not None:
                self.expect(run, info.status if info.status in ENDED else "")
        self.curves.show_run(curves)
