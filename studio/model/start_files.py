"""Start poses as files, as the command line takes them; a job that waits keeps its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from self6d.paths import user_state
from studio.engine.types import PoseData


def write_start(name: str, table: Any) -> Path:
    """A file of its own for what a job starts from: other contents never replace it."""
    text = json.dumps(table)
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = user_state() / "starts" / f"{name}-{mark}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def pose_start(name: str, pose: PoseData) -> Path:
    """The file of one pose."""
    return write_start(name, {"R_m2c": pose.R.tolist(), "t_m2c_m": pose.t.tolist()})


def read_pose_start(object_id: int, file: str | None) -> PoseData | None:
    """Inverse of `pose_start`."""
    if file is None:
        return None
    told = json.loads(Path(file).read_text())
    return PoseData(object_id, np.array(told["R_m2c"], float), np.array(told["t_m2c_m"], float))
