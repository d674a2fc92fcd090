"""The sensor's side of L_self, prepared once for any number of renderings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from self6d.losses.ms_ssim import ScaleStatistics


@dataclass
class Target:
    """What the sensor and the predicted mask say about N regions; the same for every pose tried.

    Attributes:
        mask: (N, h, w) float, visible mask M_P in [0, 1].
        occluder: (N, h, w) bool, in front of the object according to the network.
        observed: (N, h, w) bool, inside the sensor image.
        K: (N, 3, 3), pixels of the regions.
        depth_m: (N, h, w) float, metres, 0 where unknown; None without depth.
        usable: (N, h, w) bool, depth that may be trusted; None without depth.
        scales: statistics of I_S M_P for MS-SSIM, None if the term is off.
        ab: (N, 2, h, w), rho(I_S) M_P, None if the term is off.
        features: AlexNet features of I_S M_P, None if the term is off.
        from_black: their distance to a black image's, on a CPU.
        masked: (N, 3, h, w) float, I_S M_P, for the published packages; None on the fast paths.
    """

    mask: Tensor
    occluder: Tensor
    observed: Tensor
    K: Tensor
    depth_m: Tensor | None
    usable: Tensor | None
    scales: list[ScaleStatistics] | None
    ab: Tensor | None
    features: list[Tensor] | None
    from_black: list[Tensor] | None = None
    masked: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """All there are, in one order, N rows each."""
        found: list[Tensor] = []
        for field in fields(self):
            value = getattr(self, field.name)
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, ScaleStatistics):
                    found += [part.image, part.mean, part.variance]
                elif part is not None:
                    found.append(part)
        return found

    def of(self, tensors: Sequence[Tensor]) -> Target:
        """A target with the same parts as this one: those given, in the order of `tensors`."""
        parts = iter(tensors)

        def taken(value: Any) -> Any:
            if isinstance(value, list):
                return [taken(part) for part in value]
            if isinstance(value, ScaleStatistics):
                return ScaleStatistics(next(parts), next(parts), next(parts))
            return None if value is None else next(parts)

        return Target(*(taken(getattr(self, field.name)) for field in fields(self)))

    def __getitem__(self, index: Tensor) -> Target:
        """Regions `index` (M,) int64, repeated or reordered, as when one image has many starts."""
        pick = lambda x: None if x is None else x[index]  # noqa: E731
        return Target(
            self.mask[index],
            self.occluder[index],
            self.observed[index],
            self.K[index],
            pick(self.depth_m),
            pick(self.usable),
            None if self.scales is None else [s[index] for s in self.scales],
            pick(self.ab),
            None if self.features is None else [_picked(f, index) for f in self.features],
            None if self.from_black is None else [f[index] for f in self.from_black],
            pick(self.masked),
        )


def _picked(maps: Tensor, index: Tensor) -> Tensor:
    """(N, C, h, w) -> (M, C, h, w), channels last in memory if they were."""
    last = maps.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return maps[index].contiguous(memory_format=layout)
