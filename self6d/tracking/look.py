"""How a camera shows an object's paint, learned from a frame in which the object was found.

CAD colours are rarely those of a photograph. An affine map takes the sensor's colours to the CAD's;
applied to the whole image it makes colours tell the object from its surroundings and front from
back, with textures and vertex colours alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from self6d.scene.batch import FrameBatch
from self6d.tracking.evidence import colors_alike
from self6d.tracking.paint import BLEND, UNKNOWN, Paint

RIDGE = 0.02  # how strongly the map is held to the identity
FEWEST = 60  # pixels that say something


@dataclass(frozen=True)
class Look:
    """sensor rgb @ matrix + shift is CAD rgb.

    Attributes:
        matrix: (3, 3) float64. shift: (3,) float64, of colours in [0, 1].
        alike: how alike the colours then are at a right pose, see `evidence.colors_alike`.
    """

    matrix: Tensor
    shift: Tensor
    alike: float

    def of(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] as if painted like the CAD."""
        matrix, shift = self.matrix.to(images), self.shift.to(images)
        flat = images.flatten(2).mT @ matrix + shift
        return flat.clamp(0, 1).mT.reshape(images.shape).contiguous()

    def mixed(self, newer: Look | None) -> Look:
        """With what another frame says."""
        if newer is None:
            return self
        alike = self.alike + BLEND * (newer.alike - self.alike)
        matrix = self.matrix.lerp(newer.matrix, BLEND)
        return Look(matrix, self.shift.lerp(newer.shift, BLEND), alike)

    def state(self) -> list[float]:
        """13 numbers."""
        return [*self.matrix.flatten().tolist(), *self.shift.tolist(), self.alike]

    @classmethod
    def from_state(cls, state: list[float]) -> Look:
        """Inverse of `state`."""
        values = torch.tensor(state, dtype=torch.float64)
        return cls(values[:9].reshape(3, 3), values[9:12], float(values[12]))


@torch.no_grad()
def learn_look(
    rgb: Tensor, rendered: Tensor, where: Tensor, alike: Callable[[Look], Tensor] | None = None
) -> Look | None:
    """The map between two images of the object; None where too few pixels show it.

    Least squares, held to the identity.

    Args:
        rgb, rendered: (3, h, w) in [0, 1], sensor and CAD. where: (h, w) bool.
        alike: how alike colours are by a look, (1,), as it is taken from these images otherwise.
    """
    x, y = rgb[:, where].T.double().cpu(), rendered[:, where].T.double().cpu()
    if len(x) < FEWEST:
        return None
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    ridge = RIDGE * torch.eye(3, dtype=torch.float64)
    matrix = torch.linalg.solve(x.T @ x / len(x) + ridge, x.T @ y / len(x) + ridge)
    look = Look(matrix, mean_y - mean_x @ matrix, UNKNOWN)
    if alike is None:
        own = colors_alike(look.of(rgb[None]), rendered[None], where[None])
    else:
        own = alike(look)
    return Look(look.matrix, look.shift, float(own[0]))


@dataclass
class PaintedFrame(FrameBatch):
    """A frame in the CAD's colours, as far as they are known.

    Attributes:
        alike: how alike colours are expected to be at a right pose; None: they say nothing yet.
        learned: whether a look was, from this camera.
        camera: (1, 3, H, W), the colours as they came; None: `images`.
        paint: what was learned of an object whose CAD brings no colours.
    """

    alike: float | None = UNKNOWN
    learned: bool = False
    camera: Tensor | None = None
    paint: Paint | None = None

    @property
    def plain(self) -> Tensor:
        """The frame in the camera's own colours."""
        return self.images if self.camera is None else self.camera

    @classmethod
    def seen(
        cls, sensor: FrameBatch, look: Look | None, unknown: float | None = UNKNOWN
    ) -> PaintedFrame:
        """A frame as it came, painted by a look; without one colours are `unknown` alike."""
        if look is None:
            return cls(sensor.images, sensor.depth_m, sensor.K, unknown)
        return cls(
            look.of(sensor.images), sensor.depth_m, sensor.K, look.alike, True, sensor.images
        )
