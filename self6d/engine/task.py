"""What the training loop runs: stage 1, stage 2 and a single image look the same to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from self6d.engine.clock import Clock
from self6d.events import Preview

Noted = Callable[[Literal["info", "warning"], str], None]


def noted_by_nobody(level: Literal["info", "warning"], text: str) -> None:
    """Where nobody reads what is found."""


class Task(Protocol):
    """One job. All randomness of a step comes from (seed, step), see `self6d.rng`.

    A task may also have

    - `score() -> float | None`, asked at each checkpoint: higher is better, None is no candidate.
      The highest is named best or, where the task says `newest_is_best`, the newest candidate.
    - `deaf_to(name: str) -> str`, asked before a live change is noted: why it can have no effect.
    - `on_preparing: Told`, set by the loop: it calls it with what it does, how much is done and
      of how much (1: no count), while something long comes before a step.
    - `on_note: Noted`, set by the loop: it calls it with a level and a line for the log.
    - `stop_reason: str | None`, asked after each step: the loop ends the run with it.

    Attributes:
        clock: the loop runs it while the task works, and ends the run when it is over.
    """

    name: str
    total_steps: int
    clock: Clock

    def step(self, step: int) -> dict[str, Any]:
        """Do one optimiser step; give its scalars.

        Values are floats or 0-dim tensors; tensors are fetched without making the device wait.
        """
        ...

    def previews(self, step: int) -> list[Preview]: ...

    def state_dict(self) -> dict[str, Any]:
        """{"tensors": {name: Tensor}, "meta": what JSON can hold}; `checkpoint.pack` helps."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def result(self) -> dict[str, Any]:
        """What the job found, as JSON can hold it."""
        ...

    def set_live(self, values: dict[str, float]) -> None:
        """Change values such as {"loss.mask": 0.0} from now on."""
        ...

    def halve_batch(self) -> bool:
        """Use half the memory; False if it cannot."""
        ...
