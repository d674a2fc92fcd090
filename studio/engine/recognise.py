"""What a dropped path is, or why it is nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from self6d.errors import Self6DError

Kind = Literal["recording", "model", "run", "refused"]


@dataclass(frozen=True)
class Found:
    """A path and what it can be opened as; `reason` explains a refusal."""

    path: str
    kind: Kind
    reason: str = ""


def recognise(path: str, open_recording: Callable[[str], Any]) -> Found:
    """Tell runs, recordings and CAD apart; a folder of CAD files counts as models."""
    from self6d.scene.mesh_names import is_mesh

    place = Path(path)
    if place.is_file() and is_mesh(place):
        return Found(path, "model")
    if (place / "run.json").is_file():
        return Found(path, "run")
    try:
        open_recording(path)
        return Found(path, "recording")
    except Self6DError as error:
        if place.is_dir() and any(map(is_mesh, place.iterdir())):
            return Found(path, "model")
        return Found(path, "refused", error.one_line())


def recognise_within(path: str, open_recording: Callable[[str], Any]) -> list[Found]:
    """What a path is; of a folder of runs, which is nothing itself, what lies directly in it."""
    found, place = recognise(path, open_recording), Path(path)
    if found.kind != "refused" or not place.is_dir():
        return [found]
    folders = sorted(p for p in place.iterdir() if p.is_dir())
    if not any((p / "run.json").is_file() for p in folders):
        return [found]
    inside = [recognise(str(p), open_recording) for p in folders]
    return [one for one in inside if one.kind != "refused"]
