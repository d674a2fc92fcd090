"""How long a run would take, told before it starts: measured, and by whom, or not known."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from self6d.config import load_preset
from self6d.events import in_words
from self6d.laptop.order import STAGE_2, STAGE_2_GPU
from studio.jobs.run_info import RunInfo, brief, checkpoint_steps

OF_TRACKS = (STAGE_2, STAGE_2_GPU)  # learn from a track: the Track tab offers them
FOR_CPU = ("tiny", "self6d-tiny", "self6d-plus-tiny", STAGE_2)
CORES, H200 = "on two CPU cores that do nothing else", "on an NVIDIA H200"
FEWEST = 40  # steps that tell how long one takes: before them lies what all are prepared by
TIMED = {
    # (preset, on a GPU): seconds a step, where, on what
    ("tiny", False): (0.34, f"timed {CORES}, with one object"),  # `quick` on mustard0
    ("self6d-tiny", False): (0.45, f"timed {CORES}, on 150 frames"),
    ("self6d-plus-tiny", False): (0.93, "timed with two CPU threads, on the sample"),  # `demo`
    ("standard", True): (0.090, f"timed {H200}, images of 640 x 480"),  # 708 images a second
    ("self6d", True): (0.24, f"at most, timed {H200} beside eight other runs"),
    ("self6d-plus", True): (0.30, f"timed {H200} with smaller crops, on 600 frames"),  # benchmark
}


def told(
    kind: str, preset: str, steps: int | None, minutes: float | None, overrides: dict[str, Any],
    runs: Sequence[RunInfo], *, gpu: bool,
) -> tuple[str, str]:  # fmt: skip
    """How long a run takes: in a few words, and in a sentence that says where it was timed.

    Args:
        steps, minutes: that were chosen; None: the preset's.

    Raises:
        InputError: the preset cannot be read.
    """
    own = load_preset(preset).get(kind, {}).get("steps", 0)
    count = int(steps or overrides.get(f"{kind}.steps") or own)
    short, sentence = expected(kind, preset, count, overrides, runs, gpu=gpu)
    if minutes is not None:
        ends = f"Its steps end after {minutes:g} min at the latest, and begin once all is prepared."
        return f"{minutes:g} min of steps at most", f"{ends} {sentence}"
    return short, sentence


def expected(
    kind: str, preset: str, steps: int, overrides: dict[str, Any], runs: Sequence[RunInfo],
    *, gpu: bool,
) -> tuple[str, str]:  # fmt: skip
    """How long so many steps take: in a few words, and in a sentence that says who timed it.

    What this machine was timed at with the same settings comes before what was published.

    Args:
        runs: those there are, the newest last. gpu: whether it would run on one.
    """
    for run in reversed(runs):
        about = run.provenance
        same = (run.kind, about.preset, _own(about.overrides)) == (kind, preset, _own(overrides))
        step_s = seconds_a_step(run.path, run.step, gpu=gpu) if same else None
        if step_s is not None:
            short = in_words(steps * step_s)
            return short, f"{_begin(short)}: {steps} steps as in {brief(run.name)}, timed here."
    if (preset, gpu) in TIMED and not _own(overrides):
        step_s, where = TIMED[preset, gpu]
        short = in_words(steps * step_s)
        return short, f"{_begin(short)}: {steps} steps, {where}. Other machines and data differ."
    after = f"The bar below tells the time left of its {steps} steps after the first ones."
    if not gpu and preset not in FOR_CPU and not preset.endswith(".toml"):
        return "made for a GPU", f"Made for a GPU and not timed on a CPU. {after}"
    return "not timed", f"Not timed with these settings. {after}"


@lru_cache(maxsize=256)
def seconds_a_step(run: Path, step: int, *, gpu: bool) -> float | None:
    """What a run's steps took, all its work counted; None: too few, or on another machine.

    Args:
        step: of the run now, so that a run that goes on is read again.
    """
    for number in reversed(checkpoint_steps(run)):
        if number < FEWEST:
            break
        try:
            info = json.loads((run / "checkpoints" / f"step_{number:08d}.json").read_text())["info"]
            worked, versions = float(info["elapsed_s"]), info["versions"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        here = versions.get("platform") == platform.platform() and ("gpu" in versions) == gpu
        return worked / number if here and number and worked else None
    return None


def _own(overrides: dict[str, Any]) -> dict[str, Any]:
    """Those that may change how long a step takes."""
    same = ("models.unit", "train.steps", "adapt.steps")
    return {key: value for key, value in overrides.items() if key not in same}


def _begin(text: str) -> str:
    return text[:1].upper() + text[1:]
