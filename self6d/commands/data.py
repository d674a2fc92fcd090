"""doctor, sample, synth: looking at data and making it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from self6d.commands import early
from self6d.commands import options as opt


def register(app: typer.Typer) -> None:
    app.command()(doctor)
    app.command()(sample)
    synth = typer.Typer(
        help="Show the images of stage 1.", no_args_is_help=True, rich_markup_mode=None
    )
    synth.command("preview")(synth_preview)
    synth.callback()(lambda: None)
    app.add_typer(synth, name="synth")


def doctor(
    data: opt.Data,
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    fix: Annotated[
        Path | None, typer.Option("--fix", help="Write a corrected copy into this new folder.")
    ] = None,
    json_path: opt.Json = None,
    quiet: opt.Quiet = False,
) -> None:
    """Say what a recording is and what is wrong with it."""
    early.check(models=models)
    from self6d.commands.output import write_json
    from self6d.console import JobConsole
    from self6d.doctor import doctor as doctoring

    with JobConsole("examining", quiet=quiet) as console:
        report = doctoring.examine(data, models, unit=unit or "auto", listener=console)
    typer.echo(report.text())
    write_json(json_path, report.to_dict())
    if fix is None and not report.ok:
        raise typer.Exit(2)
    if fix is not None:
        with JobConsole("copying", quiet=quiet) as console:
            doctoring.write_fixed(report, fix, listener=console)
        typer.echo(f"corrected copy: {fix}")
        lacks = doctoring.shortcomings(report, fix)
        for text in lacks:
            typer.echo(f"  {text}")
        if lacks:
            raise typer.Exit(2)


def sample(
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    frames: Annotated[int, typer.Option(min=1, help="Unlabelled frames.")] = 160,
    eval_frames: Annotated[int, typer.Option(min=1, help="Held-out labelled frames.")] = 60,
    seed: opt.Seed = 7,
    quiet: opt.Quiet = False,
) -> None:
    """Generate an RGB-D recording with held-out ground truth.

    Three objects, a sensor with faults that stage 1 never renders, splits adapt and eval.
    """
    from self6d.console import JobConsole
    from self6d.sample.sample import make_sample

    with JobConsole("generating", quiet=quiet) as console:
        make_sample(out, seed, frames, eval_frames, listener=console)
    typer.echo(f"done: {out}")


def synth_preview(
    models: opt.Models,
    out: Annotated[Path, typer.Option(help="PNG to write.")],
    unit: opt.Unit = None,
    preset: Annotated[str, typer.Option(help="Preset of synthesis.")] = "standard",
    camera: Annotated[
        Path | None, typer.Option(help="Recording or camera file whose intrinsics to use.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, max=64, help="How many.")] = 12,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    assignments: opt.Set = None,
) -> None:
    """A contact sheet of the images that stage 1 would train on."""
    early.check(models=models, camera=camera, preset=preset, assignments=assignments)
    from self6d import jobs

    jobs.synth_preview(
        models,
        out,
        preset=preset,
        camera=camera,
        images=images,
        seed=seed,
        device=device,
        overrides=opt.with_unit(assignments, unit),
    )
    typer.echo(f"done: {out}")
