"""Ctrl+C and SIGTERM while several processes train one network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import SMALL, as_options

from self6d import cli
from self6d.runs.folder import RunFolder
from self6d.sample.sample import models_folder

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "self6d.cli"]


def command(out: Path) -> list[str]:
    settings = SMALL | {"synthesis.height": 64, "train.steps": 100_000}
    words = as_options(settings)
    return ["train", "--models", str(models_folder()), "--preset", "tiny", "--device", "cpu",
            "--out", str(out), "--resume", *words]  # fmt: skip


def stopped(words: list[str], out: Path, stop) -> tuple[int, str]:
    """Start it in a group of its own, `stop(process)` after some steps; exit code and output."""
    before = RunFolder.open(out).info["step"] if out.exists() else 0
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    process = subprocess.Popen(
        [sys.executable, *words], env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while newest(out) <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        stop(process)
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, output


def newest(out: Path) -> int:
    """Step of the newest checkpoint."""
    found = sorted((out / "checkpoints").glob("step_*.json"))
    return int(found[-1].stem.removeprefix("step_")) if found else 0


def test_more_gpus_than_there_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    words = ["train", "--models", str(tmp_path), "--out", str(tmp_path / "run"), "--gpus", "2"]
    assert cli.run(words) == 2
    assert capsys.readouterr().err == "error: 2 GPUs are asked for and 1 are here\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop",
    [
        lambda process: os.killpg(process.pid, signal.SIGINT),  # Ctrl+C in a terminal
        lambda process: process.terminate(),  # kill
    ],
    ids=["ctrl-c", "kill"],
)
def test_stops_quietly_and_goes_on(stop, tmp_path):
    run = tmp_path / "run"
    code, output = stopped(["-m", "self6d.cli", *command(run), "--gpus", "2"], run, stop)
    assert (code, "Traceback" in output, "rror" in output) == (130, False, False), output[-3000:]
    assert output.count("saving and stopping") == 1
    assert "go on with --resume" in output
    folder = RunFolder.open(run)
    assert folder.status == "stopped"
    assert newest(run) == folder.info["step"] > 0


@pytest.mark.slow
def test_torchrun_itself_saves_too(tmp_path):
    """It sends each process a second Ctrl+C, raises and exits with 1, all of which is torch's."""
    run = tmp_path / "run"
    ctrl_c = lambda process: os.killpg(process.pid, signal.SIGINT)  # noqa: E731
    _, output = stopped([*TORCHRUN, *command(run)], run, ctrl_c)
    assert output.count("Traceback") == output.count("SignalException: Process") == 1, output
    folder = RunFolder.open(run)
    assert folder.status == "stopped"
    assert newest(run) == folder.info["step"] > 0
