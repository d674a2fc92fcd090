"""The pose network: FCOS detector, region features, masks, dense coordinates and poses.

Names load on first use, so that `self6d.torchvision_guard` and `outputs` stay cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from self6d.network.config import NetworkConfig
    from self6d.network.net import PoseNetwork
    from self6d.network.outputs import Detections
    from self6d.network.roi import masks_in_regions, roi_align

__all__ = ["Detections", "NetworkConfig", "PoseNetwork", "masks_in_regions", "roi_align"]

_HOME = {
    "Detections": "outputs",
    "NetworkConfig": "config",
    "PoseNetwork": "net",
    "masks_in_regions": "roi",
    "roi_align": "roi",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
