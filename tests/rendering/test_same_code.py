"""Compiled loops round alike whether they come from the compiler or from numba's cache."""

import pytest

from self6d.losses.cpu import geometric, ms_ssim, perceptual
from self6d.rendering.cpu import backward, forward, soft


@pytest.mark.parametrize("module", [forward, backward, soft, geometric, ms_ssim, perceptual])
def test_no_loop_lets_the_compiler_order_its_sums(module):
    loops = [f for f in vars(module).values() if hasattr(f, "targetoptions")]
    assert loops
    for loop in loops:
        allowed = loop.targetoptions.get("fastmath", set())
        assert set(allowed or ()) <= {"contract", "nsz"}, loop.py_func.__name__
