"""A path of nothing, such as an unset variable of the shell: never the current folder."""

from __future__ import annotations

import pytest

import self6d
from self6d import cli
from self6d.errors import InputError


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["doctor", ""], "argument 2, after 'doctor', is empty"),
        (["doctor", "data", "--models", ""], "what --models is given is empty"),
        (["doctor", "data", "--models="], "what --models is given is empty"),
    ],
)
def test_an_unset_variable_is_not_the_current_folder(arguments, told, capsys):
    """`doctor ""` looked the current folder over."""
    assert cli.run(arguments) == 2
    err = capsys.readouterr().err
    assert err == f"error: {told}, as an unset variable of the shell is. Try --help.\n"


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_text_is_no_path_in_python(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the path is empty"):
        self6d.open_dataset(path)
    with pytest.raises(InputError, match="data: an empty text is no path"):
        self6d.track(path, ["cup.ply"], tmp_path / "out")
