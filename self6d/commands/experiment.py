"""experiment: the paper's figures and tables on any recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from self6d.commands import early
from self6d.commands import options as opt

From = Annotated[Path, typer.Option("--from", help="Stage-1 run to start from.")]
Folder = Annotated[
    Path, typer.Option("--out", help="Folder of results; continues where it stopped.")
]
Preset = Annotated[str, typer.Option(help="Preset of stage 2.")]
Split = Annotated[str | None, typer.Option(help="Named split (default: eval, else all of it).")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Make figures and tables; resumable.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("fig3")(fig3)
    group.command("ablation")(ablation)
    group.command("data-share")(data_share)
    group.command("bounds")(bounds)
    group.command("track")(track)
    group.command("confidence")(confidence)
    group.command("colours")(colours)
    group.command(
        "repeat",
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )(repeat)
    app.add_typer(group, name="experiment")


def fig3(
    data: opt.Data,
    from_run: From,
    out: Folder,
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    split: Split = None,
    images: Annotated[int, typer.Option(min=1, help="How many images.")] = 100,
    preset: Preset = "self6d-paper",
    steps: opt.Steps = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    assignments: opt.Set = None,
    quiet: opt.Quiet = False,
) -> None:
    """Figure 3: L_self and pose errors on single images."""
    _run(
        "fig3", data, models, from_run, out, split=split, images=images, preset=preset, steps=steps,
        seed=seed, device=device, overrides=opt.with_unit(assignments, unit), quiet=quiet,
    )  # fmt: skip


def ablation(
    data: opt.Data,
    from_run: From,
    out: Folder,
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    preset: Preset = "self6d-paper",
    steps: opt.Steps = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    assignments: opt.Set = None,
    quiet: opt.Quiet = False,
) -> None:
    """Table 1: stage 2 with each term of L_self switched off."""
    _run(
        "ablation", data, models, from_run, out, preset=preset, steps=steps, seed=seed,
        device=device, overrides=opt.with_unit(assignments, unit), quiet=quiet,
    )  # fmt: skip


def data_share(
    data: opt.Data,
    from_run: From,
    out: Folder,
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    shares: Annotated[
        list[float] | None, typer.Option("--share", help="Share of the frames; repeatable.")
    ] = None,
    preset: Preset = "self6d",
    steps: opt.Steps = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    assignments: opt.Set = None,
    quiet: opt.Quiet = False,
) -> None:
    """Figure 4, right: recall by share of unlabelled frames."""
    _run(
        "data-share", data, models, from_run, out, shares=shares, preset=preset, steps=steps,
        seed=seed, device=device, overrides=opt.with_unit(assignments, unit), quiet=quiet,
    )  # fmt: skip


def bounds(
    data: opt.Data,
    from_run: From,
    out: Folder,
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    preset: Preset = "self6d",
    steps: opt.Steps = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    assignments: opt.Set = None,
    quiet: opt.Quiet = False,
) -> None:
    """Lower bound (stage 1), adapted, upper bound (supervised)."""
    _run(
        "bounds", data, models, from_run, out, preset=preset, steps=steps, seed=seed,
        device=device, overrides=opt.with_unit(assignments, unit), quiet=quiet,
    )  # fmt: skip


def track(
    data: opt.Data,
    out: Folder,
    models: opt.OptionalModels = None,
    object_id: Annotated[int | None, typer.Option("--object", help="Only this object.")] = None,
    starts: Annotated[int, typer.Option(min=0, help="Random starts.")] = 10,
    degrees: Annotated[float, typer.Option(min=0, help="How far they are turned.")] = 10.0,
    mm: Annotated[float, typer.Option(min=0, help="How far they are shifted.")] = 20.0,
    backward: Annotated[bool, typer.Option("--backward", help="From the last frame.")] = False,
    search: Annotated[int, typer.Option(min=0, help="Frames searched without a start.")] = 0,
    cuts: Annotated[
        list[int] | None,
        typer.Option("--cut", help="Image number where a new arrangement begins; repeatable."),
    ] = None,
    seed: opt.Seed = 0,
    device: opt.Device = "cpu",
    assignments: opt.Set = None,
    quiet: opt.Quiet = False,
) -> None:
    """Tracking from disturbed reference poses, scored against them."""
    early.check(data=data, models=models, assignments=assignments)
    from self6d.console import JobConsole, steering
    from self6d.experiments.track import run_track

    with JobConsole("track", quiet=quiet) as console, steering(console) as control:
        text = run_track(
            data, models, out, object_id=object_id, starts=starts, degrees=degrees, mm=mm,
            backward=backward, search=search, cuts=cuts or (), overrides=assignments, seed=seed,
            device=device, listener=console, control=control,
        )  # fmt: skip
    typer.echo(text)


def confidence(
    out: Folder,
    fit_seeds: Annotated[
        list[int] | None,
        typer.Option("--fit", help="Seed of a recording to fit to; repeatable."),
    ] = None,
    test_seeds: Annotated[
        list[int] | None,
        typer.Option("--test", help="Seed of a recording to test on; repeatable."),
    ] = None,
    rgb: Annotated[
        bool,
        typer.Option("--rgb", help="The confidence of tracking without depth, by colours alone."),
    ] = False,
    seed: opt.Seed = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Fit and test the confidence of track."""
    from self6d.console import JobConsole, steering
    from self6d.experiments import colour_confidence as by_colours
    from self6d.experiments import confidence as on_depth

    with JobConsole("confidence", quiet=quiet) as console, steering(console) as control:
        run = by_colours.run_colour_confidence if rgb else on_depth.run_confidence
        fit, test = (by_colours if rgb else on_depth).FIT, (by_colours if rgb else on_depth).TEST
        text = run(
            out, fit_seeds=fit_seeds or fit, test_seeds=test_seeds or test, seed=seed,
            listener=console, control=control,
        )  # fmt: skip
    typer.echo(text)


def colours(
    data: opt.Data,
    models: Annotated[list[Path], typer.Argument(help="Folders of CAD models to compare.")],
    unit: opt.Unit = None,
    split: Split = None,
    json_path: opt.Json = None,
    quiet: opt.Quiet = False,
) -> None:
    """How near models' colours come to those of labelled frames."""
    early.check(data=data, models=models)
    from dataclasses import asdict

    from self6d.commands.output import print_table, write_json
    from self6d.console import JobConsole
    from self6d.experiments.colours import colour_distances

    with JobConsole("comparing colours", quiet=quiet) as console:
        rows = colour_distances(data, models, split=split, unit=unit or "auto", listener=console)
    table = [[r.models, r.object_id, r.instances, f"{r.lab:.1f}", f"{r.chroma:.1f}"] for r in rows]
    print_table(["models", "object", "instances", "LAB distance", "a and b alone"], table)
    write_json(json_path, [asdict(row) for row in rows])


def repeat(
    count: Annotated[int, typer.Argument(min=1, help="How many seeds.")],
    out: Annotated[Path, typer.Argument(help="Folder of results; continues where it stopped.")],
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND...",
            help="Such as: demo --seed {seed} --out {out}; several, separated by the word then. "
            "The last one writes its table to {out}/table.json.",
        ),
    ],
) -> None:
    """Repeat commands with several seeds: mean, deviation, range."""
    from self6d.console import JobConsole, steering
    from self6d.experiments.repeat import repeat as run_repeat

    with JobConsole("repeat") as console, steering(console) as control:
        text = run_repeat(count, words, out, listener=console, control=control)
    typer.echo(text)


def _run(
    name: str,
    data: Path,
    models: list[Path] | None,
    from_run: Path,
    out: Path,
    *,
    quiet: bool,
    **settings: Any,
) -> None:
    early.check(
        data=data, models=models, runs=[from_run], preset=settings.get("preset"),
        assignments=settings.get("overrides"),
    )  # fmt: skip
    from self6d.console import JobConsole, steering
    from self6d.experiments import run

    with JobConsole(name, quiet=quiet) as console, steering(console) as control:
        text = run(name, data, models, from_run, out, listener=console, control=control, **settings)
    typer.echo(text)
