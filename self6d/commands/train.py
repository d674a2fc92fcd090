"""train, adapt, optimize, demo: the jobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from self6d.commands import early
from self6d.commands import options as opt
from self6d.commands.processes import share_out
from self6d.config import USUAL_ADAPT, preset_names
from self6d.files import POSE_EXAMPLE


def register(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(train_refiner)
    app.command()(adapt)
    app.command()(optimize)
    app.command()(demo)


def train(
    ctx: typer.Context,
    models: opt.Models,
    out: opt.Out,
    unit: opt.Unit = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Run of the same objects to continue from; its network keeps its form."
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help=f"{', '.join(preset_names(1))}, or a .toml file.")
    ] = "standard",
    camera: Annotated[
        Path | None,
        typer.Option(help="Recording or camera file whose intrinsics the images get."),
    ] = None,
    poses: Annotated[
        Path | None,
        typer.Option(
            "--poses",
            help="Track of that recording (its folder or poses.json) to learn from as well.",
        ),
    ] = None,
    steps: opt.Steps = None,
    minutes: opt.Minutes = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    gpus: opt.Gpus = 1,
    assignments: opt.Set = None,
    resume: opt.Resume = False,
    take_lock: opt.TakeLock = False,
    check: opt.Check = True,
    quiet: opt.Quiet = False,
) -> None:
    """Stage 1: train on synthetic images of CAD models."""
    early.check(
        models=models, camera=camera, runs=[start] if start else [],
        files=[poses] if poses else [], out=out, resume=resume, preset=preset, stage=1,
        assignments=assignments,
    )  # fmt: skip
    if camera is not None:
        early.recording_or_camera(camera, read=check)
    from self6d.console import JobConsole, steering

    share_out(ctx, gpus, device)
    with JobConsole("training", quiet=quiet) as console, steering(console) as control:
        from self6d import jobs  # seconds in which Ctrl+C is heard already

        run = jobs.train(
            models,
            out,
            start=start,
            preset=preset,
            camera=camera,
            poses=poses,
            steps=steps,
            minutes=minutes,
            seed=seed,
            device=device,
            overrides=opt.with_unit(assignments, unit),
            resume=resume,
            take_lock=take_lock,
            check=check,
            listener=console,
            control=control,
        )
    _say_end(run)


def train_refiner(
    ctx: typer.Context,
    out: opt.Out,
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", help="CAD files or a folder of them (default: generated shapes)."),
    ] = None,
    unit: opt.Unit = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Refiner to continue from: run folder or file.")
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(preset_names('refiner'))} (for every object), or a .toml file."
        ),
    ] = "refiner",
    camera: Annotated[
        Path | None,
        typer.Option(help="Recording or camera file whose intrinsics the images get."),
    ] = None,
    steps: opt.Steps = None,
    minutes: opt.Minutes = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    gpus: opt.Gpus = 1,
    assignments: opt.Set = None,
    resume: opt.Resume = False,
    take_lock: opt.TakeLock = False,
    quiet: opt.Quiet = False,
) -> None:
    """Train an RGB refiner, which corrects poses."""
    early.check(
        models=models, camera=camera, out=out, resume=resume, preset=preset, stage="refiner",
        assignments=assignments,
    )  # fmt: skip
    from self6d.console import JobConsole, steering

    share_out(ctx, gpus, device)
    with JobConsole("training", quiet=quiet) as console, steering(console) as control:
        from self6d import jobs  # seconds in which Ctrl+C is heard already

        run = jobs.train_refiner(
            models,
            out,
            start=start,
            preset=preset,
            camera=camera,
            steps=steps,
            minutes=minutes,
            seed=seed,
            device=device,
            overrides=opt.with_unit(assignments, unit),
            resume=resume,
            take_lock=take_lock,
            listener=console,
            control=control,
        )
    _say_end(run)


def adapt(
    ctx: typer.Context,
    data: opt.Data,
    from_run: Annotated[Path, typer.Option("--from", help="Run to start from.")],
    out: opt.Out,
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    preset: Annotated[
        str, typer.Option(help=f"{', '.join(preset_names(2))}, or a .toml file.")
    ] = USUAL_ADAPT,
    split: Annotated[
        str | None, typer.Option(help="Named split of the recording (default: adapt, else all).")
    ] = None,
    poses: Annotated[
        Path | None,
        typer.Option(
            "--poses",
            help="Track (its folder or poses.json) to learn from: presets laptop, tracked.",
        ),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of these frames to use, evenly spaced.")
    ] = 1.0,
    refiner: Annotated[
        Path | None,
        typer.Option(
            help='Run of train-refiner, or "shipped": corrects the poses learned from, and learns.'
        ),
    ] = None,
    still: Annotated[
        bool,
        typer.Option(
            "--still",
            help="Nothing but the camera moves for stretches of frames: sound poses are carried "
            "to other frames (with depth) or solved together (without), and learned from.",
        ),
    ] = False,
    steps: opt.Steps = None,
    minutes: opt.Minutes = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    gpus: opt.Gpus = 1,
    assignments: opt.Set = None,
    resume: opt.Resume = False,
    take_lock: opt.TakeLock = False,
    check: opt.Check = True,
    quiet: opt.Quiet = False,
) -> None:
    """Stage 2: adapt to a recording without labels."""
    early.check(
        data=data, models=models, runs=[from_run], refiner=refiner, files=[poses] if poses else [],
        out=out, resume=resume, preset=preset, stage=2, assignments=assignments,
    )  # fmt: skip
    early.recording(data, split, "adapt", read=check)
    from self6d.console import JobConsole, steering

    share_out(ctx, gpus, device)
    with JobConsole("adapting", quiet=quiet) as console, steering(console) as control:
        from self6d import jobs  # seconds in which Ctrl+C is heard already

        run = jobs.adapt(
            data,
            models,
            from_run,
            out,
            preset=preset,
            split=split,
            share=share,
            poses=poses,
            steps=steps,
            minutes=minutes,
            refiner=refiner,
            still=still,
            seed=seed,
            device=device,
            overrides=opt.with_unit(assignments, unit),
            resume=resume,
            take_lock=take_lock,
            check=check,
            listener=console,
            control=control,
        )
    _say_end(run)


def optimize(
    data: opt.Data,
    frame: Annotated[int, typer.Option(min=0, help="Image number (BOP) or index in the folder.")],
    object_id: Annotated[int, typer.Option("--object", help="Object number.")],
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    scene: Annotated[int | None, typer.Option(help="Scene number, if there are several.")] = None,
    from_run: Annotated[
        Path | None, typer.Option("--from", help="Run whose network gives start pose and mask.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help=f"JSON with the start pose, such as {POSE_EXAMPLE} (or t_m2c_m)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make (default: none).")] = None,
    preset: Annotated[str, typer.Option(help="Preset of loss and optimiser.")] = "self6d-paper",
    steps: opt.Steps = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    assignments: opt.Set = None,
    json_path: opt.Json = None,
    quiet: opt.Quiet = False,
) -> None:
    """Optimise one pose on one image by render-and-compare."""
    early.check(
        data=data, models=models, runs=[from_run], init=init, out=out, preset=preset, stage=2,
        assignments=assignments,
    )  # fmt: skip
    early.recording(data, number=(frame, scene))
    from self6d import jobs
    from self6d.commands.output import print_table, say_end, write_json
    from self6d.console import JobConsole, steering

    with JobConsole("optimising", quiet=quiet) as console, steering(console) as control:
        result = jobs.optimize(
            data,
            models,
            frame,
            object_id,
            scene=scene,
            from_run=from_run,
            init=init,
            out=out,
            preset=preset,
            steps=steps,
            seed=seed,
            device=device,
            overrides=opt.with_unit(assignments, unit),
            listener=console,
            control=control,
        )
    print_table(
        ["", "start", "end"],
        [[name, *(f"{v:.4g}" for v in pair)] for name, pair in result["summary"].items()],
    )
    write_json(json_path, result)
    if result["reason"] == "stopped":
        say_end("stopped: the pose is what it was by then", stopped=True)


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the sample, the runs and the table.")
    ] = Path("out/demo"),
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train stage 1 instead of using the shipped one.")
    ] = False,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start again in a new folder, whatever exists.")
    ] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Run the main job on a generated recording."""
    from self6d.commands.output import say_end
    from self6d.demo import run_demo

    if not run_demo(
        out, from_scratch=from_scratch, seed=seed, device=device, fresh=fresh, quiet=quiet
    ):
        say_end("stopped; the same command goes on from here", stopped=True)


def _say_end(run: object) -> None:
    from self6d.commands.output import say_end
    from self6d.runs.folder import RunFolder

    assert isinstance(run, RunFolder)
    if os.environ.get("RANK", "0") != "0":  # under torchrun one process speaks
        return
    stopped = run.status == "stopped"
    word = "stopped; go on with --resume" if stopped else "done"
    at = f"step {run.info.get('step')} of {run.info.get('total')}"
    say_end(f"{word}: {run.path} ({at})", stopped=stopped)
