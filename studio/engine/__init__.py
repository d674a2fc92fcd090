"""A helper process with torch, recordings and the renderer, so that the window never waits."""

from studio.engine.client import Engine, Failure

__all__ = ["Engine", "Failure"]
