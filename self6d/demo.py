"""The main job on the generated recording: sample, stage 1, stage 2, before and after."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import typer

from self6d import jobs
from self6d.console import JobConsole, error_console, steering
from self6d.errors import InputError
from self6d.evaluation.report import Report
from self6d.files import is_free
from self6d.paths import SAMPLE_STAGE_1, find_resource
from self6d.runs.folder import RunFolder
from self6d.sample.sample import make_sample
from self6d.storage import atomic_write

SAMPLE_SEED = 7
SAMPLE_FRAMES, SAMPLE_EVAL, SAMPLE_SIZE = 160, 60, (240, 320)
STAGE_1, STAGE_2 = "tiny", "self6d-plus-tiny"


def run_demo(
    out: Path,
    *,
    from_scratch: bool = False,
    seed: int = 0,
    device: str = "auto",
    fresh: bool = False,
    quiet: bool = False,
) -> bool:
    """Make the sample, take or train stage 1, adapt, evaluate both, print the table.

    What an earlier demo with the same settings left in `out` is taken up again; another one gets a
    numbered folder beside it. The same seed gives the same table.

    Args:
        out: folder for everything; made if missing.
        from_scratch: train stage 1 instead of taking the shipped one.
        fresh: start anew in a new folder.
        quiet: print the table alone, and warnings and errors.

    Returns:
        False: it was stopped on the way; the same call goes on from there.

    Raises:
        InputError: `out` holds something else.
        Self6DError: as the jobs raise them.
    """
    began = time.monotonic()
    place = demo_folder(out, seed=seed, from_scratch=from_scratch, fresh=fresh)

    def say(text: str) -> None:
        if not quiet:
            error_console().print(text)

    sample, before, after = place / "sample", place / "stage1", place / "adapted"
    if not sample.exists():
        with JobConsole("sample", quiet=quiet) as console:
            make_sample(
                sample, SAMPLE_SEED, SAMPLE_FRAMES, SAMPLE_EVAL, SAMPLE_SIZE, listener=console
            )
    shipped = None if from_scratch else find_resource(SAMPLE_STAGE_1)
    if shipped is None:
        with JobConsole("stage 1", quiet=quiet) as console, steering(console) as control:
            run = jobs.train(
                sample / "models",
                before,
                preset=STAGE_1,
                camera=sample,
                seed=seed,
                device=device,
                resume=True,
                listener=console,
                control=control,
            )
        if run.status == "stopped":
            return False
    elif not before.exists():
        shutil.copytree(shipped, before)
        say(f"stage 1: shipped with the program ({RunFolder.open(before).info['step']} steps)")
    with JobConsole("stage 2", quiet=quiet) as console, steering(console) as control:
        run = jobs.adapt(
            sample,
            None,
            before,
            after,
            preset=STAGE_2,
            # things are put elsewhere now and then, but none moves by itself; a run keeps this
            still=is_free(after),
            seed=seed,
            device=device,
            resume=True,
            listener=console,
            control=control,
        )
    if run.status == "stopped":
        return False
    with JobConsole("evaluation", quiet=quiet) as console:
        report, moved = (
            jobs.evaluate(
                sample, None, [before, after], split=split, device=device, listener=console
            )
            for split in ("eval", "moved")
        )
    # how long an image took would make the same table look different
    report = Report(tuple(replace(r, seconds_per_image=None) for r in report.results))
    typer.echo(report.text())
    typer.echo(f"with the things moved to where they were not recorded: {moved.change()}")
    atomic_write(place / "table.txt", report.text().encode())
    atomic_write(place / "table.json", report.json().encode())
    minutes = (time.monotonic() - began) / 60
    say(f"{minutes:.1f} min; everything is in {place}")
    say(f"look at it: self6d-studio launch {place}")
    return True


def demo_folder(out: Path, *, seed: int, from_scratch: bool, fresh: bool = False) -> Path:
    """The folder to work in: `out`, or a numbered one beside it for another or a fresh demo.

    Raises:
        InputError: `out` is a file, or holds something else.
    """
    settings = {"demo": 2, "seed": seed, "from_scratch": from_scratch}
    if out.exists() and not out.is_dir():
        raise InputError("is a file", path=out, remedy="Name a folder with --out.")
    if out.is_dir() and any(out.iterdir()) and not (out / "demo.json").is_file():
        raise InputError("is not empty", path=out, remedy="Name a new folder with --out.")
    place, number = out, 1
    while (place / "demo.json").is_file():
        if not fresh and json.loads((place / "demo.json").read_text()) == settings:
            return place
        number += 1
        place = out.with_name(f"{out.name}-{number}")
    place.mkdir(parents=True, exist_ok=True)
    atomic_write(place / "demo.json", json.dumps(settings).encode())
    return place
