"""What this machine has, told without loading torch, which takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path


def has_gpu() -> bool:
    """Whether there is a GPU that torch can use: NVIDIA's driver is there."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
