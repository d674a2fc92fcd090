"""What a run that goes on keeps: a command that asks for something else is refused, not ignored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from self6d.datasets.pose_track import PoseTrack, read_pose_track
from self6d.errors import InputError
from self6d.runs.folder import RunFolder
from self6d.runs.provenance import Provenance

OPTIONS = {
    "preset": "--preset", "models": "--models", "camera": "--camera", "from_run": "--from",
    "split": "--split", "frame": "--frame", "scene": "--scene", "object_id": "--object",
    "cuts": "--cut", "seed": "--seed", "poses": "--poses", "keep": "--keep",
}  # fmt: skip
_PLACES = ("models", "camera", "from_run")


def check_kept(run: RunFolder, asked: dict[str, Any]) -> None:
    """Whether a command that goes on with a run asks for what the run was begun with.

    Args:
        asked: some fields of a `Provenance`, and "seed"; one that is None, empty or 0 is left open.

    Raises:
        InputError: another value. Files and folders that are no longer there can be anywhere now:
            of them nothing is said.
    """
    told = Provenance.from_dict(run.info["provenance"])
    if told.preset is None:  # of a version that did not record the whole command
        return
    for name, value in asked.items():
        if value is None or value == () or (name == "seed" and value == 0):
            continue
        own = run.seed if name == "seed" else getattr(told, name)
        same = _same_places(own, value) if name in _PLACES else own == value
        if not same:
            refuse(run.path, OPTIONS[name], own)


def check_track(run: RunFolder, name: str, given: Any) -> None:
    """Whether a track that a command names is the one in the run's folder.

    Args:
        name: field of the `Provenance` that names the run's copy. given: path or track; None: left
            open.

    Raises:
        InputError: another one, or no track.
    """
    if given is None:
        return
    own = getattr(Provenance.from_dict(run.info["provenance"]), name)
    track = given if isinstance(given, PoseTrack) else read_pose_track(given)
    if own is None or _rows(track) != _rows(read_pose_track(run.path / own)):
        refuse(run.path, OPTIONS[name], None if own is None else "its own copy")


def refuse(path: Path, option: str, own: Any) -> None:
    """Raise the `InputError` of an option that differs from what a folder was begun with."""
    shown = ", ".join(map(str, own)) if isinstance(own, tuple | list) else own
    value = "none" if shown in (None, "") else shown
    raise InputError(
        f"was begun with another {option} ({value}), and --resume keeps it",
        path=path,
        remedy=f"Leave out {option}, or name a new folder.",
    )


def _same_places(own: Any, given: Any) -> bool:
    before = {Path(path) for path in _listed(own)}
    if any(not path.exists() for path in before):
        return True
    return {p.resolve() for p in before} == {Path(p).resolve() for p in _listed(given)}


def _listed(places: Any) -> Sequence[str]:
    return () if places is None else (places,) if isinstance(places, str) else places


def _rows(track: PoseTrack) -> list[tuple[Any, ...]]:
    """Poses as the file holds them, to the micrometre."""
    return [
        (p.key, p.object_id, p.instance, p.state, round(p.confidence, 3))
        + (() if p.pose is None else (*p.pose.R_m2c.round(6).flat, *p.pose.t_m2c.round(6)))
        for p in track
    ]
