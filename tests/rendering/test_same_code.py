"""Compiled loops round alike whether they come from the compiler or from numba's cache."""

import gc

import pytest

from self6d import numba_tools
from self6d.losses.cpu import geometric, ms_ssim, perceptual
from self6d.rendering.cpu import backward, forward, soft


@pytest.mark.parametrize("module", [forward, backward, soft, geometric, ms_ssim, perceptual])
def test_no_loop_lets_the_compiler_order_its_sums(module):
    loops = [f for f in vars(module).values() if hasattr(f, "targetoptions")]
    assert loops
    for loop in loops:
        allowed = loop.targetoptions.get("fastmath", set())
        assert set(allowed or ()) <= {"contract", "nsz"}, loop.py_func.__name__


def test_the_collector_walks_everything_again_after_the_first_call(monkeypatch):
    monkeypatch.setattr(numba_tools, "_begun", [])
    gc.unfreeze()  # what was there when the tests were collected
    counted = []

    def fails():
        with numba_tools.first_call():
            counted.append(gc.get_freeze_count())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert counted[0] > 1000
    assert gc.get_freeze_count() == 0
    with numba_tools.first_call():
        assert gc.get_freeze_count() == 0  # once is enough


def test_what_a_program_froze_stays_frozen(monkeypatch):
    monkeypatch.setattr(numba_tools, "_begun", [])
    mine: list = []
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with numba_tools.first_call():
            pass
        assert frozen > 100_000 > numba_tools.FROZEN_BY_PYTHON
        # a few of the million may die meanwhile, such as what another thread lets go
        assert gc.get_freeze_count() > 0.99 * frozen
        assert not any(x is mine for x in gc.get_objects())  # which tells what is not frozen
        with monkeypatch.context() as later:  # a million objects are counted once, not every call
            later.delattr(gc, "get_freeze_count")
            with numba_tools.first_call():
                pass
    finally:
        gc.unfreeze()
