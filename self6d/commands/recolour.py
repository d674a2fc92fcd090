"""recolour: the recording's own colours on the CAD models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from self6d.commands import early
from self6d.commands import options as opt


def register(app: typer.Typer) -> None:
    app.command()(recolour)


def recolour(
    data: opt.Data,
    poses: Annotated[
        Path,
        typer.Option(
            "--poses",
            help="Poses in the recording: poses.json of a track, or a run of track or adapt.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Models folder to make; never overwritten.")],
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--models", help="CAD files or a folder of them (default: the run's, the recording's)."
        ),
    ] = None,
    unit: opt.Unit = None,
    confidence: Annotated[
        float,
        typer.Option(min=0, max=1, help="Poses of a track below this confidence give no colour."),
    ] = 0.8,
    frames: Annotated[
        int,
        typer.Option(
            min=1, help="How many frames must show a vertex before it takes their colour."
        ),
    ] = 3,
    gains: Annotated[
        bool,
        typer.Option(
            "--gains/--no-gains", help="Even out the frames' exposure, with one gain a frame."
        ),
    ] = True,
    device: opt.Device = "auto",
    quiet: opt.Quiet = False,
) -> None:
    """Put the recording's colours on the CAD models."""
    run = poses if poses.is_dir() else None
    early.check(
        data=data, models=models, runs=[run], files=[] if run else [poses], out=out
    )  # fmt: skip
    from self6d.console import JobConsole

    with JobConsole("taking colours", quiet=quiet) as console:
        from self6d.jobs.prepare import resolve_device
        from self6d.recolouring import FuseOptions
        from self6d.recolouring import recolour as take_colours

        report = take_colours(
            data,
            poses,
            models,
            out,
            confidence=confidence,
            unit=unit or "auto",
            options=FuseOptions(frames=frames, gains=gains),
            device=resolve_device(device),
            listener=console,
        )
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"done: {out} (for --models)")
