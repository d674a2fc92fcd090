"""A command that was stopped does not end as if it were done: what follows it must not go on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from small_runs import SMALL, as_options

from self6d import cli
from self6d.errors import INTERRUPTED
from self6d.runs.control import send
from self6d.runs.folder import RunFolder
from self6d.sample.sample import models_folder


def ctrl_c(run: Path) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def ctl_stop(run: Path) -> None:
    send(run, "stop")


@pytest.mark.parametrize("ask", [ctrl_c, ctl_stop])
def test_a_training_that_is_stopped(ask, tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    over = threading.Event()

    def stop() -> None:
        while not over.is_set():
            if list((out / "checkpoints").glob("step_*.json")):  # it makes steps
                return ask(out)
            time.sleep(0.02)

    asks = threading.Thread(target=stop)
    asks.start()
    try:
        code = cli.run([
            "train", "--models", str(models_folder()), "--preset", "tiny", "--device", "cpu",
            "--out", str(out), *as_options(SMALL | {"train.steps": 100_000}),
        ])  # fmt: skip
    finally:
        over.set()
        asks.join()
    assert RunFolder.open(out).status == "stopped"
    assert capsys.readouterr().out.startswith("stopped; go on with --resume")
    assert code == INTERRUPTED == 130
