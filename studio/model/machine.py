"""What this machine has, told without loading torch, which takes seconds."""

from __future__ import annotations

import runpy
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def has_gpu() -> bool:
    """Whether jobs run on a GPU: a torch that was built for one, and the driver it asks for."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return False
    built = runpy.run_path(str(Path(found.origin).with_name("version.py")))
    if built.get("cuda"):
        driver = Path("/proc/driver/nvidia/version")
        return driver.exists() or shutil.which("nvidia-smi") is not None
    return bool(built.get("hip")) and Path("/dev/kfd").exists()
