"""A random camera: light path, sensor, processing and compression, different for every image.

Geometry is untouched, so labels stay true. Stage 1 applies it to rendered scenes, stage 2 to what
the student sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from self6d.fusing import Fusing, unfused
from self6d.synthesis import effects
from self6d.synthesis.record import upload

EFFECTS = 20  # at most so many effects,
NUMBERS = 64  # with so many random parameters in all


def augment(
    images: Tensor,
    generator: torch.Generator | int,
    strength: float = 1.0,
    work: Fusing = unfused,
) -> Tensor:
    """Photometric augmentation.

    Args:
        images: (B, 3, H, W) float32 in [0, 1], RGB; not changed.
        generator: CPU generator (or a seed) that all randomness comes from.
        strength: 0 leaves the images as they are, 1 is a poor camera in bad light; scales both how
            often an effect is applied and how strongly.
        work: see `self6d.fusing`.

    Returns:
        (B, 3, H, W) float32 in [0, 1].
    """
    if strength <= 0:
        return images
    if isinstance(generator, int):
        generator = torch.Generator().manual_seed(generator)
    return _Camera(images, generator, strength, work).images.clamp_(0, 1)


class _Camera:
    """One pass over a batch. Each effect touches the images drawn for it, together."""

    def __init__(
        self, images: Tensor, generator: torch.Generator, strength: float, work: Fusing
    ) -> None:
        self._work = work
        self.images, self.g, self.s = images.clone(), generator, strength
        self.device = images.device
        self.noise = torch.Generator(device=self.device).manual_seed(
            int(torch.randint(2**62, (), generator=generator))
        )
        # everything random that the device needs, in one copy; how many images an effect gets and
        # which ones are drawn apart
        numbers = torch.rand(NUMBERS, len(images), generator=generator)
        orders = torch.rand(EFFECTS, len(images), generator=generator).argsort(1)
        self.numbers, self.orders = upload(self.device, numbers, orders)
        self.draws = torch.rand(EFFECTS, len(images), generator=generator).numpy()
        self.row = self.turn = 0
        # pixels of blurs and noise are meant at a height of 480
        self.zoom = max(0.35, images.shape[-2] / 480)
        self._light()
        self._sensor()
        self._processing()
        self._dropout()

    def u(self, n: int, low: float, high: float, *shape: int) -> Tensor:
        """(n, *shape) uniform on the device."""
        count = math.prod(shape)
        values = self.numbers[self.row : self.row + count, :n]
        self.row += count
        return (values * (high - low) + low).T.reshape(n, *shape)

    def around_one(self, n: int, spread: float, *shape: int) -> Tensor:
        """Factors between 1 / (1 + spread) and 1 + spread, even in their logarithm."""
        limit = math.log1p(spread * self.s)
        return self.u(n, -limit, limit, *shape).exp()

    def some(self, share: float, effect: Callable[[Tensor, int], Tensor]) -> None:
        """Apply an effect to a random share of the images."""
        n = int((self.draws[self.turn] < share * min(1.0, self.s)).sum())
        index, self.turn = self.orders[self.turn, :n], self.turn + 1
        if n == 0:
            return
        if n == len(self.images):
            self.images = effect(self.images, n)
            return
        changed = effect(self.images.index_select(0, index), n)
        if self.device.type != "cpu":
            self.images.index_copy_(0, index, changed)
            return
        for image, place in zip(changed, index.tolist(), strict=True):  # many times faster here
            self.images[place] = image

    def _light(self) -> None:
        s = self.s
        self.some(0.3, lambda x, n: effects.vignette(x, self.u(n, 0, 0.6 * s)))
        self.some(0.35, lambda x, n: effects.defocus(
            x, self.u(n, 0.3, 0.3 + 1.7 * s) * self.zoom))  # fmt: skip
        self.some(0.15, lambda x, n: effects.motion_blur(
            x, self.u(n, 1, 1 + 8 * s) * self.zoom, self.u(n, 0, math.pi)))  # fmt: skip
        self.some(0.6, lambda x, n: effects.exposure(x, self.u(n, -1.3 * s, 0.9 * s)))
        self.some(0.5, lambda x, n: effects.white_balance(x, self.around_one(n, 0.25, 3)))

    def _sensor(self) -> None:
        s = self.s

        def noise(x: Tensor, n: int) -> Tensor:
            normal = torch.randn(x.shape, generator=self.noise, device=self.device, dtype=x.dtype)
            level = self.u(n, 0, 1) ** 2
            return self._work(effects.sensor_noise)(x, 0.05 * s * level, 0.08 * s * level, normal)

        self.some(0.6, noise)
        self.images.clamp_(0, 1)
        self.some(0.25, lambda x, n: effects.bayer(x))

    def _processing(self) -> None:
        s = self.s
        self.some(0.4, lambda x, n: effects.gamma(x, self.around_one(n, 0.4)))
        self.some(0.5, lambda x, n: effects.contrast(x, self.around_one(n, 0.5)))
        self.some(0.5, lambda x, n: effects.saturation(x, self.around_one(n, 0.8)))
        self.some(0.25, lambda x, n: effects.sharpen(x, self.u(n, 0, 1.2 * s)))
        factor = 1 + s * float(torch.rand((), generator=self.g)) * max(0.5, 1.5 * self.zoom)
        self.some(0.12, lambda x, n: effects.resample(x, factor))
        self.images.clamp_(0, 1)
        self.some(0.35, lambda x, n: effects.jpeg(x, self.u(n, 95 - 65 * min(s, 1.4), 95)))

    def _dropout(self) -> None:
        self.some(0.06, lambda x, n: effects.grey(x).repeat(1, 3, 1, 1))

        def shuffled(x: Tensor, n: int) -> Tensor:
            order = self.u(n, 0, 1, 3).argsort(1)
            return x.gather(1, order[:, :, None, None].expand_as(x))

        self.some(0.03, shuffled)

        def boxes(x: Tensor, n: int) -> Tensor:
            centre, half = self.u(n, 0, 1, 6, 2), self.u(n, 0.005, 0.07 * self.s, 6, 2)
            corners = torch.cat((centre - half, centre + half), -1)
            return effects.cutout(x, corners, self.u(n, 0, 1, 3))

        self.some(0.15, boxes)
