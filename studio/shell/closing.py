"""Whether a window with work under way may close: one question that names all of it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from studio.jobs.job import Job
from studio.jobs.run_info import brief, named_or_counted
from studio.toolkit.dialogs import Question


def may_close(
    parent: QWidget, lost: Sequence[str], active: Sequence[Job], waiting: Sequence[Job]
) -> bool:
    """Ask, where there is something to lose: leave jobs running, stop them, lose it, or stay.

    Args:
        lost: in words, what would have to be done again.
        active: jobs at work; those that are to stop are told so.
        waiting: jobs that have not begun.
    """
    if not (lost or active or waiting):
        return True
    text, answers = [], [("stay", "Stay", "primary" if lost or waiting else "")]
    if active:
        leavable = all(job.survives_window for job in active)
        text.append(_at_work(active, leavable=leavable))
        answers.append(("stop", f"Save and stop {_it(active)}", ""))
        if leavable:
            look = "" if lost or waiting else "primary"
            answers.append(("leave", f"Leave {_it(active)} running", look))
    else:
        answers.append(("lose", "Close all the same", "danger"))
    if waiting:
        text.append(f"{_names(waiting)} {'wait and do' if len(waiting) > 1 else 'waits and does'} "
                    "not start without the window; its next start offers "
                    f"{_it(waiting)} again.")  # fmt: skip
    if lost:
        text.append(f"Closing now loses {' and '.join(lost)}.")
    alone = active and not (lost or waiting)
    title = "A job is running" if alone else "Work is under way"
    answer = Question.ask(parent, title, " ".join(text), answers)
    if answer == "stop":
        for job in active:
            job.stop()
    return answer in ("stop", "leave", "lose")


def _at_work(active: Sequence[Job], *, leavable: bool) -> str:
    one = len(active) == 1
    names = f"{_names(active)} {'is' if one else 'are'} at work"
    they = "it" if one else "they"
    if leavable:
        return f"{names}: {they} can go on without the window; the next start finds {_it(active)}."
    run = f"{they} run{'s' * one} inside the window and stop{'s' * one} when it closes"
    return f"{names}: {run}."


def _names(jobs: Sequence[Job]) -> str:
    return named_or_counted([brief(job.run.name) for job in jobs], "jobs")


def _it(jobs: Sequence[Job]) -> str:
    return "it" if len(jobs) == 1 else "them"
