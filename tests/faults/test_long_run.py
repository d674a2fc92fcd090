"""Long runs stay flat: memory, files, threads, logs. SELF6D_LONG_HOURS=2 runs the whole of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).resolve().parent.parent / "helpers"
HOURS = float(os.environ.get("SELF6D_LONG_HOURS", "0.05"))


def long_run(*arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(HELPERS / "long_run.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(300 + 600 * HOURS)
def test_long_run_is_flat(run_path):
    """HOURS at 10 steps a second with all curves, previews, progress and checkpoints of that."""
    found = long_run(str(run_path), str(HOURS), "50")
    assert found["steps"] == HOURS * 36_000
    assert found["events"]["checkpoints"] >= found["steps"] // 500
    assert found["events"]["previews"] > 0
    _started, settled, ended = found["rss_mb"]
    assert ended - settled < 8, found
    assert found["rss_kb_a_1000_steps"] * found["steps"] / 1000 < 8_000 * max(HOURS, 1)
    for name in ("fds", "threads"):
        assert found[name][1] <= found[name][0], found
    assert found["files"][1] <= 30  # config, curves, 5 + 1 checkpoints of two files, 3 x 2 previews
    assert found["mb"]["previews"][1] == pytest.approx(found["mb"]["previews"][0], rel=0.01)
    assert found["mb"]["checkpoints"][1] < 3  # six of 0.2 MB
    assert found["curve_points"] <= 50_001
    assert found["mb"]["events.jsonl"][1] * 1e6 < 50_000 * 600 + found["lines"] * 150
