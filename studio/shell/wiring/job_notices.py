"""What the banner says of jobs: that one waits, has ended, was cancelled, does harm, cannot write.

A message is taken back at once where it holds no more: a waiting job was removed or has begun, a
stopped run was resumed, a disk has room again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject

from self6d.events import Finished, Note
from studio.jobs import Job, JobState
from studio.jobs.run_info import NOTHING_RIGHT, checkpoint_steps, named_or_counted, nothing_right
from studio.jobs.spec import JobSpec
from studio.shell.window import StudioWindow
from studio.toolkit.words import in_window

PAUSED = "paused by itself"
STATES = ("tracked", "weak", "lost", "found again")  # of the poses of a track
WHY_NOT = {
    JobState.STOPPED: "has learned nothing yet", JobState.QUEUED: "was taken off the queue",
}  # fmt: skip


class JobNotices(QObject):
    """Tells of every job in the queue; made before whoever has more to say of one."""

    def __init__(self, window: StudioWindow, parent: QObject) -> None:
        super().__init__(parent)
        self.window, self.banner = window, window.banner
        self._after: dict[Job, str] = {}  # what becomes of those that waited for it
        self._back: dict[Job, str] = {}  # and how they come back
        window.chain.goesOn.connect(self._on_goes_on)
        window.chain.halted.connect(self._on_halted)
        window.queue.added.connect(self._on_added)
        window.queue.changed.connect(self._on_changed)
        window.queue.removed.connect(self.banner.retract)
        window.runs.ended.connect(self._on_ended)
        window.runs.discarded.connect(self._on_discarded)
        window.runs.health.collapsed.connect(self._on_collapse)

    def _on_added(self, job: Job) -> None:
        self.banner.retract(job.run)  # what was said of its end
        job.note.connect(lambda note: self._on_note(job, note))
        queue = self.window.queue
        if job.state is JobState.QUEUED and queue.active:
            before = [one.run.name for one in [*queue.active, *queue.waiting] if one is not job]
            have = "has" if len(before) == 1 else "have"
            text = f"{job.run.name} waits until {named_or_counted(before, 'others')} {have} ended."
            self.banner.say("good", text, about=job)

    def _on_changed(self, job: Job) -> None:
        if job.state is not JobState.QUEUED:
            self.banner.retract(job)
        if job.state is not JobState.PAUSED:
            self.banner.retract((job.run, PAUSED))

    def _on_note(self, job: Job, note: Note) -> None:
        """A fault that the job waits with, such as a full disk; where it says more, it goes on."""
        about = (job.run, PAUSED)
        if note.level == "error":
            self.banner.say("bad", f"{job.run.name} {in_window(note.text)}.", about=about)
        elif job.state is not JobState.PAUSED:
            self.banner.retract(about)

    def _on_goes_on(self, job: Job, waiting: list[JobSpec]) -> None:
        self._after[job] = f" {_names(waiting)} now goes on from what it has learned."

    def _on_halted(self, job: Job, waiting: list[JobSpec]) -> None:
        run, it = job.run.name, "it" if len(waiting) == 1 else "they"
        verb = "does" if len(waiting) == 1 else "do"
        why = WHY_NOT.get(job.state, "is not finished")
        if job.ending is not None and job.ending.step and nothing_right(job.ending.result):
            why = "has no pose right yet"  # it may find its objects by now
        text = f"{_names(waiting)} {verb} not start: {run}, which {it} would learn from, {why}."
        self.window.noted.emit("warning", text)
        if job.state is JobState.QUEUED:
            self.banner.say("warn", text)
            return
        self._after[job] = f" {text}"
        if job.spec.resumable and checkpoint_steps(job.run):
            again = "waits" if len(waiting) == 1 else "wait"
            self._back[job] = f" Resume, and {it} {again} for it again."

    def _on_ended(self, job: Job, ending: Finished) -> None:
        title, runs, after = job.spec.title, self.window.runs, self._after.pop(job, "")
        after += self._back.pop(job, "")
        vain = f", but {NOTHING_RIGHT}" if nothing_right(ending.result) else ""
        level = "warn" if vain else "good"
        if ending.reason == "done":
            ended = ending.result.get("ended")
            why = f" ({ended})" if ended else ""
            gaps, lost = _gaps(ending.result) if job.spec.kind == "track" else ("", False)
            level = "warn" if lost else level
            self.banner.say(level, f"{title} is done: {job.run.name}{why}{vain}{gaps}")
        elif ending.reason == "stopped":
            self.banner.say(
                level, f"{title} stopped at step {ending.step} and is kept in {job.run.name}{vain}."
                f"{after}",
                action="Resume" if job.spec.resumable else "",
                on_action=lambda: runs.resume_run(job.run), about=job.run,
            )  # fmt: skip
        else:
            saved = checkpoint_steps(job.run)
            can_resume = bool(saved) and job.spec.resumable
            after = f".{after}" if after else ""
            # of a process that was killed the ending knows no more than its last checkpoint
            reached = max(ending.step, job.last_progress.step if job.last_progress else 0)
            kept = f", saved to step {saved[-1]}" if can_resume and saved[-1] < reached else ""
            self.banner.say(
                "bad", f"{title} ended at step {reached}{kept}: {ending.reason}{after}",
                details=job.details,
                action="Resume from the last checkpoint" if can_resume else "",
                on_action=lambda: runs.resume_run(job.run), about=job.run,
            )  # fmt: skip

    def _on_collapse(self, job: Job, what: str) -> None:
        self.banner.say(
            "bad", f"{what} Resume it as it is, or take its best checkpoint and other settings.",
            action="New run from the best checkpoint",
            on_action=lambda: self.window.runs.start_again(job),
        )  # fmt: skip

    def _on_discarded(self, job: Job) -> None:
        queue = self.window.queue
        queue.drop(job)
        next_one = "".join(f" {other.run.name} has begun." for other in queue.active)
        after, _ = self._after.pop(job, ""), self._back.pop(job, "")
        self.banner.say(
            "warn" if after else "good",
            f"{job.spec.title} was cancelled; {job.run.name} is gone.{after}{next_one}",
        )


def _gaps(result: Mapping[str, Any]) -> tuple[str, bool]:
    """How many poses of a track want to be looked at, in words; whether any is lost."""
    counts: Counter[str] = Counter()
    for of_object in result.get("objects", {}).values():
        counts.update({state: of_object.get(state, 0) for state in STATES})
    words = [f"{counts[state]} {state}" for state in ("weak", "lost") if counts[state]]
    if not words:
        return "", False
    return f", {' and '.join(words)} of {counts.total()} poses: see Track.", bool(counts["lost"])


def _names(specs: list[JobSpec]) -> str:
    return named_or_counted([spec.out.name for spec in specs], "jobs")
