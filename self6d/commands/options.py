"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Argument(help="Recording: BOP, plain folder, TUM, LineMOD, ...")]
Models = Annotated[
    list[Path], typer.Option("--models", help="CAD files or a folder of them; may be repeated.")
]
OptionalModels = Annotated[
    list[Path] | None,
    typer.Option("--models", help="CAD files or a folder of them (default: the run's own copy)."),
]


class MeshUnit(StrEnum):
    """What `--unit` takes."""

    m = "m"
    cm = "cm"
    mm = "mm"
    inch = "inch"


RecordingModels = Annotated[
    list[Path] | None,
    typer.Option(
        "--models",
        help="CAD files or a folder of them (default: the track's own, else the recording's).",
    ),
]
Unit = Annotated[
    MeshUnit | None,
    typer.Option(
        "--unit", help="Unit of the CAD files (default: as stated, else guessed, with a note)."
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Run folder to make; never overwritten.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE of the configuration, such as loss.mask=0; repeatable."),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", min=0, help="Same seed, same result, on one machine and number of threads."
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Steps, instead of the preset's.")
]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--minutes", min=0,
        help="End the steps after at most this many minutes, with the learning rate at zero by "
        "then; preparation comes on top.",
    ),
]  # fmt: skip
Gpus = Annotated[
    int, typer.Option("--gpus", min=1, help="GPUs of this machine to use, one process each.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")]
TakeLock = Annotated[
    bool, typer.Option("--take-lock", help="Take over a run whose process has certainly ended.")
]
Check = Annotated[
    bool,
    typer.Option("--check/--no-check", help="Check the recording first; stop on errors."),
]
Instances = Annotated[
    int | None,
    typer.Option(
        "--instances", min=1, max=1000,
        help="Most instances of an object in an image (default: the run's, network.instances).",
    ),
]  # fmt: skip
Views = Annotated[
    int | None,
    typer.Option(
        "--views", min=1, max=33,
        help="Average poses over this many boxes: 9 is steadier and slower (default: the run's).",
    ),
]  # fmt: skip
Refiner = Annotated[
    Path | None,
    typer.Option(
        "--refiner", metavar="RUN",
        help="Run of train-refiner, for --refine rgb (default: the run's own, else the shipped).",
    ),
]  # fmt: skip


def _alone(ctx: typer.Context, path: Path | None) -> Path | None:
    """Standard output is JSON's alone where that is asked for, by whichever name; a file is new:
    what is there may be of the recording itself."""
    from self6d.commands import output

    if path in (output.STDOUT, Path("/dev/stdout")):
        ctx.with_resource(output.words_aside())
        return output.STDOUT
    if path is not None:
        from self6d.files import check_new

        check_new(path, or_device=True)
    return path


Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        callback=_alone,
        help="Also write the result to this new file; - for JSON alone on standard output.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", help="No progress and no notes: only the result, warnings and errors."),
]


def with_unit(assignments: list[str] | None, unit: MeshUnit | None) -> list[str] | None:
    """`--set` with what `--unit` means: models.unit."""
    return assignments if unit is None else [*(assignments or []), f"models.unit={unit}"]
