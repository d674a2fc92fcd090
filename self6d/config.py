"""Configurations: dataclasses in code, TOML in files, forms in the window, `--set` in the shell.

A field's documentation is the docstring under it. Its limits are in `typing.Annotated[float,
Limits(0, 1)]` or in `field(metadata={"min": 0, "max": 1})`; its choices in `Literal[...]` or in
`metadata={"choices": [...]}`. A mistake in a file or an override is one line that names the key.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

from self6d.config_fields import (
    NONE,
    FieldInfo,
    FieldType,
    Limits,
    convert,
    field_docs,
    field_types,
)
from self6d.errors import InputError
from self6d.files import read_text
from self6d.paths import resource

C = TypeVar("C")
USUAL_ADAPT = "self6d-plus"  # `self6d` leaves the detector as it is
Stage = Literal[1, 2, "refiner", "track"]
"""What a preset is for: stage 1, stage 2, training the RGB refiner, tracking."""

__all__ = [
    "FieldInfo",
    "Limits",
    "assignment",
    "describe",
    "field_docs",
    "from_dict",
    "from_toml",
    "load_preset",
    "merge",
    "overrides",
    "parse_toml",
    "preset_names",
    "read_toml",
    "to_dict",
    "to_toml",
]


def describe(config: Any, prefix: str = "") -> list[FieldInfo]:
    """All fields of a configuration, nested ones included, in order of definition."""
    found: list[FieldInfo] = []
    defaults, docs, kinds = type(config)(), field_docs(type(config)), field_types(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        key = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            found += describe(value, f"{key}.")
            continue
        kind = kinds[field.name]
        found.append(
            FieldInfo(
                key=key,
                kind=kind.base,
                optional=kind.optional,
                value=value,
                default=getattr(defaults, field.name),
                doc=docs.get(field.name, ""),
                minimum=kind.limits.minimum,
                maximum=kind.limits.maximum,
                choices=kind.choices,
            )
        )
    return found


def to_dict(config: Any) -> dict[str, Any]:
    """Nested dicts that TOML and JSON can hold; None becomes "none"."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_dict(
    cls: type[C], data: dict[str, Any], *, path: Path | None = None, prefix: str = ""
) -> C:
    """Build a configuration; keys that are absent take their defaults.

    Args:
        data: nested dicts.
        path: the file it came from, for messages.

    Raises:
        InputError: unknown key (names the closest), wrong type, outside its limits.
    """
    kinds = field_types(cls)
    values = {}
    for name, value in data.items():
        key = f"{prefix}{name}"
        if name not in kinds:
            raise InputError(
                f"{key}: there is no such key", path=path, remedy=_closest(name, kinds, prefix)
            )
        values[name] = _nested(value, kinds[name], key, path)
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        where = prefix.rstrip(".") or cls.__name__
        raise InputError(f"{where}: {error}", path=path) from error


def to_toml(config: Any) -> str:
    """TOML text with each field's documentation as a comment above it."""
    lines: list[str] = []
    _write_section(config, "", lines)
    return "\n".join(lines).strip() + "\n"


def from_toml(cls: type[C], text: str, *, path: Path | None = None) -> C:
    """Inverse of `to_toml`.

    Raises:
        InputError: not TOML, or as `from_dict`.
    """
    return from_dict(cls, parse_toml(text, path), path=path)


def parse_toml(text: str, path: Path | None = None) -> dict[str, Any]:
    """TOML as nested dicts.

    Raises:
        InputError: not TOML; says where.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5000 digits
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"not valid TOML: {reason}", path=path, remedy="Correct it there."
        ) from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as nested dicts.

    Raises:
        InputError: missing, unreadable, not text or not TOML.
    """
    path = Path(path)
    return parse_toml(read_text(path, "configuration"), path)


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts laid over each other; later ones win.

    Raises:
        InputError: what is a section in one is a value in another.
    """
    out: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if key in out and isinstance(value, dict) != isinstance(out[key], dict):
                raise InputError(f"{key}: is a section, not a value", remedy=f"Set {key}.NAME.")
            if isinstance(value, dict) and isinstance(out.get(key), dict):
                out[key] = merge(out[key], value)
            else:
                out[key] = merge(value) if isinstance(value, dict) else value
    return out


def overrides(assignments: dict[str, Any] | list[str]) -> dict[str, Any]:
    """Dotted assignments as nested dicts.

    Args:
        assignments: {"loss.mask": 0} or ["loss.mask=0", ...] as `--set` gives them.

    Raises:
        InputError: not of the form KEY=VALUE.
    """
    pairs = assignments.items() if isinstance(assignments, dict) else map(_assignment, assignments)
    out: dict[str, Any] = {}
    for key, value in pairs:
        for part in reversed(key.split(".")):
            value = {part: value}
        out = merge(out, value)
    return out


def assignment(key: str, value: Any) -> str:
    """KEY=VALUE as `--set` takes it; `overrides` reads the very value from it again.

    Args:
        value: number, bool, text, path, None, or a list of such.
    """
    if value is None or isinstance(value, str | Path):
        plain = f"{key}={_plain(value)}"
        if plain.isprintable() and _assignment(plain)[1] == _plain(value):
            return plain
    return f"{key}={_inline(value)}"


def preset_names(stage: Stage | None = None) -> list[str]:
    """Names that `load_preset` accepts.

    Args:
        stage: only presets that say they are for this one; None: all.
    """
    names = sorted(_packaged())
    return names if stage is None else [n for n in names if _preset(n).get("stage") == stage]


def load_preset(name: str | Path, stage: Stage | None = None) -> dict[str, Any]:
    """A preset by name, or a TOML file by path, as nested dicts.

    A file may start from another preset: `extends = "standard"`, and says with `stage = 1`,
    `stage = 2`, `stage = "refiner"` or `stage = "track"` what it is for; one that says nothing is
    for all of them.

    Args:
        stage: what it is wanted for; None: whatever.

    Raises:
        InputError: no such preset, or one of another stage; lists those there are.
    """
    data = _preset(name)
    stated = data.pop("stage", None)
    if stage is not None and stated not in (None, stage):
        raise InputError(
            f"preset {str(name)!r} is for {_called(stated)}, not for {_called(stage)}",
            remedy=f"Choose one of {', '.join(preset_names(stage))}, or give a .toml file.",
        )
    return data


@cache
def _packaged() -> dict[str, dict[str, Any]]:
    """The presets that come with the program, as their files say; read once."""
    return {path.stem: read_toml(path) for path in resource("presets").glob("*.toml")}


def _called(stage: Stage) -> str:
    if isinstance(stage, int):
        return f"stage {stage}"
    return "tracking" if stage == "track" else f"the {stage}"


def _preset(name: str | Path) -> dict[str, Any]:
    """`load_preset`, with the stage it states."""
    text = str(name)
    if text.endswith(".toml"):
        data = read_toml(text)
    elif text in preset_names():
        data = copy.deepcopy(_packaged()[text])
    else:
        raise InputError(
            f"there is no preset {text!r}",
            remedy=f"Choose one of {', '.join(preset_names())}, or give a .toml file.",
        )
    parent = data.pop("extends", None)
    if parent is None:
        return data
    if parent == name or parent not in preset_names():
        raise InputError(
            f"extends: there is no preset {parent!r}",
            path=Path(text),
            remedy=f"Choose one of {', '.join(preset_names())}.",
        )
    return merge(_preset(parent), data)


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not all(part.isidentifier() for part in key.split(".")):
        raise InputError(f"{text!r} is not KEY=VALUE", remedy="Write it like loss.mask=0.")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return key, value.strip()  # text without quotes


def _inline(value: Any) -> str:
    """TOML on one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    return tomli_w.dumps({"value": _plain(value)}).strip().removeprefix("value = ")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if value is None:
        return NONE
    return str(value) if isinstance(value, Path) else value


def _nested(value: Any, kind: FieldType, key: str, path: Path | None) -> Any:
    if not dataclasses.is_dataclass(kind.base):
        return convert(value, kind, key, path)
    if not isinstance(value, dict):
        raise InputError(f"{key}: is a section, not a value", path=path, remedy=f"Set {key}.NAME.")
    return from_dict(kind.base, value, path=path, prefix=f"{key}.")  # type: ignore[arg-type]


def _closest(name: str, known: Iterable[str], prefix: str) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {prefix}{close[0]}?"
    return f"Known: {', '.join(prefix + n for n in names[:40])}."


def _write_section(config: Any, name: str, lines: list[str]) -> None:
    docs = field_docs(type(config))
    fields = dataclasses.fields(config)
    sections = [f for f in fields if dataclasses.is_dataclass(getattr(config, f.name))]
    plain = [f for f in fields if f not in sections]
    if name and plain:
        lines += ["", f"[{name}]"]
    for field in plain:
        lines += [f"# {line}" for line in docs.get(field.name, "").splitlines()]
        lines.append(tomli_w.dumps({field.name: _plain(getattr(config, field.name))}).strip())
    for field in sections:
        _write_section(getattr(config, field.name), f"{name}.{field.name}".lstrip("."), lines)
