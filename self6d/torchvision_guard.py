"""Import this before torchvision: it lets torchvision load beside a CPU-only torch.

torchvision's wheel carries compiled operators built for one torch build. Beside a torch of another
build they do not load, and `import torchvision` fails with "operator torchvision::nms does not
exist", although backbones, feature pyramids and box functions need none of them. Only then this
module declares the two missing operators, so the import succeeds; calling them still raises
torchvision's own explanation. Where the operators load, nothing is changed.

It also loads `torchvision.ops` without torch's compiler, torch._dynamo. One function of that is
named there for ROI-Align, which this package does not call, and loading it takes nearly as long as
torch itself. Whoever needs the compiler, as optimizers do, loads it then.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from self6d.errors import MissingDependencyError


def _operators_load() -> bool:
    """Whether torchvision's compiled operators load into this torch."""
    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "torchvision is not installed", remedy="Install it: pip install torchvision"
        )
    for library in Path(spec.submodule_search_locations[0]).glob("_C*"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
        return True
    return False


_declarations: torch.library.Library | None = None
if "torchvision" not in sys.modules and not _operators_load():
    _declarations = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _declarations.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


class _Later(ModuleType):
    """Stands for a module while another one loads; its functions load the true one when called."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            _forget_stand_ins()
            return getattr(importlib.import_module(self.__name__), name)(*args, **kwargs)

        return call


def _forget_stand_ins() -> None:
    for name in _COMPILER:
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


_COMPILER = ("torch._dynamo", "torch._dynamo.utils")
if "torchvision.ops" not in sys.modules and "torch._dynamo" not in sys.modules:
    sys.modules.update({name: _Later(name) for name in _COMPILER})
    try:
        importlib.import_module("torchvision.ops")
    finally:
        _forget_stand_ins()
