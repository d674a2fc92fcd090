"""Hostile input: run a loader and check that it behaves."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from self6d.datasets import open_dataset
from self6d.errors import InputError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 12345\n"


def state(folder: Path) -> dict[str, tuple]:
    """Names, sizes, contents and link targets of everything below a folder."""
    found: dict[str, tuple] = {}
    for here, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(here, name)
            if os.path.islink(path):
                found[path] = ("link", os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[path] = ("file", hashlib.sha1(file.read()).hexdigest())
            else:
                found[path] = ("folder",)
    return found


def survives(folder: Path, load: Callable[[], object]) -> InputError | None:
    """Run `load`; it must end well or in a one-line InputError, and change nothing."""
    before = state(folder)
    error = None
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            load()
        except InputError as caught:
            error = caught
    if error is not None:
        assert "\n" not in error.one_line()
        assert len(error.what) < 400
        assert error.remedy, error.one_line()
        assert error.exit_code == 2
    assert state(folder) == before
    return error


def read_all(path: Path) -> None:
    """Everything a reader offers."""
    dataset = open_dataset(path)
    for i in range(len(dataset)):
        frame = dataset.frame(i)
        assert frame.rgb.shape == (*frame.camera.size, 3)
        assert frame.rgb.dtype == np.uint8
        if frame.depth_m is not None:
            assert frame.depth_m.shape == frame.camera.size
            assert frame.depth_m.dtype == np.float32
            assert np.isfinite(frame.depth_m).all()
            assert frame.depth_m.min() >= 0
        dataset.truth(i)
    for name in dataset.split_names():
        dataset.split(name)
