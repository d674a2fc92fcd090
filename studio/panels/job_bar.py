"""The line at the bottom: what runs now, how far it is, and the buttons that steer it."""

from __future__ import annotations

from collections.abc import Callable

import psutil
from PySide6.QtCore import QSize, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame

from self6d.events import Preparing, Progress
from studio.jobs import Job, JobState
from studio.jobs.run_info import brief
from studio.toolkit.progress import Bar
from studio.toolkit.widgets import ElidedLabel, button, duration, label, row
from studio.toolkit.words import in_window

HARDER_AFTER_MS = 6000
NARROW = 1100  # pixels
STOP = "Stop early (keep)"
STOP_TIP = "Save, then stop: what it learnt is there, what waits for it begins, and it can go on"
STATE_WORDS = {
    JobState.QUEUED: "waiting", JobState.STARTING: "starting", JobState.RUNNING: "running",
    JobState.PAUSED: "paused", JobState.STOPPING: "stopping", JobState.DONE: "done",
    JobState.STOPPED: "stopped", JobState.FAILED: "failed",
}  # fmt: skip


class JobBar(QFrame):
    """Follows one job; says what can be done when there is none."""

    pauseClicked = Signal()
    stopClicked = Signal(str)  # "stop", "terminate" or "kill": the rung of the ladder
    saveClicked = Signal()
    cancelClicked = Signal()
    offersChanged = Signal()  # which of its buttons can be used

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("jobbar")
        self.job: Job | None = None
        self._rung = "stop"
        self.text = ElidedLabel("No job is running.", "muted")
        self.go = button("", lambda: self._on_go())
        self._on_go: Callable[[], object] = lambda: None
        self.other = button("", lambda: self._on_other())
        self._on_other: Callable[[], object] = lambda: None
        self._suggestion = self._task = ""
        self.bar = Bar()
        self.memory = label("", "small")
        self.pause = button("Pause", self.pauseClicked.emit)
        self.stop = button(STOP, lambda: self.stopClicked.emit(self._rung), "", STOP_TIP)
        self.cancel = button("Cancel (discard)", self.cancelClicked.emit, "danger",
                             "End it and delete what it made")  # fmt: skip
        self.save = button("Save now", self.saveClicked.emit, "", "Write a checkpoint now")
        line = row(self.text, self.go, self.other, self.bar, 1, self.memory, self.pause, self.save,
                   self.stop, self.cancel)  # fmt: skip
        line.setContentsMargins(12, 6, 12, 6)
        self.setLayout(line)
        self._ladder = QTimer(self, singleShot=True, interval=HARDER_AFTER_MS)
        self._ladder.timeout.connect(self._offer_harder)
        self._meter = QTimer(self, interval=1000)
        self._meter.timeout.connect(self._measure)
        self.set_job(None)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.bar.setFixedWidth(200 if self.width() >= NARROW else 72)  # the words need the room

    def set_job(self, job: Job | None) -> None:
        if self.job is not None:
            self.job.progress.disconnect(self._on_progress)
            self.job.preparing.disconnect(self._on_preparing)
            self.job.stateChanged.disconnect(self._on_state)
        if job is not None and job is not self.job:  # Space would stop another one than before
            for one in (self.pause, self.stop, self.save, self.cancel):
                if one.hasFocus():
                    self.setFocus()
        self.job = job
        self._rung = "stop"
        self._ladder.stop()
        if job is not None:
            job.progress.connect(self._on_progress)
            job.preparing.connect(self._on_preparing)
            job.stateChanged.connect(self._on_state)
            if job.last_progress is not None:
                self._on_progress(job.last_progress)
            else:
                self.bar.setRange(0, 0)
        self._on_state()

    def suggest(self, text: str, action: str, on_action: Callable[[], object]) -> None:
        """What comes next, to say while no job is at work."""
        self._suggestion, self._on_go = text, on_action
        self.go.setText(action)
        if not self._task:
            self._on_state()

    def offer(self, action: str, on_action: Callable[[], object]) -> None:
        """Another way to go on, beside the suggestion; "" takes it away."""
        self._on_other = on_action
        self.other.setText(action)
        self.other.setVisible(self.go.isVisibleTo(self) and bool(action))

    def show_task(self, text: str, done: int, total: int) -> None:
        """A short task of the window itself; `total` 0 ends it."""
        self._task = text if total else ""
        if total == 0:
            self._on_state()
            return
        self.text.setText(f"{text}: {done} of {total}")
        self.bar.setVisible(True)
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def _on_progress(self, progress: Progress) -> None:
        self.bar.setRange(0, max(progress.total, 1))
        self.bar.setValue(progress.step)
        self._say(progress)

    def _on_preparing(self, preparing: Preparing) -> None:
        self.bar.setRange(0, preparing.total if preparing.total > 1 else 0)  # 0: no count
        self.bar.setValue(preparing.done)
        assert self.job is not None
        self._say(self.job.last_progress)

    def _on_state(self) -> None:
        job = self.job
        active = job is not None and job.state.active
        for one in (self.pause, self.stop, self.save):
            one.setVisible(active)
        self.cancel.setVisible(job is not None and active and job.discardable)
        self.bar.setVisible(active)
        self.memory.setVisible(active)
        self.go.setVisible(bool(not active and self._suggestion and self.go.text()))
        self.other.setVisible(self.go.isVisibleTo(self) and bool(self.other.text()))
        if job is None:
            self.text.setText(self._suggestion or "No job is running.")
            self._meter.stop()
            self.offersChanged.emit()
            return
        self.pause.setText("Resume" if job.state is JobState.PAUSED else "Pause")
        stopping = job.state is JobState.STOPPING
        self.pause.setEnabled(not stopping)
        self.save.setEnabled(not stopping)
        self.stop.setEnabled(not stopping or self._rung != "stop")
        self.offersChanged.emit()
        if stopping:
            self._ladder.start()
        if active:
            self._meter.start()
        else:
            self._meter.stop()
            self._rung = "stop"
            self.stop.setText(STOP)
            self.stop.setToolTip(STOP_TIP)
            self._ladder.stop()
        self._say(job.last_progress)

    def _say(self, progress: Progress | None) -> None:
        job = self.job
        assert job is not None
        text = f": {STATE_WORDS[job.state]}"
        if job.last_preparing is not None and job.state is JobState.RUNNING:
            now = job.last_preparing
            text = f": {now.what}"
            if now.total > 1:
                text += f", {now.done} of {now.total}"
            if now.seconds_left is not None and now.total > 1:
                text += f", about {duration(now.seconds_left)} left"
            else:
                text += f", for {duration(job.phase_s)} so far"
        elif job.before_steps:
            text = ": starting its program"
            if job.age_s is not None:
                text += f", for {duration(job.age_s)} so far"
        elif progress is not None:
            text += f", step {job.step}/{progress.total}"
            if job.state is JobState.RUNNING and progress.seconds_left is not None:
                text += f", {duration(progress.seconds_left)} left"
        if job.state is JobState.FAILED and job.ending is not None:
            text = f" failed: {in_window(job.ending.reason)}"
        if not job.state.active and self._suggestion:
            text = f"{text.rstrip('.')}.  {self._suggestion}"
        title = job.spec.title  # alone where how far it is would be cut off
        self.text.setText(f"{title}, {brief(job.run.name)}{text}", f"{title}{text}")

    def _offer_harder(self) -> None:
        """Saving and stopping takes long: offer the next rung."""
        if self.job is None or self.job.state is not JobState.STOPPING:
            return
        self._rung = {"stop": "terminate", "terminate": "kill"}.get(self._rung, "kill")
        self.stop.setText("Terminate" if self._rung == "terminate" else "Kill")
        self.stop.setToolTip("End the process; the last checkpoint remains")
        self.stop.setEnabled(True)
        if self._rung == "terminate":
            self._ladder.start()

    def _measure(self) -> None:
        if self.job is not None and self.job.before_steps:
            self._say(self.job.last_progress)
        pid = getattr(self.job, "pid", None)
        if pid is None:
            self.memory.setText("")
            return
        try:
            size = psutil.Process(pid).memory_info().rss
            self.memory.setText(f"memory {size / 2**30:.1f} GB")
        except psutil.Error:
            self.memory.setText("")

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), 44)
