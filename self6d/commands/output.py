"""Results on standard output and in files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import typer

from self6d.errors import INTERRUPTED

STDOUT = Path("-")
_results: TextIO | None = None


@contextmanager
def words_aside() -> Iterator[None]:
    """What is printed for people goes to standard error; what `write_json` writes, out."""
    global _results
    _results = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = None


def say_end(words: str, *, stopped: bool) -> None:
    """A command's last words.

    Raises:
        typer.Exit: with a code of its own for what was stopped on request: `train && adapt` and
            the like must not go on from a part as if it were whole.
    """
    typer.echo(words)
    if stopped:
        raise typer.Exit(INTERRUPTED)


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table that a person reads and that `awk` can cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe is as wide as the table
        console = Console(
            highlight=False,
            width=max(
                table.__rich_measure__(Console(width=1000), Console(width=1000).options).maximum, 20
            ),
        )
    console.print(table)


def write_json(path: Path | None, value: Any) -> None:
    """Write a result, if a file, or `STDOUT`, was asked for.

    Raises:
        StorageError: it cannot be written.
    """
    if path is None:
        return
    text = json.dumps(value, indent=1) + "\n"
    if path == STDOUT:
        print(text, end="", file=_results, flush=True)
        return
    from self6d.errors import StorageError
    from self6d.storage import atomic_write

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text.encode())
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror})", path=path, remedy="Name another file."
        ) from error
