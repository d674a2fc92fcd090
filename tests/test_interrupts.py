"""Ctrl+C ends a command, wherever it falls."""

import os
import signal
import time
import weakref
from contextlib import suppress

import pytest

from self6d import cli, interrupts

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends itself POSIX signals")


@pytest.fixture(autouse=True)
def heard():
    """Begun in the background of a shell, the tests would inherit that Ctrl+C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def lost_in_a_callback() -> None:
    class Thing:
        pass

    thing = Thing()
    weakref.finalize(thing, ctrl_c)  # Python prints what is raised here, and goes on
    del thing


def lost_in_an_except() -> None:
    with suppress(BaseException):
        ctrl_c()


def made_another_error() -> None:
    try:
        ctrl_c()
    except KeyboardInterrupt:
        raise ImportError("numpy cannot be imported") from None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "lose", [ctrl_c, lost_in_a_callback, lost_in_an_except, made_another_error]
)
def test_ends_soon_and_says_so_once(lose, monkeypatch, capsys):
    def command(**_):
        lose()
        for _ in range(500):
            time.sleep(0.01)
        pytest.fail("ran on to its end")

    monkeypatch.setattr(cli, "_command", lambda: command)
    began = time.monotonic()
    assert cli.run([]) == 130
    assert time.monotonic() - began < 3
    assert capsys.readouterr().err.strip().splitlines()[-1] == "error: interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_lost_just_before_the_end(monkeypatch):
    monkeypatch.setattr(cli, "_command", lambda: lambda **_: lost_in_an_except())
    assert cli.run([]) == 130


def test_cleaning_up_is_left_alone(monkeypatch):
    monkeypatch.setattr(interrupts, "AGAIN_S", 0.02)
    cleaned = []
    with suppress(KeyboardInterrupt), interrupts.interrupts():
        try:
            ctrl_c()
        finally:
            for _ in range(10):
                time.sleep(0.02)
            cleaned.append(True)
    assert cleaned


def test_second_one_while_cleaning_up_ends_it():
    ended = []
    with suppress(KeyboardInterrupt), interrupts.interrupts():
        try:
            ctrl_c()
        finally:
            ctrl_c()
            ended.append(False)
    assert not ended
