"""quick: from CAD files and a recording to a network of one's own, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from self6d.commands import early
from self6d.commands import options as opt
from self6d.files import POSE_EXAMPLE


def register(app: typer.Typer) -> None:
    app.command()(quick)


def quick(
    data: opt.Data,
    out: Annotated[Path, typer.Option("--out", help="Folder to make; never overwritten.")] = Path(
        "quick"
    ),
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", help="CAD files or a folder of them (default: the recording's)."),
    ] = None,
    unit: opt.Unit = None,
    init: Annotated[
        Path | None,
        typer.Option(help=f"JSON with a rough start pose, such as {POSE_EXAMPLE}; see track."),
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="Look for the objects (default without --init).")
    ] = False,
    from_run: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Run whose network finds the objects and learns from their track (on a GPU with "
            "preset tracked), instead of a new stage 1.",
        ),
    ] = None,
    object_id: Annotated[
        int | None, typer.Option("--object", help="Only this object (default: all).")
    ] = None,
    frame: Annotated[
        int | None,
        typer.Option(min=0, help="Image number of a single start pose (default: first)."),
    ] = None,
    scene: Annotated[
        int | None, typer.Option(help="Scene of that image, if there are several.")
    ] = None,
    cuts: Annotated[
        list[int] | None,
        typer.Option(
            "--cut",
            help="First image after things were moved, as in track; repeatable.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Named split of the recording (default: adapt, else all).")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=1,
            help="About how long it may take (default: 38 on two idle cores). If the minimum is "
            "longer, that is said, and the minimum used.",
        ),
    ] = None,
    colours: Annotated[
        bool,
        typer.Option(
            "--colours/--no-colours",
            help="Train with the recording's colours on the CAD files, or with the files' own.",
        ),
    ] = True,
    onnx: Annotated[
        bool | None,
        typer.Option("--onnx/--no-onnx", help="Also write ONNX (default: where it is installed)."),
    ] = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    assignments: opt.Set = None,
    resume: opt.Resume = False,
    take_lock: opt.TakeLock = False,
    check: opt.Check = True,
    quiet: opt.Quiet = False,
) -> None:
    """All in one, no GPU needed: track, train, learn, export."""
    early.check(
        data=data, models=models, runs=[from_run], init=init, out=out,
        resume=resume, assignments=assignments,
    )  # fmt: skip
    early.recording(data, split, "adapt", read=check)
    from self6d.console import JobConsole, steering

    with JobConsole("quick", quiet=quiet, by_phase=True) as console, steering(console) as control:
        # seconds in which Ctrl+C is heard already
        from self6d.commands.output import say_end
        from self6d.laptop.quick import quick as run_quick

        made = run_quick(
            data,
            models,
            out,
            init=init,
            search=search,
            from_run=from_run,
            object_id=object_id,
            frame=frame,
            scene=scene,
            cuts=cuts or (),
            split=split,
            minutes=minutes,
            overrides=opt.with_unit(assignments, unit),
            seed=seed,
            device=device,
            colours=colours,
            onnx=onnx,
            resume=resume,
            take_lock=take_lock,
            check=check,
            listener=console,
            control=control,
        )
    took = ", ".join(f"{name} {_took(seconds)}" for name, seconds in made.seconds.items())
    stopped = made.status == "stopped"
    goes_on = f"stopped ({took}); go on with --resume: {made.path}"
    say_end(goes_on if stopped else f"done ({took}): {made.package}", stopped=stopped)


def _took(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
