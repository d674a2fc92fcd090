"""Errors: one line, an exit code each, and they survive a trip between processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from self6d import errors
from self6d.errors import InputError, Self6DError

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Self6DError)
]


def test_message_is_one_line_with_path_and_remedy():
    error = InputError("mesh has\nno faces.", path="a/b.ply", remedy="Export it\nagain.")
    assert error.one_line() == "a/b.ply: mesh has no faces. Export it again."
    assert str(error) == error.one_line()


@pytest.mark.parametrize("kind", KINDS)
def test_pickled_and_back(kind):
    error = kind("what", path=Path("x"), remedy="do")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (back.what, back.path, back.remedy) == (error.what, error.path, error.remedy)


def test_exit_codes_are_distinct_and_never_zero():
    codes = [kind.exit_code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes
    assert InputError.exit_code == 2
