"""bench: how fast this machine is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from self6d.commands import options as opt

From = Annotated[Path, typer.Option("--from", help="Run whose network to start from.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Measure speed and memory.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("render")(render)
    group.command("train")(train)
    group.command("adapt")(adapt)
    group.command("optimize")(optimize)
    group.command("predict")(predict)
    group.command("evaluate")(evaluate)
    group.command("scale")(scale)
    group.command("recording")(recording)
    group.command("gui")(gui)
    app.add_typer(group, name="bench")


def render(
    device: opt.Device = "auto",
    peers: Annotated[
        list[str] | None,
        typer.Option("--peer", help="Also time another renderer: kaolin, nvdiffrast. Repeatable."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few repeats.")] = False,
    json_path: opt.Json = None,
    quiet: opt.Quiet = False,
) -> None:
    """Time the differentiable renderer, forward and backward."""
    from rich.console import Console

    from self6d.benchmarks.render import CASES, PEER_FACES, SLOW_PEERS, bench_render, table
    from self6d.commands.output import write_json
    from self6d.console import JobConsole
    from self6d.events import Progress
    from self6d.jobs.prepare import resolve_device

    kind = resolve_device(device).type
    peers = peers or []
    total = sum(
        name not in SLOW_PEERS or faces <= PEER_FACES
        for faces, *_ in CASES[kind]
        for name in ["ours", *peers]
    )
    done = 0
    with JobConsole("timing", quiet=quiet) as console:

        def count(_: dict) -> None:
            nonlocal done
            done += 1
            console(Progress(done, total, None, "bench"))

        rows = bench_render(kind, peers, repeats=5 if quick else 30, listener=count)
    Console(width=None if sys.stdout.isatty() else 120).print(table(rows))
    write_json(json_path, rows)


def train(
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    preset: Annotated[str, typer.Option(help="Preset.")] = "tiny",
    device: opt.Device = "auto",
    steps: Annotated[int, typer.Option(min=1, help="Steps timed.")] = 20,
    assignments: opt.Set = None,
    json_path: opt.Json = None,
) -> None:
    """Time training of stage 1 or a refiner, images a second."""
    from self6d.benchmarks.train import bench_train
    from self6d.config import overrides
    from self6d.jobs.prepare import resolve_device
    from self6d.runs.load_network import listed

    given = listed(models) if models else None
    kind = str(resolve_device(device))
    changes = overrides(opt.with_unit(assignments, unit) or [])
    rows = bench_train(given, preset=preset, device=kind, steps=steps, overrides=changes)
    _report(rows, json_path)


def adapt(
    data: opt.Data,
    from_run: From,
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    preset: Annotated[str, typer.Option(help="Preset of stage 2.")] = "self6d-paper",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Frames a step, instead of the preset's.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps timed.")] = 30,
    frames: Annotated[int, typer.Option(min=1, help="Most frames of the recording used.")] = 64,
    device: opt.Device = "auto",
    assignments: opt.Set = None,
    json_path: opt.Json = None,
) -> None:
    """Time stage-2 adaptation, in all and by its parts."""
    from self6d.benchmarks.adapt import bench_adapt

    rows = bench_adapt(
        data,
        from_run,
        preset=preset,
        batch=batch,
        steps=steps,
        frames=frames,
        models=models,
        overrides=opt.with_unit(assignments, unit),
        device=device,
    )
    _report(rows, json_path)


def optimize(
    data: opt.Data,
    from_run: From,
    frames: Annotated[int, typer.Option(min=1, help="Frames optimised at once.")] = 1,
    steps: opt.Steps = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs timed.")] = 3,
    preset: Annotated[str, typer.Option(help="Preset of loss and optimiser.")] = "self6d-paper",
    device: opt.Device = "auto",
    assignments: opt.Set = None,
    json_path: opt.Json = None,
) -> None:
    """Time the single-image optimiser."""
    from self6d.benchmarks.optimize import bench_optimize

    rows = bench_optimize(
        data,
        from_run,
        frames=frames,
        steps=steps,
        repeats=repeats,
        preset=preset,
        overrides=assignments,
        device=device,
    )
    _report(rows, json_path)


def predict(
    source: Annotated[Path, typer.Argument(help="Run, or folder that `export` wrote.")],
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the image, pixels.")] = "480x640",
    repeats: Annotated[int, typer.Option(min=1, help="Predictions timed.")] = 30,
    views: opt.Views = None,
    refiner: Annotated[
        str | None,
        typer.Option(
            help='Also time this refiner (run, file or "shipped") on one pose of each object.'
        ),
    ] = None,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="Also time its convolutions in bfloat16.")
    ] = False,
    device: opt.Device = "auto",
    json_path: opt.Json = None,
) -> None:
    """Time prediction of all objects in an image."""
    from self6d.benchmarks.predict import bench_predict

    rows = bench_predict(
        source,
        device=device,
        size=_size(size),
        repeats=repeats,
        views=views,
        refiner=refiner,
        bfloat16=bfloat16,
    )
    _report(rows, json_path)


def evaluate(
    data: opt.Data,
    from_run: From,
    frames: Annotated[int, typer.Option(min=1, help="Most frames of the recording used.")] = 100,
    bop: Annotated[bool, typer.Option("--bop", help="Also VSD, MSSD, MSPD.")] = False,
    device: opt.Device = "auto",
    json_path: opt.Json = None,
) -> None:
    """Time evaluation: images a second, and where the time goes."""
    from self6d.benchmarks.evaluate import bench_evaluate

    _report(bench_evaluate(data, from_run, frames=frames, bop=bop, device=device), json_path)


def scale(
    parts: Annotated[
        list[str] | None,
        typer.Argument(help="faces, batch, objects, frames (default: all of them)."),
    ] = None,
    preset: Annotated[str, typer.Option(help="Preset of the networks.")] = "standard",
    quick: Annotated[
        bool, typer.Option("--quick", help="Few repeats, without the largest sizes.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Also plot time against work, into a new PNG file.")
    ] = None,
    read: Annotated[
        Path | None, typer.Option(help="Show what --json wrote earlier, without measuring.")
    ] = None,
    device: opt.Device = "auto",
    json_path: opt.Json = None,
) -> None:
    """Measure what more faces, images, objects, frames cost."""
    from dataclasses import asdict

    from self6d.benchmarks.scale import PARTS, bench_scale, read_costs, scale_figure
    from self6d.errors import InputError
    from self6d.files import check_new, write_file

    if plot is not None:
        check_new(plot, or_device=True)
    if unknown := sorted(set(parts or ()) - set(PARTS)):
        raise InputError(f"there is no part '{unknown[0]}'", remedy=f"Name {', '.join(PARTS)}.")
    if read is not None:
        rows = read_costs(read, parts or PARTS)
        _report(rows, json_path)
    else:
        rows = []
        try:
            bench_scale(
                parts or PARTS,
                device=device,
                preset=preset,
                quick=quick,
                listener=lambda cost: rows.append(asdict(cost)),
            )
        finally:  # what was measured before a fault is worth its minutes
            if rows:
                _report(rows, json_path)
    if plot is not None:
        write_file(plot, scale_figure(rows))


def recording(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    from_run: Annotated[
        Path | None, typer.Option("--from", help="Run whose objects are shown.")
    ] = None,
    shapes: Annotated[
        int, typer.Option(min=1, max=1000, help="Without --from: number of generated shapes.")
    ] = 21,
    frames: Annotated[int, typer.Option(min=1, help="Frames made.")] = 100,
    height: Annotated[int, typer.Option(min=32, help="Height of the images, pixels.")] = 480,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    quiet: opt.Quiet = False,
) -> None:
    """Write a labelled recording of stage-1 images to measure on."""
    from self6d.benchmarks.recording import make_recording
    from self6d.console import JobConsole
    from self6d.events import Progress

    with JobConsole("recording", quiet=quiet) as console:
        make_recording(
            out,
            from_run=from_run,
            shapes=shapes,
            frames=frames,
            height=height,
            seed=seed,
            device=device,
            on_frame=lambda done, of: console(Progress(done, of, None, "recording")),
        )


def gui(
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure.")] = 10.0,
    json_path: opt.Json = None,
) -> None:
    """Measure the window: first paint, event delay, redraws."""
    import runpy
    import tempfile

    from self6d.commands.output import write_json
    from self6d.commands.use import need_window
    from self6d.files import read_json

    need_window()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "bench.json"
        sys.argv = ["self6d-studio bench gui", "--seconds", str(seconds), "--json", str(made)]
        runpy.run_module("studio.bench", run_name="__main__", alter_sys=True)
        write_json(json_path, read_json(made, "measurements", dict))


def _size(text: str) -> tuple[int, int]:
    """(height, width) of "480x640"."""
    from self6d.errors import InputError

    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and min(int(height), int(width)) >= 32):
        raise InputError(
            f"{text!r} is not the size of an image",
            remedy="Write --size 480x640; 32 pixels are the least.",
        )
    return int(height), int(width)


def _report(rows: list[dict[str, Any]], json_path: Path | None) -> None:
    """Print rows as a table, a column a name, and write them where asked."""
    from self6d.commands.output import print_table, write_json

    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [
        [f"{row[n]:.3g}" if isinstance(row.get(n), float) else row.get(n, "") for n in names]
        for row in rows
    ]
    print_table(names, cells)
    write_json(json_path, rows)
