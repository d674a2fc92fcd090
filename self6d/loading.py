"""The garbage collector, kept from where it costs more than it frees."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_rests() -> Iterator[None]:
    """Around imports, and where torch traces a network: nearly nothing they make is garbage, and
    torch's million objects are walked again and again in search of it, for a tenth of the time.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
