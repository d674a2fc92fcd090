"""Working time of a job: what a schedule by time follows."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Seconds worked on a job, over all its sessions; pauses do not count.

    Args:
        minutes: how long the job may work; 0: no limit.
        now: seconds from any origin that never run backwards.
    """

    def __init__(self, minutes: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self.limit_s = 60 * minutes
        self._now = now
        self._worked = 0.0
        self._began: float | None = None
        self._told: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds worked so far. Set it to go on from an earlier session."""
        running = 0.0 if self._began is None else self._now() - self._began
        return self._worked + running

    @elapsed_s.setter
    def elapsed_s(self, seconds: float) -> None:
        self._worked = seconds
        self._began = None

    def begin(self) -> None:
        """Work goes on."""
        self._began = self._now()

    def end(self) -> None:
        """Work rests."""
        self.elapsed_s = self.elapsed_s

    @property
    def share(self) -> float:
        """Share of the limit when the present stretch of work began, in [0, 1]; 0 without a limit.

        It stands still within a step, so that all parts of it, and all ranks, see the same.
        """
        if self._told is not None:
            return self._told
        return min(self._worked / self.limit_s, 1.0) if self.limit_s else 0.0

    def done(self, step: int, total_steps: int) -> float:
        """Share of a run before a step, by steps or by time, whichever is more."""
        return max(step / max(total_steps, 1), self.share)

    def follow(self, share: float) -> None:
        """Another process keeps the time; this is its share."""
        self._told = share

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self.share >= 1.0

    @property
    def left_s(self) -> float:
        """Seconds until the limit; infinite without one."""
        return max(self.limit_s - self.elapsed_s, 0.0) if self.limit_s else float("inf")
