"""The public door: every name opens, and the examples in its docstrings run, as one story."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from small_runs import SMALL, STAGE_2

import self6d

STORY = (
    "Camera", "Control", "Pose", "Frame", "ObjectModel", "open_dataset", "load_models",
    "pack_models", "render", "train", "adapt", "predict", "evaluate", "export", "optimize", "track",
    "quick",
)  # fmt: skip


def test_every_public_name_is_in_the_story():
    assert sorted(STORY) == sorted(self6d.__all__)
    assert set(self6d.__all__) <= set(dir(self6d))
    with pytest.raises(AttributeError, match="no attribute 'typo'"):
        self6d.typo  # noqa: B018


def test_examples_run(tmp_path: Path):
    from self6d.sample.sample import make_sample

    recording = make_sample(tmp_path / "sample", 7, 6, 3, size=(96, 128))
    names = {"recording": recording, "out": tmp_path, "small": SMALL, "small_2": STAGE_2}
    names["small_track"] = {
        "track.points": 64, "track.views": 12, "track.steps": 2, "track.candidates": 100,
        "track.hypotheses": 1, "track.looked_at": 8, "track.keep": 2, "track.search_every": 100,
        "track.region": 48, "track.looks": 2, "track.starts": 1, "track.glances": 2,
    }  # fmt: skip
    names |= {
        "self6d": self6d,
        "load_models": self6d.load_models,
        "pack_models": self6d.pack_models,
    }
    tried = doctest.testmod(self6d, extraglobs=names, raise_on_error=True).attempted
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DebugRunner()
    for name in STORY:
        for example in finder.find(getattr(self6d, name), name, extraglobs=names):
            runner.run(example, clear_globs=False)
            tried += len(example.examples)
    assert tried >= 20
