"""A helper process with torch, recordings and the renderer, so that the window never waits.

Names load on first use: the helper, whose code lies in this package too, does without Qt. Beside
Qt the source of every module that loads is read, torch's too, which took a tenth of its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.engine.client import Engine, Failure

__all__ = ["Engine", "Failure"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from studio.engine import client

    return getattr(client, name)
