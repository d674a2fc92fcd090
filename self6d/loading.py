"""How large libraries are loaded sooner."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_rests() -> Iterator[None]:
    """Around imports: nothing they make is garbage, and torch's million objects are walked again
    and again in search of it, for a tenth of the time that they take.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
