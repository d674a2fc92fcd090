"""Import this before torchvision: it lets torchvision load beside a CPU-only torch.

torchvision's wheel carries compiled operators built for one torch build. Beside a torch of another
build they do not load, and `import torchvision` fails with "operator torchvision::nms does not
exist", although backbones, feature pyramids and box functions need none of them. Only then this
module declares the two missing operators, so the import succeeds; calling them still raises
torchvision's own explanation. Where the operators load, nothing is changed.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

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
