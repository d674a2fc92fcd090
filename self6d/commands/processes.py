"""`--gpus N`: the same command in N processes of this machine, stopped as one."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Sequence

import typer

from self6d.errors import InputError


def share_out(ctx: typer.Context, gpus: int, device: str) -> None:
    """Leave the command to several processes, if several are asked for and this is none of them.

    Raises:
        typer.Exit: they have ended.
        InputError: more than there are.
    """
    if gpus == 1 or "WORLD_SIZE" in os.environ:
        return
    import torch

    there = torch.cuda.device_count()
    if device != "cpu" and there and there < gpus:
        raise InputError(f"{gpus} GPUs are asked for and {there} are here")
    raise typer.Exit(run_processes(gpus, ctx.obj))


def run_processes(count: int, arguments: Sequence[str]) -> int:
    """Run the command line `count` times as torchrun does; the exit code of the first that failed.

    torchrun alone answers Ctrl+C and SIGTERM by ending its processes and raising. This passes them
    on, so that process 0 saves and stops, and then all end by themselves.
    """
    import psutil
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    def pass_on(number: int, frame: object) -> None:
        for process in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()  # who had the terminal's Ctrl+C takes it for the same wish

    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // count, 1)))
    previous = {n: signal.signal(n, pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
    logging.disable(logging.ERROR)  # the processes say themselves what went wrong
    try:
        command = ["-m", "self6d.cli", *arguments]
        own = ["--standalone", f"--nproc-per-node={count}", "--signals-to-handle=SIGHUP,SIGQUIT"]
        run(parse_args([*own, *command]))
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0
