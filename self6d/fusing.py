"""Work on pixels made into few kernels by torch.compile, where that pays."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

import torch


class Fusing(Protocol):
    """Gives a function that does the same as the one given."""

    def __call__(self, work: Callable[..., Any], /) -> Callable[..., Any]: ...


def unfused(work: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself."""
    return work


@cache
def fused(work: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled, for inputs of any size; its first call takes seconds, less once torch
    finds it in its cache."""
    prepare_compiler()
    return torch.compile(work, dynamic=True)


@cache
def can_compile() -> bool:
    """Whether torch.compile makes kernels for a GPU here, tried once: it needs Triton, a C compiler
    and Python's headers."""
    compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    if not (compiler and find_spec("triton") and torch.cuda.is_available()):
        return False
    try:
        return float(torch.compile(_one_more)(torch.ones(8, device="cuda")).sum()) == 16.0
    except Exception:  # whatever of its many parts is missing
        return False


def _one_more(x: torch.Tensor) -> torch.Tensor:
    return x + 1


@cache
def prepare_compiler() -> None:
    """Let sizes that are equal at first differ later, and what is called while another thread
    compiles run as it is."""
    import torch._dynamo
    from torch.fx.experimental import _config

    _config.use_duck_shape = False
    torch._dynamo.config.error_on_nested_fx_trace = False
