"""Two runs that must have ended alike."""

from __future__ import annotations

import numpy as np
import torch

from self6d.runs.folder import RunFolder


def assert_same_end(a: RunFolder, b: RunFolder) -> None:
    """The newest checkpoints' tensors and the curves are equal, bitwise."""
    first, second = (run.load_checkpoint(run.latest_checkpoint()) for run in (a, b))
    assert first.step == second.step
    assert first.tensors.keys() == second.tensors.keys()
    assert all(torch.equal(first.tensors[k], second.tensors[k]) for k in first.tensors)
    curves, others = a.curves(), b.curves()
    assert curves.keys() == others.keys()
    for name, (steps, values) in curves.items():
        assert np.array_equal(steps, others[name][0])
        assert np.array_equal(values, others[name][1], equal_nan=True)
