"""Requests that the user may end: a file says so, looked for at each event of their work."""

from __future__ import annotations

from pathlib import Path

from self6d.errors import Self6DError


class Cancelled(Self6DError):
    """The user wants no more of it."""


def stop_where_asked(stop_file: str | None) -> None:
    """Go on, unless the file is there.

    Raises:
        Cancelled: it is.
    """
    if stop_file is not None and Path(stop_file).exists():
        raise Cancelled("cancelled")
