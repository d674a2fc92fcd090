"""Judges a network before and after adaptation in the background, a few frames at a time."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Signal

from studio.controllers.predictions import Predictions
from studio.engine import Engine
from studio.engine.types import JudgedFrame, RecordingInfo
from studio.jobs.run_info import brief
from studio.model.layers import Network
from studio.model.project import Project
from studio.model.verdict import Verdict, compare

AT_ONCE = 2  # frames a request, so that what the user asks for hardly waits
SAMPLE = 24  # frames that decide; as many more with labels
ALL_MAX = 1000  # poses are made on no more frames than this


class Comparison(QObject):
    """First the frames that decide, with both networks; then all others with the new one.

    Signals:
        changed: something was judged, or another pair is compared.
        ready: all frames that decide are judged.
    """

    changed = Signal()
    ready = Signal()
    failed = Signal(object)

    def __init__(
        self,
        project: Project,
        worker: Engine,
        predictions: Predictions,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.project, self.worker, self.predictions = project, worker, predictions
        self.before: Path | None = None
        self.after: Path | None = None
        self.number = 0  # of the comparison; answers of an older one are dropped
        self._clear()
        project.left.connect(self.forget)

    def _clear(self) -> None:
        self.judged: dict[Path, dict[int, JudgedFrame]] = {}
        self.steps: dict[Path, int] = {}
        self.sample: list[int] = []
        self.verdict: Verdict | None = None
        self._todo: deque[tuple[Path, list[int]]] = deque()
        self._deciding = 0  # requests left until `ready`
        self._asked = False  # a request is under way
        self.number += 1

    @property
    def busy(self) -> bool:
        return self._asked or bool(self._todo)

    def forget(self) -> None:
        self._clear()
        self.before = self.after = None
        self.changed.emit()

    def start(self, before: Path, after: Path, split: str | None = None) -> None:
        """Compare two runs on the open recording.

        Args:
            split: that `after` was adapted on; None: "adapt" if there is one, else all frames.
        """
        info = self.project.recording
        if info is None:
            return
        self._clear()
        self.before, self.after = before, after
        self.judged = {before: {}, after: {}}
        self.sample = sample_frames(info, split)
        for run_frames in _chunks(self.sample):
            self._todo += [(before, run_frames), (after, run_frames)]
        self._deciding = len(self._todo)
        decides = set(self.sample)
        rest = [i for i in spread(range(len(info)), ALL_MAX) if i not in decides]
        self._todo += [(after, some) for some in _chunks(rest)]
        self.changed.emit()
        self._next()

    def at_work(self) -> bool:
        """Whether the poses at work are those of the new network on every frame."""
        return all(origin.startswith("predicted") for origin in self.project.origins.values())

    def scores(self) -> dict[int, float]:
        """Mean agreement of the new network's poses, by frame; 0 where it finds nothing."""
        frames = self.judged.get(self.after, {}) if self.after else {}
        return {i: f.trust / max(len(f.poses), 1) for i, f in frames.items()}

    def changes(self) -> dict[int, tuple[float, float]]:
        """Agreement before and after, of frames that both networks were judged on."""
        if self.before is None or self.after is None:
            return {}
        before, after = self.judged[self.before], self.judged[self.after]
        return {i: (before[i].trust, after[i].trust) for i in before.keys() & after.keys()}

    def worst(self) -> list[int]:
        """Judged frames, those that agree least first."""
        scores = self.scores()
        return sorted(scores, key=lambda i: (scores[i], i))

    def most_changed(self) -> list[int]:
        """Frames that both were judged on, those that changed most first."""
        changes = self.changes()
        return sorted(changes, key=lambda i: (-abs(changes[i][1] - changes[i][0]), i))

    def _next(self) -> None:
        recording = self.project.recording
        if not self._todo or recording is None:
            return
        number, (run, frames) = self.number, self._todo.popleft()
        self._asked = True

        def arrived(answer: tuple[int, list[JudgedFrame]]) -> None:
            if number == self.number:
                self._asked = False
                self._take(run, *answer)
                self._next()

        def failed(failure: object) -> None:
            if number == self.number:
                self.forget()
                self.failed.emit(failure)

        self.worker.request("judge", str(run), recording.root, frames, done=arrived, failed=failed)

    def _take(self, run: Path, step: int, frames: list[JudgedFrame]) -> None:
        self.steps[run] = step
        self.judged[run].update((f.index, f) for f in frames)
        for frame in frames:
            poses = [p.pose for p in frame.poses]
            self.predictions.put(Network(run), step, frame.index, poses)
            if run == self.after:
                self._show(frame, f"predicted by {brief(run.name)} at step {step}")
        if self._deciding:
            self._deciding -= 1
            if not self._deciding:
                assert self.before is not None
                assert self.after is not None
                self.verdict = compare(self.judged[self.before], self.judged[self.after])
                self.ready.emit()
        self.changed.emit()

    def _show(self, frame: JudgedFrame, origin: str) -> None:
        """Its poses, where nobody has placed or optimised one."""
        project = self.project
        origins = [o for (i, _), o in project.origins.items() if i == frame.index]
        if all(o.startswith("predicted") for o in origins):
            project.put_prediction(frame.index, [p.pose for p in frame.poses], origin)


def sample_frames(info: RecordingInfo, split: str | None) -> list[int]:
    """Frames that decide: some of those adapted on and some with labels, both spread evenly."""
    used = info.splits.get(split or "adapt") or range(len(info))
    chosen = spread(used, SAMPLE)
    if info.has_truth:
        chosen += spread(info.splits.get("eval", ()), SAMPLE)
    return list(dict.fromkeys(chosen))


def spread(frames: range | tuple[int, ...], count: int) -> list[int]:
    """At most so many of the frames, evenly."""
    if not len(frames):
        return []
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return [frames[i] for i in dict.fromkeys(places.tolist())]


def _chunks(frames: list[int]) -> list[list[int]]:
    return [frames[i : i + AT_ONCE] for i in range(0, len(frames), AT_ONCE)]
