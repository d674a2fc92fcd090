"""events.jsonl: one event a line, appended, readable while it grows."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from self6d.events import (
    CheckpointSaved,
    Event,
    Finished,
    Note,
    Preparing,
    Preview,
    Progress,
    Scalars,
)
from self6d.storage import append_bytes, atomic_write

_TYPES: dict[str, type] = {
    "scalars": Scalars,
    "progress": Progress,
    "preparing": Preparing,
    "note": Note,
    "checkpoint": CheckpointSaved,
    "finished": Finished,
}
_HEAD = "_head"  # the JSON part of a preview file
_NAMES = {kind: name for name, kind in _TYPES.items()}


class EventWriter:
    """Collects lines and writes them when told to; the run's lock makes it the only writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._buffer = bytearray()
        self._fresh = True

    def add(self, event: Event) -> None:
        self._buffer += json.dumps(to_record(event)).encode() + b"\n"

    def flush(self) -> None:
        """Append what was collected.

        Raises:
            OSError: what did not reach the file stays collected; call again.
        """
        if self._fresh:
            self._mend_torn_line()
            self._fresh = False
        while self._buffer:
            written = append_bytes(self._path, bytes(self._buffer))
            del self._buffer[:written]

    def _mend_torn_line(self) -> None:
        """A killed writer may have left half a line: end it, readers skip it."""
        try:
            with open(self._path, "rb") as file:
                file.seek(0, 2)
                if file.tell() == 0:
                    return
                file.seek(-1, 2)
                torn = file.read(1) != b"\n"
        except FileNotFoundError:
            return
        if torn:
            append_bytes(self._path, b"\n")


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Events from byte `offset` on, each with the offset to go on from; bad lines are skipped.

    Previews are not among them: `save_preview` keeps the newest of each name in its own file.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115  closed by the with below
    except OSError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return  # still being written
            offset += len(line)
            event = from_record(_parse(line))
            if event is not None:
                yield event, offset


def read_curves(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """All scalars by name as (steps (N,) int64, values (N,) float64).

    Steps that were repeated after a resume count once, as last written.
    """
    points: dict[str, dict[int, float]] = {}
    for event, _ in read_events(path):
        if isinstance(event, Scalars):
            for name, value in event.values.items():
                points.setdefault(name, {})[event.step] = value
    return {
        name: (np.array(sorted(by_step)), np.array([by_step[s] for s in sorted(by_step)]))
        for name, by_step in points.items()
    }


def to_record(event: Event) -> dict[str, Any]:
    """An event as JSON holds it (numbers that are not finite as null)."""
    record = {"type": _NAMES[type(event)], **vars(event)}
    if isinstance(event, Scalars):
        record["values"] = {k: v if math.isfinite(v) else None for k, v in event.values.items()}
    return record


def from_record(record: Any) -> Event | None:
    """Inverse of `to_record`; None for what is not an event."""
    if not isinstance(record, dict):
        return None
    fields = dict(record)
    kind = fields.pop("type", None)
    try:
        if kind == "scalars":
            fields["values"] = {
                str(k): float("nan") if v is None else float(v) for k, v in fields["values"].items()
            }
        return _TYPES[kind](**fields)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def preview_path(run: Path, name: str) -> Path:
    """Where the newest preview of a name lies; any text is safe as a name."""
    return run / "previews" / (re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:100] + ".npz")


def save_preview(run: Path, preview: Preview) -> None:
    """Replace the newest preview of its name; the first one ever is kept as NAME.first.npz."""
    path = preview_path(run, preview.name)
    head = {
        "step": preview.step, "name": preview.name, "poses": preview.poses, "frame": preview.frame,
    }  # fmt: skip
    buffer = io.BytesIO()
    arrays = {**preview.arrays, _HEAD: np.frombuffer(json.dumps(head).encode(), np.uint8)}
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub mistakes the names
    first = path.with_suffix(".first.npz")
    if not first.exists():
        atomic_write(first, buffer.getvalue(), durable=False)
    atomic_write(path, buffer.getvalue(), durable=False)


def load_preview(path: Path) -> Preview | None:
    """Read a preview file; None when missing or damaged. Never unpickles."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        head = json.loads(arrays.pop(_HEAD).tobytes())
        frame = head.get("frame")  # runs of before it was kept have none
        return Preview(
            int(head["step"]), str(head["name"]), arrays, list(head["poses"]),
            None if frame is None else (int(frame[0]), int(frame[1])),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
