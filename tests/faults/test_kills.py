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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_runs_end_like_an_uninterrupted_one():
    """`real` is stage 1 itself; SELF6D_KILLS=50 kills it as often as the toy."""
    memory = Path("/dev/shm")
    jobs = {"toy": 30, "real": REAL_KILLS}
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        done = subprocess.run(
            [sys.executable, str(HELPERS / "kill_many.py"), folder]
            + [f"{job}={kills}" for job, kills in jobs.items()],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        for job, kills in jobs.items():
            summary = json.loads(done.stdout)[job]
            assert summary["killed"] == kills
            assert summary["killed_while_writing"] >= kills // 10
            whole, killed = (RunFolder.open(Path(folder) / job / n) for n in ("whole", "killed"))
            assert_same_end(whole, killed)
            assert killed.status == "done"
