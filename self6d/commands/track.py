"""track: poses through a whole recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from self6d.commands import early
from self6d.commands import options as opt
from self6d.files import POSE_EXAMPLE


def register(app: typer.Typer) -> None:
    app.command()(track)


def track(
    data: opt.Data,
    out: opt.Out,
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", help="CAD files or a folder of them (default: the recording's)."),
    ] = None,
    unit: opt.Unit = None,
    object_id: Annotated[
        int | None, typer.Option("--object", help="Follow only this object (default: all).")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            help=f"JSON with a rough start pose such as {POSE_EXAMPLE} (or t_m2c_m), a list of "
            "such with obj_id, BOP's scene_gt.json, or an earlier track (folder or poses.json). "
            "Objects without a start are looked for; --object follows one alone."
        ),
    ] = None,
    from_run: Annotated[
        Path | None,
        typer.Option("--from", help="Run, or exported package, whose network finds the objects."),
    ] = None,
    search: Annotated[
        bool,
        typer.Option(
            "--search",
            help="Look for the objects without a start pose. Needs depth, and 8 to 15 s of one "
            "core for each frame searched.",
        ),
    ] = False,
    frame: Annotated[
        int | None,
        typer.Option(min=0, help="Image number of a single start pose (default: first)."),
    ] = None,
    scene: Annotated[
        int | None, typer.Option(help="Scene of that image, if there are several.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Named split of the recording (default: all frames).")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="poses.json of an earlier track, or a part of it, to keep: its frames are not "
            "tracked again."
        ),
    ] = None,
    cuts: Annotated[
        list[int] | None,
        typer.Option(
            "--cut",
            help="First image after an interruption in which things were moved; repeatable. "
            "Objects are not followed across it.",
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="track, or a .toml file.")] = "track",
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Optimiser steps a frame.")
    ] = None,
    still: Annotated[
        bool,
        typer.Option(
            "--still",
            help="Nothing but the camera moves: one arrangement is solved for all frames; poses "
            "that disagree with it, and lost ones, are looked for where it puts them.",
        ),
    ] = False,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    assignments: opt.Set = None,
    resume: opt.Resume = False,
    take_lock: opt.TakeLock = False,
    quiet: opt.Quiet = False,
) -> None:
    """Follow objects through a whole recording."""
    early.check(
        data=data, models=models, trained=from_run, init=init,
        files=[keep] if keep is not None else [], out=out, resume=resume,
        preset=preset, stage="track", assignments=assignments,
    )  # fmt: skip
    from self6d.console import JobConsole, steering

    with JobConsole("tracking", quiet=quiet) as console, steering(console) as control:
        from self6d import jobs  # seconds in which Ctrl+C is heard already

        run = jobs.track(
            data,
            models,
            out,
            init=init,
            from_run=from_run,
            search=search,
            object_id=object_id,
            frame=frame,
            scene=scene,
            split=split,
            keep=keep,
            cuts=cuts or (),
            preset=preset,
            steps=steps,
            still=still,
            seed=seed,
            device=device,
            overrides=opt.with_unit(assignments, unit),
            resume=resume,
            take_lock=take_lock,
            listener=console,
            control=control,
        )
    _say_end(run.path, run.status, run.result)


def _say_end(path: Path, status: str, result: dict) -> None:
    from self6d.commands.output import print_table, say_end

    states = ("tracked", "weak", "lost", "found again")
    rows = [
        [object_id, *(row[s] for s in states), f"{row['confidence']:.2f}"]
        for object_id, row in result.get("objects", {}).items()
    ]
    print_table(["object", *states, "mean confidence"], rows)
    for object_id, row in result.get("objects", {}).items():
        if row.get("settled"):
            typer.echo(
                f"object {object_id}: {row['settled']} poses are from where the arrangement puts "
                "it; their confidence is what the image says there"
            )
        if row.get("unplaced"):
            typer.echo(
                f"object {object_id}: has no one place (in every piece of the recording), since "
                "it moves or too few of its poses are sure; there its poses stay as they were"
            )
    stopped = status == "stopped"
    goes_on = f"stopped; frames not reached count as lost; go on with --resume: {path}"
    say_end(goes_on if stopped else f"done: {path / 'poses.json'}", stopped=stopped)
