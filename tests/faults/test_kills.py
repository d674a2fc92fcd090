"""SIGKILL at random moments, half of them in a write: weights and curves as if nothing was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from same_end import assert_same_end

from self6d.runs.folder import RunFolder

HELPERS = Path(__file__).resolve().parent.parent / "helpers"
REAL_KILLS = int(os.environ.get("SELF6D_KILLS", "2"))


def kill_many(run: Path, kills: int, job: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(HELPERS / "kill_many.py"), str(run), str(kills), job],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("job", "kills"), [("toy", 30), ("real", REAL_KILLS)])
def test_killed_runs_end_like_an_uninterrupted_one(job, kills):
    """`real` is stage 1 itself; SELF6D_KILLS=50 kills it as often as the toy."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        assert kill_many(whole, 0, job)["killed"] == 0
        summary = kill_many(killed, kills, job)
        assert summary["killed"] == kills
        assert summary["killed_while_writing"] >= kills // 10
        assert_same_end(RunFolder.open(whole), RunFolder.open(killed))
        assert RunFolder.open(killed).status == "done"
