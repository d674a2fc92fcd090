"""The command line, `self6d-studio`. Exit codes: 0 done, 2 usage, others see self6d.errors."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

try:
    import typer

    from self6d.commands import (
        bench,
        data,
        experiment,
        live,
        maintain,
        quick,
        recolour,
        track,
        train,
        use,
    )
    from self6d.errors import INTERRUPTED, OutOfMemoryError, Self6DError, from_os_error
    from self6d.interrupts import interrupts
except KeyboardInterrupt:  # nobody listens yet, and these take longest of what comes before
    print("error: interrupted", file=sys.stderr)
    sys.exit(130)  # INTERRUPTED, which may not be known yet

# Threads that spin while they wait take the cores of another busy run: two trainings on two cores
# then take 18 times as long as one, with sleeping threads twice. Read when torch is loaded, later.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(
    name="self6d-studio",
    help="Adapt a monocular 6D object pose network to your camera without annotation.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (train, track, recolour, quick, use, live, data, experiment, bench, maintain):
    _module.register(app)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code. Every error is one line on standard error."""
    sys.exit(run(arguments))


@cache
def _command() -> Any:
    """What `app` is made into, once: it reads the signatures of all commands each time."""
    return typer.main.get_command(app)


def run(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with interrupts() as heard:
        try:
            code = _run(arguments)
        except KeyboardInterrupt:
            if os.environ.get("SELF6D_DEBUG") == "1":
                raise
            heard.asked = True
    # a library may have made another error of it, or have lost it shortly before the end
    return _say("interrupted", INTERRUPTED) if heard.asked else code


def _run(arguments: list[str]) -> int:
    from self6d.logging import log_crash, start_logging

    if empty := _empty(arguments):
        return _say(f"{empty} is empty, as an unset variable of the shell is. Try --help.", 2)
    file = start_logging(arguments)
    try:
        code = _command()(
            args=arguments, standalone_mode=False, prog_name="self6d-studio", obj=arguments
        )
        return code if isinstance(code, int) else 0
    except BaseException as error:
        if os.environ.get("SELF6D_DEBUG") == "1":
            raise
        if isinstance(error, KeyboardInterrupt | typer.Abort):
            raise KeyboardInterrupt from error
        if isinstance(error, Self6DError):
            return _say(error.one_line(), error.exit_code)
        # who read it has gone (`| head`), of which typer makes an exit with 1, which is a defect's
        if isinstance(
            error.__context__ if isinstance(error, SystemExit) else error, BrokenPipeError
        ):
            return 141
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else 1
        if hasattr(error, "format_message"):  # typer's usage errors
            if type(error).__name__ == "NoArgsIsHelpError":  # no error: the help, as it is laid out
                return _run([*arguments, "--help"]) or 2
            text = error.format_message().replace("Value error, ", "").rstrip(" .")  # pydantic's
            return _say(f"{text}. Try --help.", 2)
        log_crash(error)
        known = _translated(error)
        if known is not None:
            return _say(known.one_line(), known.exit_code)
        where = f" Details: {file}" if file else " Set SELF6D_DEBUG=1 for details."
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return _say(f"unexpected {what[:300]}.{where}", 1)


def _empty(arguments: list[str]) -> str:
    """In words, the first argument without a letter, whose path would be the current folder's."""
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if equals and not value and name.startswith("--"):
            return f"what {name} is given"
        if not argument.strip():
            before = arguments[number - 1] if number else ""
            where = f"what {before} is given" if before.startswith("-") else ""
            return where or f"argument {number + 1}" + (f", after '{before}'," if before else "")
    return ""


def _translated(error: BaseException) -> Self6DError | None:
    """What the system or torch raised without anybody expecting it there, where it has a type."""
    if isinstance(error, OSError):
        return from_os_error(error)
    if isinstance(error, RuntimeError | MemoryError):
        from self6d.memory import is_out_of_memory

        if is_out_of_memory(error):
            return OutOfMemoryError(
                "out of memory", remedy="Free memory, or use smaller images, or --device cpu."
            )
    return None


def _say(text: str, code: int) -> int:
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
