"""ctl, pack, report-bug: steering a running job, and telling us what went wrong."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Request(StrEnum):
    pause = "pause"
    resume = "resume"
    stop = "stop"
    save = "save"
    live = "live"


def register(app: typer.Typer) -> None:
    app.command()(ctl)
    app.command(
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
    )(pack)
    app.command("report-bug")(report_bug)


def ctl(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    request: Annotated[Request, typer.Argument(help="stop: save and stop; live: set KEY=VALUE.")],
    assignments: Annotated[
        list[str] | None, typer.Argument(help="For live, such as loss.mask=0.5.")
    ] = None,
) -> None:
    """Control a running job, whoever started it."""
    from self6d.errors import InputError
    from self6d.locks import is_held
    from self6d.runs.control import send

    values = _numbers(assignments or [])
    if (request is Request.live) != bool(values):
        raise InputError(
            "live takes KEY=VALUE, the other requests take nothing",
            remedy="Write: self6d-studio ctl RUN live loss.mask=0.5",
        )
    send(run, request.value, values or None)
    if not is_held(run):
        typer.echo("note: no job is running there now; the request will not be obeyed", err=True)


def pack(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    command: Annotated[
        list[str],
        typer.Argument(help="The job: train, adapt, optimize or track with its options."),
    ],
) -> None:
    """Put a job into a folder for another machine."""
    made = ctx.parent.command.commands.get(command[0]) if ctx.parent else None  # type: ignore[attr-defined]
    if made is not None:
        made.make_context(command[0], list(command[1:]), parent=ctx)  # says what is wrong with it
    from self6d.console import JobConsole

    with JobConsole("packing") as console:
        from self6d import jobs

        out = jobs.pack(command, folder, listener=console)
    typer.echo(f"{out}: copy it, and run `sh run.sh` in it")


def report_bug(
    run: Annotated[Path | None, typer.Argument(help="Run folder concerned, if any.")] = None,
    out: Annotated[Path, typer.Option(help="Archive to write.")] = Path("self6d-bug-report.zip"),
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Include the run's preview pictures.")
    ] = False,
) -> None:
    """Pack logs and versions for us; your images stay out."""
    from self6d.bug_report import write_bug_report

    names = write_bug_report(out, run=run, with_images=with_images)
    typer.echo(f"{out}: {', '.join(names)}")


def _numbers(assignments: list[str]) -> dict[str, float]:
    from self6d.errors import InputError

    values = {}
    for text in assignments:
        key, _, value = text.partition("=")
        try:
            values[key] = float(value)
            if not math.isfinite(values[key]):
                raise ValueError
        except ValueError:
            raise InputError(
                f"{text!r} is not KEY=NUMBER", remedy="Write it like loss.mask=0.5."
            ) from None
    return values
