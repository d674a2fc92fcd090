"""The whole command that made a run: written by every job, read by whoever makes the run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

COMMANDS = {"synthetic": "train", "selfsup": "adapt", "single_image": "optimize", "track": "track"}
"""Kinds of runs to the command that makes them, which is also its section of the configuration."""

HOME = "home.json"
"""In a run that was made elsewhere: what its paths are where it was packed, by field."""


@dataclass(frozen=True)
class Provenance:
    """What was asked for, and what it came to. Paths are absolute; None is what was left open.

    Attributes:
        preset: name or .toml file.
        models: CAD files or one folder; empty: those of the earlier run or of the recording.
        data: the recording. camera: recording or camera file that lends stage 1 its intrinsics.
        from_run: the run that this one starts from.
        split: named split asked for; None: the usual one where the recording has it, else all.
        share: of the split's frames. steps, minutes: instead of the preset's.
        device: as asked for, such as "auto".
        poses: file of the track that is learned from, in the run's folder.
        overrides: dotted keys to values, as `--set` gives them.
        frame, scene, object_id, init: of a single image: which object where, and the file of its
            start pose; of a track, the file of all of them.
        keep: of a track, the file of earlier poses that stand. cuts: image numbers before which
            its recording was interrupted.
        no_check: whatever the doctor found in the recording.
        frames: how many there were to learn from. from_step: of the earlier run's checkpoint.
        ranges: what the recording's depth said about distances, one line.
        K: (3, 3), pixels, and image_size: (height, width): of the images trained on.
    """

    preset: str | None = None
    models: tuple[str, ...] = ()
    data: str | None = None
    camera: str | None = None
    from_run: str | None = None
    split: str | None = None
    share: float = 1.0
    steps: int | None = None
    minutes: float | None = None
    device: str = "auto"
    overrides: dict[str, Any] = field(default_factory=dict)
    frame: int | None = None
    scene: int | None = None
    object_id: int | None = None
    init: str | None = None
    keep: str | None = None
    cuts: tuple[int, ...] = ()
    poses: str | None = None
    no_check: bool = False
    frames: int | None = None
    from_step: int | None = None
    ranges: str | None = None
    K: list[list[float]] | None = None
    image_size: list[int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; fields left open are left out."""
        open_ = Provenance()
        told = {k: v for k, v in asdict(self).items() if v != getattr(open_, k)}
        lists = {name: list(getattr(self, name)) for name in ("models", "cuts") if name in told}
        return told | lists

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Provenance:
        """Of a run.json, older ones included; what is not of its field's shape is left open."""
        told = {f.name: stored[f.name] for f in fields(cls) if f.name in stored}
        if isinstance(told.get("models"), str):  # older runs wrote one path so
            told["models"] = [told["models"]]
        if told.get("split") == "all":  # older runs wrote so where every frame was taken
            del told["split"]
        told = {name: value for name, value in told.items() if _FITS[name](value)}
        told |= {name: tuple(told[name]) for name in ("models", "cuts") if name in told}
        return cls(**told)

    def back_home(self, told: dict[str, Any]) -> Provenance:
        """With the paths of the machine that it was packed on, where they are there.

        Args:
            told: what is in its `HOME`.
        """
        here: dict[str, Any] = {}
        for name in ("data", "camera", "from_run", "models"):
            value = told.get(name)
            if value and _FITS[name](value):
                paths = [value] if isinstance(value, str) else list(value)
                if all(Path(path).exists() for path in paths):
                    here[name] = value if isinstance(value, str) else tuple(value)
        return replace(self, **here)

    def resumed(self, kind: str, asked: dict[str, Any]) -> Provenance:
        """With what a command that goes on with the run asked for anew.

        Args:
            kind: the run's, such as "selfsup".
            asked: fields of a Provenance; those left open change nothing, nor do preset and
                models: the run goes on with its own configuration and its own copy.
        """
        open_ = Provenance()
        own = ("preset", "models")
        told = {k: v for k, v in asked.items() if k not in own and v != getattr(open_, k)}
        given = asked.get("overrides", {})
        told["overrides"] = {**self.overrides, **given}
        for name in ("steps", "minutes"):
            key = f"{COMMANDS.get(kind, kind)}.{name}"
            if told.get(name) is not None:
                told["overrides"].pop(key, None)
            elif key in given:
                told[name] = None
        return replace(self, **told)

    def into(self, stored: dict[str, Any]) -> dict[str, Any]:
        """A stored one with what differs here replaced, and all else in it left as it is."""
        before, told = Provenance.from_dict(stored), self.to_dict()
        names = (f.name for f in fields(self))
        new = {name for name in names if getattr(self, name) != getattr(before, name)}
        kept = {name: value for name, value in stored.items() if name not in new}
        return kept | {name: told[name] for name in new & told.keys()}


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in kinds


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)


_FITS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("preset", "data", "camera", "from_run", "split", "device"), _is(str)),
    **dict.fromkeys(("init", "keep", "poses"), _is(str)),
    **dict.fromkeys(("steps", "frame", "scene", "object_id", "frames", "from_step"), _is(int)),
    "models": _listed,
    "cuts": lambda value: isinstance(value, list | tuple) and all(type(v) is int for v in value),
    "share": lambda value: type(value) in (int, float) and 0 <= value <= 1,
    "minutes": lambda value: type(value) in (int, float) and 0 <= value <= 1e6,
    "overrides": _is(dict),
    "no_check": _is(bool),
    "ranges": _is(str),
    **dict.fromkeys(("K", "image_size"), lambda value: True),  # whoever needs a camera checks it
}


def dotted(nested: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts as dotted keys: {"loss": {"mask": 0}} is {"loss.mask": 0}."""

    def walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, f"{key}.{name}" if key else name)
        else:
            yield key, value

    return dict(walk(nested, ""))


def absolute(path: Any) -> str | None:
    """A path as it is recorded; None for None and for what is no path, such as a Camera."""
    return str(Path(path).absolute()) if isinstance(path, str | Path) else None
