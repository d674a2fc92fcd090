"""How far one posed model lies beside its own outline in the colours of one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from self6d.geometry.outlines import colour_shift, edge_profiles
from self6d.rendering import PackedModels
from self6d.tracking.colours.region import Region


@dataclass(frozen=True)
class Beside:
    """How far colours lie beside a pose.

    Attributes:
        shift: (2,), pixels of the frame, to the right and down: where the colours have it.
        spread: (2, 2), its covariance.
    """

    shift: np.ndarray
    spread: np.ndarray


def beside(region: Region, R: np.ndarray, t: np.ndarray, models: PackedModels) -> Beside | None:
    """How far the colours' edges lie beside a posed model's outline; None: they do not say.

    Args:
        region: about the pose. R: (3, 3). t: (3,), metres. models: one packed model.
    """
    outline = region.drawn(R, t, models).outline
    if not len(outline):
        return None
    found = colour_shift(edge_profiles(region.gradient, outline), outline)
    if found is None:
        return None
    back = 1 / region.scale
    return Beside(found.pixels * back, found.spread * np.outer(back, back))
