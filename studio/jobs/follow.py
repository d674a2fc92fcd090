"""Reads a run folder while a job fills it, in a thread of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from self6d.events import Event, Finished, Note, Progress
from self6d.runs.event_log import from_record, load_preview, read_events
from studio.jobs.messages import PREVIEWS_MS, Mailbox, Status

POLL_S = 0.1
CHUNK = 1 << 16


class RunFollower(threading.Thread):
    """Tails events.jsonl and the previews of a run into a mailbox until the run is over.

    Args:
        run: the run folder; it may not exist yet.
        alive: whether the job's process still lives.
        ended: called once, in this thread, when the process is gone and all was read; gets whether
            the run said so itself (a Finished event was seen).
        offset: where in events.jsonl to begin.
        early: file that tells what is done before there is a run folder, and why it cannot be
            written any more, see `early_events`.
    """

    def __init__(
        self,
        run: Path,
        mailbox: Mailbox,
        alive: Callable[[], bool],
        ended: Callable[[bool], None],
        offset: int = 0,
        early: Path | None = None,
    ) -> None:
        super().__init__(name=f"follow {run.name}", daemon=True)
        self._run_path = run
        self._mailbox = mailbox
        self._alive = alive
        self._ended = ended
        self._offset = offset
        self._early, self._early_offset = early, 0
        self._in_folder = False  # the run folder tells what the job does
        self._halt = threading.Event()
        self._seen: dict[str, int] = {}
        self._status_stamp = 0
        self._previews_at = 0.0
        self._finished: Finished | None = None

    def halt(self) -> None:
        """Stop reading; returns when the thread is gone."""
        self._halt.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout=5)

    def run(self) -> None:
        while not self._halt.wait(POLL_S):
            alive = self._alive()  # before reading, so that nothing written last is missed
            self._read_early()
            self._read_events()
            self._read_status()
            self._read_previews(final=not alive)
            if not alive:
                if self._finished is not None:
                    self._mailbox.put(self._finished)
                self._ended(self._finished is not None)
                return

    def _read_early(self) -> None:
        if self._early is None:
            return
        for event, offset in read_events(self._early, self._early_offset):
            self._early_offset = offset
            if isinstance(event, Progress):
                self._mailbox.put(Status("paused"))
            elif isinstance(event, Note) or not self._in_folder:
                self._mailbox.put(event)

    def _read_events(self) -> None:
        try:
            file = open(self._run_path / "events.jsonl", "rb")  # noqa: SIM115  closed below
        except OSError:
            return
        with file:
            file.seek(self._offset)
            while chunk := file.read(CHUNK):
                whole = chunk[: chunk.rfind(b"\n") + 1]
                if not whole:  # longer than a chunk, such as a result with its trajectory
                    whole = chunk + file.readline()
                    if not whole.endswith(b"\n"):
                        return  # still being written
                self._offset += len(whole)
                file.seek(self._offset)
                for line in whole.splitlines():
                    self._pass_on(line)
                if self._halt.is_set():
                    return
                time.sleep(0.001)  # let the window draw between two chunks of a long history

    def _pass_on(self, line: bytes) -> None:
        try:
            event: Event | None = from_record(json.loads(line))
        except ValueError:
            return
        if isinstance(event, Finished):
            self._finished = event  # held back until the process has really gone
        elif event is not None:
            self._finished = self._finished if isinstance(event, Note) else None
            self._in_folder = True  # all but that it cannot be written
            self._mailbox.put(event)

    def _read_status(self) -> None:
        path = self._run_path / "run.json"
        try:
            stamp = path.stat().st_mtime_ns
            if stamp == self._status_stamp:
                return
            status = json.loads(path.read_text(encoding="utf-8")).get("status")
        except (OSError, ValueError, AttributeError):
            return
        self._status_stamp = stamp
        self._mailbox.put(Status(str(status)))

    def _read_previews(self, *, final: bool) -> None:
        now = time.monotonic()
        if not final and now - self._previews_at < PREVIEWS_MS / 1000:
            return
        self._previews_at = now
        for path in sorted((self._run_path / "previews").glob("*.npz")):
            if path.name.endswith(".first.npz"):
                continue
            try:
                stamp = path.stat().st_mtime_ns
            except OSError:
                continue
            if self._seen.get(path.name) == stamp:
                continue
            if not self._mailbox.wants_preview(path.stem):
                continue
            preview = load_preview(path)
            if preview is not None:
                self._seen[path.name] = stamp
                self._mailbox.put(preview)
