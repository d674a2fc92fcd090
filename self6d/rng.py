"""Random numbers as a function of (seed, step, rank), so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def mixed_seed(*parts: int) -> int:
    """One 63-bit seed from any non-negative integers; neighbours give unrelated seeds."""
    words = np.random.SeedSequence(parts).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def step_generator(
    seed: int, step: int, rank: int = 0, *, stream: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Generator of one step. `stream` tells apart independent users within a step."""
    return torch.Generator(device=device).manual_seed(mixed_seed(seed, step, rank, stream))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global torch generator seeded inside, restored after: for parameter initialisation."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
