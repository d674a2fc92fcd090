"""Step 4: score runs on labelled frames, before and after side by side."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QMenu,
    QSplitter,
    QToolButton,
    QWidget,
)

from studio.engine import Engine, Failure
from studio.jobs import JobSpec
from studio.jobs.run_info import RunInfo, best_step, checkpoint_steps, named_or_counted, read_run
from studio.model import kept_scores
from studio.model.project import Project
from studio.model.settings import Settings
from studio.toolkit.asking import folder_for, new_file
from studio.toolkit.dialogs import copy_text
from studio.toolkit.progress import Bar
from studio.toolkit.widgets import Choice, Hint, IconButton, Panel, button, column, label, row
from studio.views.canvas import to_image
from studio.views.results import NoWider, ResultsTable, short_names, worst_instances

ROLE = Qt.ItemDataRole.UserRole
ROLES = {"train": "before", "adapt": "after", "upper_bound": "upper bound"}  # by kind of run
WRITERS = (("csv", "CSV table…", "*.csv"), ("latex", "LaTeX table…", "*.tex"),
           ("bop", "BOP results folder…", ""), ("html", "HTML report…", "*.html"))  # fmt: skip


class EvaluatePage(QWidget):
    """Runs to compare on the left, the table, and the worst frames of the cell that is chosen."""

    failed = Signal(object)
    said = Signal(str, str)  # level, text
    frameWanted = Signal(int, object, object)  # frame index, object id, run folder
    evaluated = Signal()
    busyChanged = Signal()
    chosenChanged = Signal()
    wantThumbnails = Signal(list)

    def __init__(self, project: Project, settings: Settings, engine: Engine) -> None:
        super().__init__()
        self.setObjectName("plain")
        self.project, self.settings, self.engine = project, settings, engine
        self.results: list[dict[str, Any]] = []
        self.evaluated_runs: list[Path] = []
        self._busy = False
        self._by_hand: dict[Path, bool] = {}
        self.runs = QListWidget()
        self.runs.setItemDelegate(NoWider(self.runs))
        self.runs.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names differ at their end
        self.runs.setAccessibleName("Runs to compare")
        self.runs.itemChanged.connect(self._on_tick)
        self.split = Choice("Frames")
        self.go = button("Evaluate", self.evaluate, "primary")
        self.stop = button("Cancel", self.cancel)
        self._stop_file = Path()
        self._pictures: dict[int, QIcon] = {}
        self._asked: set[int] = set()
        self.copy_button = IconButton("terminal", "Copy as command", self._on_copy)
        self.progress = Bar()
        self.progress.hide()
        self.problem = label("", "small", wrap=True)
        self.export = QToolButton()
        self.export.setObjectName("menu")
        self.export.setText("Save as…")
        self.export.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.export)
        for kind, text, pattern in WRITERS:
            menu.addAction(text, partial(self._on_save, kind, pattern))
        self.export.setMenu(menu)
        choose = Panel("Runs to compare")
        choose.body.addWidget(self.runs, 1)
        which = row(label("Frames", "muted"), self.split)
        which.setStretch(1, 1)
        choose.body.addLayout(which)
        choose.body.addWidget(self.problem)
        choose.body.addWidget(self.progress)
        buttons = row(self.go, self.stop, self.copy_button)
        buttons.setStretch(0, 1)
        choose.body.addLayout(buttons)

        self.table = ResultsTable()
        self.table.setAccessibleName("Scores")
        self.table.cellChosen.connect(self._on_cell)
        self.hint = Hint("Choose runs on the left and press Evaluate: recall, errors and masks of "
                         "each object appear here, run under run.")  # fmt: skip
        self.worst = QListWidget()
        self.worst.setAccessibleName("Worst frames")
        self.worst.setIconSize(QSize(64, 48))
        self.worst.itemActivated.connect(self._on_worst)
        self.worst.itemClicked.connect(self._on_worst)
        self.worst_title = label("Click a number to see its worst frames.", "muted")
        scores = Panel("Scores")
        self.scores_title = scores.title
        scores.head.addWidget(self.export)
        scores.body.addWidget(self.hint, 1)
        scores.body.addWidget(self.table, 3)
        self.remarks = label("", "small", wrap=True)
        scores.body.addWidget(self.remarks)
        frames = Panel("Worst frames")
        frames.body.addWidget(self.worst_title)
        frames.body.addWidget(self.worst, 1)
        for view in (self.runs, self.table, self.worst):
            view.setMinimumHeight(48)  # the page must fit small screens
        right = QSplitter(Qt.Orientation.Vertical)
        right.addWidget(scores)
        right.addWidget(frames)
        right.setStretchFactor(0, 3)
        right.setStretchFactor(1, 2)
        whole = QSplitter(Qt.Orientation.Horizontal)
        whole.addWidget(choose)
        whole.addWidget(right)
        whole.setStretchFactor(1, 1)
        whole.setSizes([240, 700])
        self.setLayout(column(whole))
        project.runsChanged.connect(self._fill)
        project.recordingChanged.connect(self._on_recording)
        self._fill()
        self._on_recording()

    def unfinished(self) -> list[str]:
        """What is being worked out, in words."""
        return ["an evaluation"] if self._busy else []

    def is_scored(self, run: Path) -> bool:
        """Whether the scores shown are of a run as it is now: it may have learned on since."""
        known = dict(zip(self.evaluated_runs, self.results, strict=False))
        return run in known and not self._gone_on(run, known[run])

    def _gone_on(self, run: Path, result: dict[str, Any]) -> bool:
        then, now = result.get("step"), best_step(run)
        return None not in (then, now) and then != now

    def chosen(self) -> list[Path]:
        """Runs whose box is ticked, in order."""
        items = (self.runs.item(i) for i in range(self.runs.count()))
        return [Path(i.data(ROLE)) for i in items if i.checkState() == Qt.CheckState.Checked]

    def evaluate(self) -> None:
        recording, runs = self.project.recording, self.chosen()
        if recording is None or not runs:
            return
        self._busy = True
        self.busyChanged.emit()
        self._stop_file = Path(tempfile.mkdtemp(prefix="self6d-")) / "stop"
        self._refresh()
        self.progress.setRange(0, 0)
        self.engine.request(
            "evaluate", recording.root, [str(r) for r in runs], self.split.currentData(),
            str(self._stop_file), key="evaluate", partial=self._on_progress, failed=self._on_failed,
            done=lambda results: self._on_results(recording.root, results, runs),
        )  # fmt: skip

    def cancel(self) -> None:
        """End the evaluation after the frame it is at; the scores that are shown stay."""
        if self._busy:
            self._stop_file.touch()
            self.stop.setEnabled(False)

    def add_thumbnail(self, index: int, picture: np.ndarray) -> None:
        """A small picture of a frame, for the list of the worst."""
        if index in self._asked:
            self._pictures[index] = QIcon(QPixmap.fromImage(to_image(picture)))
            for line in range(self.worst.count()):
                item = self.worst.item(line)
                if self._frame_of(item.data(ROLE)[1]) == index:
                    item.setIcon(self._pictures[index])

    def _frame_of(self, found: dict[str, Any]) -> int | None:
        """Index of the frame of an instance, where it is of the open recording."""
        key, info = (found["scene_id"], found["image_id"]), self.project.recording
        return info.keys.index(key) if info is not None and key in info.keys else None

    def command(self, *more: str) -> str:
        """The same for the shell."""
        recording = self.project.recording
        words = ["evaluate", recording.root if recording else "DATA", *map(str, self.chosen())]
        if self.split.currentData():
            words += ["--split", self.split.currentData()]
        return JobSpec.shell_line([*words, *more])

    def _fill(self) -> None:
        usual = self._usual()
        self.runs.blockSignals(True)
        self.runs.clear()
        for run in self._scored():
            item = QListWidgetItem(run.name)
            item.setData(ROLE, str(run.path))
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setToolTip(f"{ROLES[run.kind]}: {run.path}\n{run.status}, step {run.step}")
            on = self._by_hand.get(run.path, run.path in usual)
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            self.runs.addItem(item)
        self.runs.blockSignals(False)
        self._refresh()

    def _scored(self) -> list[RunInfo]:
        """Runs with a network to score; an upper bound is one as well."""
        return [r for r in self.project.runs if r.kind in ROLES and checkpoint_steps(r.path)]

    def _usual(self) -> set[Path]:
        """What is compared unless ticked by hand: adapted runs and their starts, else all."""
        scored = self._scored()
        adapted = [run for run in scored if run.kind == "adapt" and not run.running]
        begun = {start for run in adapted if (start := run.start)}
        return {run.path for run in adapted or scored} | begun

    def _on_tick(self, item: QListWidgetItem) -> None:
        self._by_hand[Path(item.data(ROLE))] = item.checkState() == Qt.CheckState.Checked
        self._refresh()

    def _on_recording(self) -> None:
        info = self.project.recording
        self.split.clear()
        names = list(info.splits) if info else []
        if info and "eval" not in names:
            self.split.addItem("all with labels", None)
        for name in sorted(names, key=lambda n: n != "eval"):
            self.split.addItem(f"{name} ({len(info.splits[name])})", name)  # type: ignore[union-attr]
        self.worst.clear()
        self._pictures.clear()
        self._asked.clear()
        self.evaluated_runs, self.results = kept_scores.load(info.root) if info else ([], [])
        if self.results:
            self.table.show_runs(self.results, self._captions(), self._start())
        self._refresh()
        self.evaluated.emit()

    def _refresh(self, *_: object) -> None:
        info = self.project.recording
        if info is None:
            problem = "Open a recording first (step 1)."
        elif not info.has_truth:
            problem = ("This recording has no labels to score against. Compare the runs by eye in "
                       "step 3.")  # fmt: skip
        elif self.runs.count() == 0:
            problem = "Train a run first (steps 2 and 3)."
        elif not self.chosen():
            problem = "Tick at least one run."
        else:
            problem = ""
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.go.setEnabled(not problem and not self._busy)
        self.go.setText("Evaluating…" if self._busy else "Evaluate")
        self.copy_button.setEnabled(not problem)
        self.chosenChanged.emit()
        self.progress.setVisible(self._busy)
        self.stop.setVisible(self._busy)
        self.stop.setEnabled(self._busy)
        self.export.setEnabled(bool(self.results))
        self.hint.setVisible(not self.results)
        self.table.setVisible(bool(self.results))
        of = self._scored_split() or "all labelled frames"
        self.scores_title.setText(f"Scores on {of}" if self.results else "Scores")
        remarks = [f"{r['label']}: {r['remark']}" for r in self.results if r.get("remark")]
        for run, result in zip(self.evaluated_runs, self.results, strict=False):
            if self._gone_on(run, result):
                remarks.append(f"{run.name} has learned on since, to step {best_step(run)}: "
                               "these are its scores of before. Evaluate it again.")  # fmt: skip
        self.remarks.setText("\n".join(remarks))
        self.remarks.setVisible(bool(remarks))

    def _end(self) -> None:
        if self._busy:  # else there is no such folder, and its path is the current one
            shutil.rmtree(self._stop_file.parent, ignore_errors=True)
        self._busy = False
        self.busyChanged.emit()

    def _on_progress(self, done_total: tuple[int, int]) -> None:
        self.progress.setRange(0, done_total[1])
        self.progress.setValue(done_total[0])

    def _on_results(self, recording: str, results: list[dict[str, Any]], runs: list[Path]) -> None:
        self._end()
        kept_scores.keep(recording, runs, results)
        if self.project.recording is None or self.project.recording.root != recording:
            self._refresh()  # another one is open by now; these wait for theirs
            return
        self.results, self.evaluated_runs = results, runs
        self.table.show_runs(results, self._captions(), self._start())
        self.worst.clear()
        self._refresh()
        self.evaluated.emit()

    def _start(self) -> int | None:
        """Place of the run that the others are held against: the one that they started from."""
        found = [read_run(path) for path in self.evaluated_runs]
        begun = {run.start for run in found if run is not None}
        places = [i for i, path in enumerate(self.evaluated_runs) if path in begun]
        return places[0] if len(places) == 1 else None

    def _captions(self) -> list[str]:
        """What each run is to the others: before, after, upper bound; or its name."""
        found = [read_run(path) for path in self.evaluated_runs]
        roles = [ROLES.get(run.kind, "") if run is not None else "" for run in found]
        if len(set(roles)) == len(roles) > 1 and all(roles):
            return roles
        return short_names([path.name for path in self.evaluated_runs])

    def _on_failed(self, failure: Failure) -> None:
        self._end()
        self._refresh()
        if failure.type != "Cancelled":
            self.failed.emit(failure)

    def _on_cell(self, run: int, object_id: int | None) -> None:
        result = self.results[run]
        names = {o["object_id"]: o["name"] for o in result["objects"]}
        what = names.get(object_id, "all objects")
        step = "" if result.get("step") is None else f" at step {result['step']}"
        self.worst_title.setText(f"{what} by {result['label']}{step}; click to look at a frame")
        self.worst.clear()
        missing: list[int] = []
        for found in worst_instances(result, object_id):
            index = self._frame_of(found)
            where = "a frame that is gone" if index is None else f"frame {index + 1}"
            if found["add_m"] is None:
                text = f"{names[found['object_id']]}  {where}: not found"
            else:
                share = 100 * found["add_m"] / found["diameter_m"]
                text = (
                    f"{names[found['object_id']]}  {where}: ADD {share:.1f} % of the diameter, "
                    f"{found['rotation_deg']:.1f}°, {1000 * found['translation_m']:.1f} mm"
                )
            item = QListWidgetItem(text)
            item.setData(ROLE, (run, found))
            item.setToolTip(f"scene {found['scene_id']}, image {found['image_id']}")
            if index in self._pictures:
                item.setIcon(self._pictures[index])
            elif index is not None and index not in self._asked:
                self._asked.add(index)
                missing.append(index)
            self.worst.addItem(item)
        self.wantThumbnails.emit(missing)

    def _on_worst(self, item: QListWidgetItem) -> None:
        run, found = item.data(ROLE)
        index = self._frame_of(found)
        if index is not None:
            self.frameWanted.emit(index, found["object_id"], self.evaluated_runs[run])

    def _on_copy(self) -> None:
        copy_text(self.command())
        scored = named_or_counted([run.name for run in self.chosen()], "runs")
        self.said.emit("good", f"In the clipboard: the command that scores {scored}.")

    def _scored_split(self) -> str | None:
        """Whose frames the scores shown are of; another may be chosen for the next ones."""
        info, split = self.project.recording, self.results[0].get("split") if self.results else None
        return split if info is not None and split in info.splits else None

    def _on_save(self, kind: str, pattern: str) -> None:
        if pattern:
            path = new_file(self, self.settings, "scores", "Save as", pattern)
        else:
            path = folder_for(self, self.settings, "scores", "Folder for BOP results")
        if path is not None:
            self.save(kind, path)

    def save(self, kind: str, path: Path) -> None:
        """Write the evaluation as "csv", "latex", "bop" or "html"."""
        recording = self.project.recording
        if recording is None:
            return
        self.engine.request(
            "write_evaluation", kind, str(path), recording.root,
            [str(r) for r in self.evaluated_runs], self._scored_split(),
            partial=self._on_writing, failed=self._on_not_written, done=self._on_written,
        )  # fmt: skip

    def _on_writing(self, done_total: tuple[int, int]) -> None:
        """Scores of an earlier session are worked out again first."""
        self.progress.setVisible(True)
        self._on_progress(done_total)

    def _on_not_written(self, failure: Failure) -> None:
        self._refresh()
        self.failed.emit(failure)

    def _on_written(self, path: str) -> None:
        self._refresh()
        self.said.emit("good", f"Written: {path}")
