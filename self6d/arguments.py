"""Arguments of the public functions: what people give from Python, held against the annotations."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, wraps
from inspect import signature
from numbers import Real
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_origin

from self6d.config_fields import Limits, check_limits, shown
from self6d.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")
_KINDS: dict[Any, tuple[Any, str]] = {
    str: (str, "text"),
    Path: ((str, PathLike), "a path"),
    float: (Real, "a number"),
}  # whole numbers: the configuration or recording they are for says more

_LISTS = (list, Iterable, Sequence)


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The function, refusing arguments of another kind or out of range before it begins.

    Looked at are texts, paths, floats (with `Limits` in an `Annotated`), functions, devices, lists,
    dicts and classes of this program; whatever else an annotation names is left to the function.
    What can be gone through once, such as a generator of CAD files, is given on as a list: jobs
    read such more often.

    Raises:
        InputError: names the argument.

    >>> @checked
    ... def half(share: Annotated[float, Limits(0, 1)]) -> float:
    ...     return share / 2
    >>> half(7)
    Traceback (most recent call last):
    self6d.errors.InputError: share: 7 is out of range. Allowed: 0 to 1.
    """
    takes = signature(function)

    @wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> T:
        try:
            bound = takes.bind(*args, **given)
        except TypeError:  # the caller's mistake, which Python tells best itself
            return function(*args, **given)
        for name, value in bound.arguments.items():
            if isinstance(value, Iterator):
                bound.arguments[name] = list(value)
        check_values(function, bound.arguments)
        return function(*bound.args, **bound.kwargs)

    return call


def check_values(annotated: Any, values: Mapping[str, Any]) -> None:
    """Whether values fit the annotations of a function or class; those without one do.

    Raises:
        InputError: for the first that does not.
    """
    hints = _hints(annotated)
    for name, value in values.items():
        if name in hints:
            _check(name, value, hints[name])


@cache
def _hints(annotated: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(annotated, include_extras=True)


def _check(name: str, value: Any, hint: Any) -> None:
    limits = Limits()
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        limits = next((n for n in notes if isinstance(n, Limits)), limits)
    union = get_origin(hint) in (typing.Union, UnionType)
    options = get_args(hint) if union else (hint,)
    kinds = [_kind(option) for option in options if option is not type(None)]
    optional = type(None) in options
    if None in kinds or (value is None and optional):
        return
    known = [kind for kind in kinds if kind is not None]
    if isinstance(value, bool) or not any(isinstance(value, one) for one, _ in known):
        words = [word for _, word in known]
        words = [word for word in words if word != "text" or "a path" not in words]
        raise InputError(
            f"{name}: {shown(value)} is not {' or '.join(words)}",
            remedy="Give one, or leave it out." if optional else "Give one.",
        )
    if isinstance(value, str) and not value.strip() and any(w == "a path" for _, w in known):
        raise InputError(f"{name}: an empty text is no path", remedy="Name a file or folder.")
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        for option in (option for option in options if get_origin(option) in _LISTS):
            for one in value:
                _check(name, one, get_args(option)[0])
    elif isinstance(value, Real):
        if not value == value:
            raise InputError(f"{name}: {value} is not a number", remedy="Give one.")
        check_limits(float(value), limits, name, None)


def _kind(option: Any) -> tuple[Any, str] | None:
    """What a value must be an instance of, and in words; None where that is left open."""
    if option in _KINDS:
        return _KINDS[option]
    origin = get_origin(option)
    if origin is Callable:
        return Callable, "a function"
    if origin is dict:
        return dict, "a dict"
    if origin in _LISTS:
        return Iterable, "a list"
    if isinstance(option, type) and option.__module__.partition(".")[0] in ("self6d", "torch"):
        return option, f"a {option.__name__}"
    return None
