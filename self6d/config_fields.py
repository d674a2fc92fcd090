"""Fields of configurations: types, limits, choices, docstrings, and values made to fit them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import sys
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_origin

from self6d.errors import InputError

NONE = "none"  # TOML has no null


@dataclass(frozen=True)
class Limits:
    """Smallest and largest value of a number, both included."""

    minimum: float | None = None
    maximum: float | None = None


class Checked:
    """Base of a configuration section: its values are checked however it is made.

    `from_dict` names the file of what is wrong in it; this refuses the same given in code. Rules
    between fields belong into a `__post_init__` that calls this one first.

    Args:
        section: its name in a run's configuration, for messages.
    """

    _section: ClassVar[str]

    def __init_subclass__(cls, section: str) -> None:
        cls._section = section

    def __post_init__(self) -> None:
        for name, kind in field_types(type(self)).items():
            convert(getattr(self, name), kind, f"{self._section}.{name}", None)


@dataclass(frozen=True)
class FieldInfo:
    """A field, as a form or a help page wants it.

    Attributes:
        key: dotted path from the outermost configuration, such as "loss.mask".
        kind: bool, int, float, str or tuple.
        optional: whether it may be None.
        value: now. default: of a new configuration.
        doc: its docstring.
        minimum, maximum: limits of a number.
        choices: all allowed values, or none given.
    """

    key: str
    kind: type
    optional: bool
    value: Any
    default: Any
    doc: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]

    @property
    def section(self) -> str:
        return self.key.rpartition(".")[0]


@dataclass(frozen=True)
class FieldType:
    """A field's type, taken apart."""

    base: Any
    args: tuple[Any, ...] = ()
    optional: bool = False
    limits: Limits = Limits()
    choices: tuple[Any, ...] = ()


def field_docs(cls: Any) -> Mapping[str, str]:
    """The docstring under each field of a dataclass, inherited ones included."""
    return _field_docs(cls)


@cache  # on its own: mypy holds no class to be hashable
def _field_docs(cls: Any) -> Mapping[str, str]:
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(typing.cast(type, base))))
        except (OSError, TypeError):  # made without a source file
            continue
        body = typing.cast(ast.ClassDef, tree.body[0]).body
        for statement, following in itertools.pairwise(body):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                docs[statement.target.id] = inspect.cleandoc(following.value.value)
    return docs


def field_types(cls: Any) -> Mapping[str, FieldType]:
    """The type of each field of a dataclass that its constructor takes."""
    return _field_types(cls)


@cache
def _field_types(cls: Any) -> Mapping[str, FieldType]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {
        field.name: _take_apart(hints[field.name], field.metadata)
        for field in dataclasses.fields(cls)
        if field.init
    }


def _take_apart(hint: Any, metadata: typing.Mapping[str, Any]) -> FieldType:
    limits = Limits(metadata.get("min"), metadata.get("max"))
    choices = tuple(metadata.get("choices", ()))
    optional = False
    while True:
        origin = get_origin(hint)
        if origin is typing.Annotated:
            hint, *notes = get_args(hint)
            limits = next((n for n in notes if isinstance(n, Limits)), limits)
        elif origin in (typing.Union, types.UnionType):
            inner = [a for a in get_args(hint) if a is not type(None)]
            optional = len(inner) < len(get_args(hint))
            if len(inner) != 1:
                raise TypeError(f"a configuration cannot hold {hint}")
            hint = inner[0]
        elif origin is Literal:
            choices = get_args(hint)
            return FieldType(type(choices[0]), (), optional, limits, choices)
        else:
            return FieldType(origin or hint, get_args(hint), optional, limits, choices)


def convert(value: Any, kind: FieldType, key: str, path: Path | None) -> Any:
    """A value as TOML gives it, as the field wants it.

    Args:
        key: the field's dotted name, for messages. path: the file the value came from.

    Raises:
        InputError: wrong type, not among the choices, or out of range.
    """
    if value is None or (value == NONE and kind.base is not str):
        if kind.optional:
            return None
    elif value == NONE and kind.optional and NONE not in kind.choices:
        return None
    converted = _as_type(value, kind)
    if converted is None:
        raise InputError(
            f"{key}: {shown(value)} is not {_wanted(kind)}", path=path, remedy="Correct it."
        )
    if kind.choices and converted not in kind.choices:
        names = ", ".join(str(c) for c in kind.choices)
        raise InputError(f"{key}: {shown(value)} is not allowed", path=path, remedy=f"Use {names}.")
    check_limits(converted, kind.limits, key, path)
    return converted


def _as_type(value: Any, kind: FieldType) -> Any:
    """The value converted without loss; None if that cannot be."""
    base = kind.base
    if base is bool:
        return value if isinstance(value, bool) else None
    if base is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if whole and abs(value) < 2**63 else None
    if base is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if abs(value) < math.inf and abs(value) <= sys.float_info.max else None
    if base is str:
        return value if isinstance(value, str) else None
    if base is Path:
        return Path(value) if isinstance(value, str | Path) else None
    if base in (tuple, list):
        if not isinstance(value, list | tuple):
            return None
        args = kind.args
        if base is tuple and args and args[-1] is not Ellipsis and len(args) != len(value):
            return None
        inner = [a for a in args if a is not Ellipsis] or [object]
        parts = [
            _as_type(v, _take_apart(inner[min(i, len(inner) - 1)], {})) for i, v in enumerate(value)
        ]
        return None if any(p is None for p in parts) else base(parts)
    if base is dict:
        return dict(value) if isinstance(value, dict) else None
    return value if base is object or base is Any else None


def check_limits(value: Any, limits: Limits, key: str, path: Path | None) -> None:
    low, high = limits.minimum, limits.maximum
    for number in value if isinstance(value, tuple | list) else [value]:
        if not isinstance(number, int | float):
            continue
        if (low is not None and number < low) or (high is not None and number > high):
            raise InputError(
                f"{key}: {number:g} is out of range",
                path=path,
                remedy=f"Allowed: {_span(low, high)}.",
            )


def _span(low: float | None, high: float | None) -> str:
    if high is None:
        return f"{low:g} or more"
    return f"{high:g} or less" if low is None else f"{low:g} to {high:g}"


def shown(value: Any) -> str:
    """As much of a value as fits into a line; an integer may have thousands of digits."""
    if isinstance(value, int) and abs(value) >= 10**60:
        return "a number of more than 60 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _wanted(kind: FieldType) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    if kind.base in (tuple, list):
        count = len(kind.args) if kind.args and kind.args[-1] is not Ellipsis else 0
        return f"a list of {count} values" if count and kind.base is tuple else "a list"
    return names.get(kind.base, f"a {kind.base.__name__}")
