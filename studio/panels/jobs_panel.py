"""All jobs of the session: what waits, what runs, what ended and why."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStackedLayout,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from studio.jobs import Job, JobState
from studio.jobs.queue import JobQueue
from studio.panels.job_bar import STATE_WORDS
from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import Hint, button, column, duration, row

ICONS = {
    JobState.QUEUED: ("circle-dashed", "muted"), JobState.STARTING: ("circle-dot", "accent"),
    JobState.RUNNING: ("circle-dot", "accent"), JobState.PAUSED: ("pause", "warn"),
    JobState.STOPPING: ("circle-dot", "warn"), JobState.DONE: ("circle-check", "good"),
    JobState.STOPPED: ("square", "muted"), JobState.FAILED: ("circle-x", "bad"),
}  # fmt: skip


class JobsPanel(QWidget):
    """A line a job; the buttons act on the chosen one."""

    acted = Signal(str, object)  # as `ProjectTree.runAction`

    def __init__(self, queue: JobQueue) -> None:
        super().__init__()
        self.queue = queue
        self.list = QTreeWidget()
        self.list.setAccessibleName("Jobs")
        self.list.setColumnCount(4)
        self.list.setHeaderLabels(["run", "what", "state", "progress"])
        self.list.setRootIsDecorated(False)
        self.list.setMinimumHeight(40)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.list.currentItemChanged.connect(lambda *_: self._dress())
        self.show_button = button("Show", lambda: self._act("open"))
        self.resume_button = button("Resume", self._on_resume)
        self.copy_button = button("Copy as command", lambda: self._act("copy"))
        self.first_button = button(
            "Run next", self._on_first, "", "Put it at the head of the queue"
        )
        self.drop_button = button("Remove", self._on_drop, "", "Take it off this list")
        buttons = row(self.show_button, self.resume_button, self.copy_button, self.first_button,
                      self.drop_button, 1)  # fmt: skip
        filled = QWidget()
        filled.setLayout(column(self.list, buttons, margin=8))
        self._stack = QStackedLayout(self)
        self._stack.addWidget(Hint("Jobs you start are listed here, and wait for one another."))
        self._stack.addWidget(filled)
        self._items: dict[Job, QTreeWidgetItem] = {}
        queue.added.connect(self._on_added)
        queue.changed.connect(self._update)
        queue.removed.connect(self._on_removed)
        queue.reordered.connect(self._refill)
        theme.changed.connect(self._refill)
        self._dress()

    def chosen(self) -> Job | None:
        item = self.list.currentItem()
        return next((job for job, i in self._items.items() if i is item), None)

    def choose(self, job: Job) -> None:
        self.list.setCurrentItem(self._items[job])

    def _on_added(self, job: Job) -> None:
        self._items[job] = QTreeWidgetItem()
        self.list.addTopLevelItem(self._items[job])
        job.progress.connect(lambda _: self._update(job))
        self._update(job)
        self.list.setCurrentItem(self._items[job])
        self._stack.setCurrentIndex(1)

    def _on_removed(self, job: Job) -> None:
        item = self._items.pop(job)
        self.list.takeTopLevelItem(self.list.indexOfTopLevelItem(item))
        self._stack.setCurrentIndex(1 if self._items else 0)
        self._dress()

    def _refill(self) -> None:
        chosen = self.chosen()
        for job in self.queue.jobs:
            item = self._items[job]
            self.list.takeTopLevelItem(self.list.indexOfTopLevelItem(item))
            self.list.addTopLevelItem(item)
            self._update(job)
        if chosen is not None:
            self.choose(chosen)

    def _update(self, job: Job) -> None:
        item = self._items.get(job)
        if item is None:
            return
        item.setText(0, job.run.name)
        item.setText(1, job.spec.title)
        item.setIcon(2, icon(*ICONS[job.state]))
        item.setText(2, STATE_WORDS[job.state])
        text = ""
        if job.last_progress is not None:
            text = f"{job.step}/{job.last_progress.total}"
            if job.state is JobState.RUNNING and job.last_progress.seconds_left is not None:
                text += f"   {duration(job.last_progress.seconds_left)} left"
        if job.state is JobState.FAILED and job.ending is not None:
            text = job.ending.reason
        item.setText(3, text)
        item.setToolTip(3, text)
        self._dress()

    def _dress(self) -> None:
        job = self.chosen()
        over = job is not None and job.state.over
        waits = job is not None and job.state is JobState.QUEUED
        self.show_button.setEnabled(job is not None and not waits)
        self.copy_button.setEnabled(job is not None)
        cut = job is not None and job.state in (JobState.STOPPED, JobState.FAILED)
        again = job is not None and self.queue.under_way(job.run) is not None
        paused = job is not None and job.state is JobState.PAUSED
        goes_on = cut and not again and job.spec.resumable  # type: ignore[union-attr]
        self.resume_button.setEnabled(paused or goes_on)
        self.first_button.setEnabled(waits and self.queue.waiting[0] is not job)
        self.drop_button.setEnabled(over or waits)

    def _act(self, action: str) -> None:
        job = self.chosen()
        if job is not None:
            self.acted.emit(action, job.run)

    def _on_resume(self) -> None:
        job = self.chosen()
        if job is not None and job.state is JobState.PAUSED:
            job.resume()
        else:
            self._act("resume")

    def _on_first(self) -> None:
        job = self.chosen()
        if job is not None:
            self.queue.promote(job)

    def _on_drop(self) -> None:
        job = self.chosen()
        if job is not None:
            self.queue.drop(job)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Delete:
            self._on_drop()
        else:
            super().keyPressEvent(event)
