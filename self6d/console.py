"""What a job looks like in a terminal: a progress bar with time left, notes above it, Ctrl+C."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from self6d.interrupts import interrupt
from self6d.paths import early_events

if TYPE_CHECKING:
    from self6d.events import Event
    from self6d.runs.control import Control

PLAIN_EVERY_S = 10.0


def error_console() -> Console:
    """Standard error; results go to standard output."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def clock(seconds: float | None) -> str:
    """Such as `6:10` or `1:02:30`; `-:--` when unknown."""
    if seconds is None:
        return "-:--"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class _TimeLeft(ProgressColumn):
    def render(self, task: Any) -> Text:
        since = task.fields.get("since")
        if since is not None:  # of what has no count
            passed = clock(time.monotonic() - since)
            return Text(f"for {passed} so far", style="progress.remaining")
        left = task.fields.get("left", task.time_remaining)
        return Text(f"{clock(left)} left", style="progress.remaining")


class JobConsole:
    """A listener that shows a job's events. Use as a context.

    Args:
        title: what is running.
        quiet: show warnings and errors only; the result is the command's to print.
        by_phase: the job has parts, each of which has a bar of its own, named by the phase.
    """

    def __init__(self, title: str, *, quiet: bool = False, by_phase: bool = False) -> None:
        self._console = error_console()
        self._title, self._quiet, self._by_phase = title, quiet, by_phase
        self._live = self._console.is_terminal and not quiet
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}", style="progress.download"),
            _TimeLeft(),
            TextColumn("{task.fields[loss]}"),
            console=self._console,
            disable=not self._live,
            transient=True,
        )
        self._bar: Any = None
        self._loss = ""
        self._printed = time.monotonic()
        self._early = early_events()
        self._since: float | None = None  # when what is shown without a count began
        self._shown = title

    def __enter__(self) -> JobConsole:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        from self6d import events

        if isinstance(event, events.Scalars):
            total = event.values.get("loss/total")
            self._loss = "" if total is None else f"loss {total:.4g}"
        elif isinstance(event, events.Progress):
            if event.phase == "paused":
                self._write_early(event)
            self._progress(event.step, event.total, event.seconds_left, event.phase)
        elif isinstance(event, events.Preparing):
            self._write_early(event)
            self._progress(event.done, event.total, event.seconds_left, event.what, aside=True)
        elif isinstance(event, events.Note) and not (event.level == "info" and self._quiet):
            if event.level == "error":
                self._write_early(event)
            self.say(event.text, event.level)

    def _write_early(self, event: Event) -> None:
        """For whoever started this job and waits: there may be no run folder to look into yet, or
        none that can be written any more.
        """
        from self6d.runs.event_log import EventWriter

        if self._early is None or not self._early.is_file():  # whoever waited took it away
            self._early = None
            return
        writer = EventWriter(self._early)
        writer.add(event)
        try:
            writer.flush()
        except OSError:  # nobody waits any more
            self._early = None

    def say(self, text: str, level: str = "info") -> None:
        """A line above the bar."""
        style = {"warning": "yellow", "error": "red"}.get(level)
        prefix = "" if level == "info" else f"{level}: "
        self._console.print(Text(prefix + text), style=style)

    def _progress(
        self, step: int, total: int, left: float | None, phase: str, *, aside: bool = False
    ) -> None:
        aside = aside or phase == "paused"
        if self._by_phase and not aside and phase != self._title:
            if self._live and self._bar is not None:
                self._bars.remove_task(self._bar)
            self._title, self._bar, self._loss = phase, None, ""
        title = f"{self._title} ({phase})" if aside else self._title
        loss, count = self._loss, "" if aside and total == 1 else f"{step}/{total}"
        if count:
            self._since = None
        elif self._since is None or title != self._shown:
            self._since = time.monotonic()
        self._shown = title
        if self._live:
            if self._bar is None:
                self._bar = self._bars.add_task(
                    title, loss="", left=None, count="", since=self._since
                )
            self._bars.update(
                self._bar, completed=step, total=total, description=title, left=left, loss=loss,
                count=count, since=self._since,
            )  # fmt: skip
            if not count:
                self._bars.tasks[0].total = None  # a moving bar; `update` takes None for no change
        elif not self._quiet:
            now = time.monotonic()
            last = step == total and not aside
            if now - self._printed >= PLAIN_EVERY_S or (last and self._bar is None):
                self._printed = now
                self._bar = last or None
                parts = [title, "", loss]
                if count:
                    parts = [f"{title}: {count}", f"{clock(left)} left", loss]
                self.say(", ".join(part for part in parts if part))


@contextmanager
def steering(console: JobConsole | None = None) -> Iterator[Control]:
    """A control that Ctrl+C and SIGTERM turn into save-and-stop; a second Ctrl+C interrupts.

    Patient where a window started the command and shows what it says, see `Control`. Of several
    processes the first obeys, and the others end when it says so.
    """
    from self6d.runs.control import Control

    control = Control(patient=early_events() is not None)
    if threading.current_thread() is not threading.main_thread():
        yield control
        return

    follows = os.environ.get("RANK", "0") != "0"
    # torchrun sends on what the terminal has sent to all: the same Ctrl+C comes twice
    twice_s = 2.0 if "WORLD_SIZE" in os.environ else 0.0
    asked = 0.0

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if follows:
            return
        if control.stopping:
            if number == signal.SIGINT and time.monotonic() - asked >= twice_s:
                interrupt()
            return
        asked = time.monotonic()
        control.stop()
        text = "saving and stopping after this step (Ctrl+C again to stop at once)"
        if console is not None:
            console.say(text)
        else:
            print(text, file=sys.stderr)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield control
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
