"""Compiled loops round alike whether they come from the compiler or from numba's cache."""

import gc
import importlib
import os
import sys

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


def test_a_loop_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "edited_loops"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "whole.py").write_text(
        "from edited_loops.part import one\nfrom self6d.numba_tools import jit\n"
        "@jit\ndef twice(x):\n    return one(one(x))\n"
    )
    for step, compiled in ((1, 1), (1, 0), (100, 1)):
        (folder / "part.py").write_text(
            f"from self6d.numba_tools import jit\n@jit\ndef one(x):\n    return x + {step}\n"
        )
        os.utime(folder / "part.py", ns=(step, step))
        for name in [name for name in sys.modules if name.startswith("edited_loops")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(numba_tools, "_states", {})
        importlib.invalidate_caches()
        twice = importlib.import_module("edited_loops.whole").twice
        assert twice(5) == 5 + 2 * step
        assert sum(twice.stats.cache_misses.values()) == compiled


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
