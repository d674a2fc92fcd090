"""What the renderers that ours is timed beside have in common."""

from __future__ import annotations

import importlib
import importlib.util

import torch


def peer_unavailable(module: str, remedy: str) -> str | None:
    """Why a peer's CUDA renderer cannot run here, as "what: remedy"; None if it can.

    Args:
        module: what has to be importable, such as "kaolin.render.mesh". remedy: how to install it.
    """
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed: {remedy}"
    try:
        importlib.import_module(module)
    except Exception as error:  # a placeholder, or a build for another torch: they fail variously
        return f"{package} does not load ({type(error).__name__}): {remedy}"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device: Install a CUDA build of torch on a machine with a GPU."
    return None
