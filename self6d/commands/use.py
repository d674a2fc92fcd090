"""predict, evaluate, export, label, launch: using what was trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from self6d.commands import early
from self6d.commands import options as opt

if TYPE_CHECKING:
    from self6d.evaluation.report import Report


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command()(predict)
    app.command()(export)
    app.command()(label)
    app.command()(rrd)
    app.command()(launch)


def evaluate(
    data: opt.Data,
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Runs to compare, such as before and after.")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--results", help="BOP results file (CSV) to score too; may be repeated."),
    ] = None,
    models: opt.OptionalModels = None,
    unit: opt.Unit = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Named split of the recording (default: eval, else all; with --results bop19)."
        ),
    ] = None,
    refine: Annotated[
        list[str] | None,
        typer.Option(
            "--refine", help="Add a refined row for each run: depth or rgb; may be repeated."
        ),
    ] = None,
    refiner: opt.Refiner = None,
    bop: Annotated[
        bool, typer.Option("--average-recall", help="Also VSD, MSSD, MSPD and BOP's recalls.")
    ] = False,
    min_visible: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Least visible share of an instance that is scored; a targets file decides for "
            "itself.",
        ),
    ] = 0.1,
    views: opt.Views = None,
    instances: opt.Instances = None,
    device: opt.Device = "auto",
    json_path: opt.Json = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="Also write a CSV table.")] = None,
    latex_path: Annotated[Path | None, typer.Option("--latex", help="Also write LaTeX.")] = None,
    html_path: Annotated[
        Path | None, typer.Option("--html", help="Also write a self-contained report.")
    ] = None,
    bop_path: Annotated[
        Path | None, typer.Option("--bop", help="Folder for BOP results files, one a run.")
    ] = None,
    quiet: opt.Quiet = False,
) -> None:
    """Score runs or BOP results files on a recording, by object."""
    early.check(data=data, models=models, runs=runs or (), files=results or ())
    early.recording(data, split, read=False)
    from self6d import jobs
    from self6d.commands.output import STDOUT, write_json
    from self6d.console import JobConsole

    rows: list[Report] = []
    with _rows_so_far(rows), JobConsole("evaluating", quiet=quiet) as console:
        report = jobs.evaluate(
            data,
            models,
            runs or (),
            results=tuple(results or ()),
            split=split,
            refine=tuple(refine or ()),  # type: ignore[arg-type]
            refiner=refiner,
            bop=bop,
            min_visible=min_visible,
            views=views,
            instances=instances,
            unit=unit or "auto",
            device=device,
            json_path=None if json_path == STDOUT else json_path,  # else it came after each row
            csv_path=csv_path,
            latex_path=latex_path,
            html_path=html_path,
            bop_path=bop_path,
            listener=console,
            on_row=rows.append,
        )
    typer.echo(report.text())
    if json_path == STDOUT:
        write_json(json_path, report.to_dict())


@contextmanager
def _rows_so_far(rows: Sequence[Report]) -> Iterator[None]:
    """Where it fails, or is interrupted, the rows scored before are shown all the same."""
    try:
        yield
    except BaseException:
        if rows:
            typer.echo("not finished; the rows scored until then:", err=True)
            typer.echo(rows[-1].text())
        raise


def predict(
    images: Annotated[
        Path, typer.Argument(help="Recording, folder of images, one image, or a video.")
    ],
    from_run: Annotated[
        Path, typer.Option("--from", help="Run, or folder that export made, whose network to use.")
    ],
    camera: Annotated[
        Path | None, typer.Option(help="Camera file, if the images come without one.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Named split of the recording (default: all of it).")
    ] = None,
    refine: Annotated[
        str,
        typer.Option(
            "--refine",
            help="none, depth (optimise each pose on its frame) or rgb (a refiner corrects it).",
        ),
    ] = "none",
    refiner: opt.Refiner = None,
    score: Annotated[float, typer.Option(min=0, max=1, help="Lowest score reported.")] = 0.3,
    views: opt.Views = None,
    instances: opt.Instances = None,
    device: opt.Device = "auto",
    json_path: opt.Json = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", help="Folder for pictures with the poses drawn in.")
    ] = None,
    quiet: opt.Quiet = False,
) -> None:
    """Predict poses in images, from RGB alone."""
    early.check(data=images, trained=from_run, camera=camera)
    if camera is None:
        early.recording(images, split)
    else:
        early.recording_or_camera(camera)
    from self6d import jobs
    from self6d.commands.output import print_table, write_json
    from self6d.console import JobConsole

    with JobConsole("predicting", quiet=quiet) as console:
        poses = jobs.predict(
            images,
            from_run,
            camera=camera,
            split=split,
            refine=refine,  # type: ignore[arg-type]
            refiner=refiner,
            score_threshold=score,
            views=views,
            instances=instances,
            device=device,
            overlay=overlay,
            listener=console,
        )
    rows = [
        [
            row["image"],
            row["object"],
            f"{row['score']:.2f}",
            " ".join(f"{v:.3f}" for v in row["t_m2c"]),
            " ".join(f"{v:.3f}" for v in row["quaternion_wxyz"]),
        ]
        for row in poses
    ]
    print_table(["image", "object", "score", "t (m)", "rotation (wxyz)"], rows)
    write_json(json_path, poses)


def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to make.")],
    onnx: Annotated[
        bool | None,
        typer.Option("--onnx/--no-onnx", help="Also write ONNX (default: where it is installed)."),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Also write ONNX with eight-bit convolutions, for CPUs."),
    ] = False,
    program: Annotated[
        bool, typer.Option("--program", help="Also write a torch.export program.")
    ] = False,
    slim: Annotated[
        bool,
        typer.Option("--slim", help="Write a small run folder instead, to start other runs from."),
    ] = False,
    views: opt.Views = None,
    instances: opt.Instances = None,
    refiner: Annotated[
        str | None,
        typer.Option(
            help='Put a refiner beside the network: run, file, "shipped" or "none" (default: the '
            "one that the run adapted, if it did)."
        ),
    ] = None,
) -> None:
    """Write weights and an inference example that need RGB alone."""
    early.check(runs=[run])
    from self6d import jobs

    for name, value in (
        ("views", views), ("instances", instances), ("refiner", refiner), ("int8", int8 or None),
    ):  # fmt: skip
        if slim and value is not None:
            raise typer.BadParameter(f"--slim writes a run folder: leave out --{name}.")
    if int8 and onnx is False:
        raise typer.BadParameter("--int8 is ONNX too: leave out --no-onnx.")
    if slim:
        typer.echo(str(jobs.slim(run, to).path))
        return

    if onnx is None:
        from self6d.packaging.program import missing_for_onnx

        missing = missing_for_onnx()
        onnx = not missing
        if missing:
            install = 'pip install "self6d-studio[onnx]"'
            typer.echo(f"without model.onnx: {', '.join(missing)} missing ({install})", err=True)
    paths = jobs.export(
        run, to, onnx=onnx, int8=int8, program=program, views=views, instances=instances,
        refiner=refiner,
    )  # fmt: skip
    for path in paths:
        typer.echo(str(path))
    if int8:
        from self6d.files import read_json

        made = read_json(to / "model.json")["int8"]
        typer.echo(
            f"model.int8.onnx finds {100 * made['int8']:.1f} % of {made['instances']} synthetic "
            f"instances (ADD 10 %), model.onnx {100 * made['float32']:.1f} %",
            err=True,
        )


class LabelFormat(StrEnum):
    """What `label --format` takes."""

    bop = "bop"
    coco = "coco"
    csv = "csv"


def label(
    data: opt.Data,
    track: Annotated[
        Path, typer.Argument(help="Track of the recording: its folder or poses.json.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to make; never overwritten.")],
    models: opt.RecordingModels = None,
    unit: opt.Unit = None,
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Poses below this confidence are left out.")
    ] = 0.8,
    format: Annotated[
        LabelFormat,
        typer.Option("--format", help="bop (dataset), coco (boxes, masks) or csv (BOP results)."),
    ] = LabelFormat.bop,
    quiet: opt.Quiet = False,
) -> None:
    """Write a track's poses as labels for other tools."""
    early.check(data=data, models=models, files=[track], out=out)
    from self6d.console import JobConsole
    from self6d.labelling import label as write_labels

    with JobConsole("labelling", quiet=quiet) as console:
        report = write_labels(
            data,
            track,
            models,
            out,
            confidence=confidence,
            format=format.value,
            unit=unit or "auto",
            listener=console,
        )
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"done: {out} (pictures of the least sure: {out / 'report.html'})")


def rrd(
    data: opt.Data,
    out: Annotated[Path, typer.Option("--out", help="New file, ending in .rrd.")],
    track: Annotated[
        Path | None,
        typer.Option("--poses", help="Track of the recording: its folder or poses.json."),
    ] = None,
    models: opt.RecordingModels = None,
    unit: opt.Unit = None,
    quiet: opt.Quiet = False,
) -> None:
    """Write a recording and its poses for the viewer Rerun."""
    early.check(data=data, models=models, files=[] if track is None else [track])
    from self6d.console import JobConsole
    from self6d.labelling.rerun_file import export_rrd

    with JobConsole("writing", quiet=quiet) as console:
        export_rrd(data, track, models, out, unit=unit or "auto", listener=console)
    typer.echo(f"done: {out} (look at it: rerun {out})")


def launch(
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            help="What to open at once, in any order: a recording, CAD files or folders of them, "
            "runs, or a folder that holds these, such as demo and quick leave."
        ),
    ] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", help="CAD files or a folder of them (default: the recording's)."),
    ] = None,
) -> None:
    """Open the window."""
    import runpy
    import sys

    need_window()
    opened = [str(path) for path in (*(data or ()), *(models or ()))]
    sys.argv = ["self6d-studio launch", *opened]
    runpy.run_module("studio", run_name="__main__", alter_sys=True)


def need_window() -> None:
    """Raises MissingDependencyError: something that the window needs is not installed."""
    from self6d.errors import MissingDependencyError

    missing = [n for n in ("studio", "PySide6", "pyqtgraph", "vispy", "lucide") if not _found(n)]
    if missing:
        raise MissingDependencyError(
            f"the window needs {', '.join(missing)}",
            remedy='Install it: pip install "self6d-studio[studio]".',
        )


def _found(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None
