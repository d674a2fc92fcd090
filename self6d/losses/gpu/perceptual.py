"""The perceptual distance and its gradient on a GPU: AlexNet's convolutions, own kernels between.

The same formula as `losses.perceptual`; with a node of torch's for each bias, ReLU, pooling and sum
the passes over memory between the convolutions took longer than these.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from self6d.layers.usable import usable
from self6d.losses.perceptual import CONVOLUTIONS, POOLED, AlexNetFeatures

KERNELS = "self6d.losses.gpu.feature_kernels"


def kernels_for(network: AlexNetFeatures, rgb: Tensor, source: list[Tensor]) -> ModuleType | None:
    """What `fused_perceptual_loss` runs on; None where it cannot: see `usable`."""
    if network.kernel(0)[0].dtype != torch.float32 or any(s.requires_grad for s in source):
        return None
    if usable(KERNELS, *source, channels_last=True) is None:
        return None
    return usable(KERNELS, rgb)


def fused_perceptual_loss(
    kernels: ModuleType, network: AlexNetFeatures, rgb: Tensor, source: list[Tensor]
) -> Tensor:
    """`perceptual_loss` of images against fixed features.

    Args:
        kernels: from `kernels_for`.
        rgb: (N, 3, H, W) float32 in [0, 1], contiguous. source: features of I_S M_P.

    Returns:
        (N,), between 0 and 10. Differentiable once, in `rgb` alone.
    """
    return _Distance.apply(rgb, kernels, network, source)


class _Distance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rgb: Tensor, kernels: ModuleType, network: AlexNetFeatures, source: list[Tensor]
    ) -> Tensor:
        x = kernels.blocks(rgb, network.mean, network.std)
        seen, found, places = [], [], []
        for index, (_, _, _, _, padding) in enumerate(CONVOLUTIONS):
            if index in POOLED:
                x, place = kernels.pooled(x)
                places.append(place)
            weight, bias = network.kernel(index)
            seen.append(x)
            with torch.autocast(rgb.device.type, enabled=False):
                x = conv2d(x, weight, padding=padding if index else 0)
            x = kernels.add_and_clip(x.contiguous(memory_format=torch.channels_last), bias)
            found.append(x)
        ctx.save_for_backward(*seen, *found, *places, *source)
        ctx.kernels, ctx.network, ctx.size = kernels, network, rgb.shape[-2:]
        return kernels.distance(source, found)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        layers, kernels = len(CONVOLUTIONS), ctx.kernels
        saved = list(ctx.saved_tensors)
        seen, found, source = saved[:layers], saved[layers : 2 * layers], saved[-layers:]
        places = dict(zip(POOLED, saved[2 * layers :], strict=False))
        above, gradient = None, gradient.contiguous()
        for index in reversed(range(layers)):
            g = kernels.gradient(source[index], found[index], gradient, above)
            padding = CONVOLUTIONS[index][4] if index else 0
            weight, _ = ctx.network.kernel(index)
            above, _, _ = torch.ops.aten.convolution_backward(
                g, seen[index], weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1,
                [True, False, False],
            )  # fmt: skip
            above = above.contiguous(memory_format=torch.channels_last)
            if index in POOLED:
                above = kernels.unpooled(above, places[index], found[index - 1])
        return kernels.unblocked(above, ctx.network.std, ctx.size), None, None, None
