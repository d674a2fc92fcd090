"""RefinerNetwork: crop and rendering in, change of pose out."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from self6d.network.backbone import Backbone
from self6d.network.heads import PerObjectLinear, conv_norm
from self6d.refinement.rgb.config import RefinerConfig

CHANNELS = 8  # crop, rendering, its mask, its depth about the object's middle in diameters
FINE = 8  # cells of the mask per cell of the last maps, each way


class Change(NamedTuple):
    """What the network says about N poses.

    Attributes:
        rotation: (N, 6), two columns of the allocentric turn, see `rotation6d_to_matrix`.
        shift: (N, 2), of the projected middle of the object, in sides of the crop.
        distance: (N,), log of the new distance over the old.
        confidence: (N,), logit of "within a tenth of the diameter after this change".
        mask: (N, S / 4, S / 4), logits of the visible mask, over the crop.
    """

    rotation: Tensor
    shift: Tensor
    distance: Tensor
    confidence: Tensor
    mask: Tensor


class RefinerNetwork(nn.Module):
    """After DeepIM (Li et al., ECCV 2018): rotation, shift and log-distance apart.

    Args:
        objects: how many have an output layer of their own; 1: all share one.
    """

    def __init__(self, config: RefinerConfig, objects: int = 1) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, config.weights)
        _widen_stem(self.backbone.body)
        inside, width = self.backbone.channels[-1], config.head_channels
        self.condense = nn.Sequential(conv_norm(inside, width, 1), conv_norm(width, width))
        self.mask = nn.Conv2d(inside, FINE**2, 1)
        cells = (config.size // 32) ** 2
        self.hidden = nn.Sequential(
            nn.Linear(width * cells, 8 * width), nn.LeakyReLU(0.1, inplace=True),
            nn.Linear(8 * width, 4 * width), nn.LeakyReLU(0.1, inplace=True),
        )  # fmt: skip
        self.out = PerObjectLinear(4 * width, 10, objects, std=0.01)
        with torch.no_grad():  # before training it changes nothing
            self.out.bias[:, :6] = torch.tensor([1.0, 0, 0, 0, 1.0, 0])

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Take over the weights of a refiner for every object; each output layer starts as its."""
        count = len(self.out.weight)
        own = {
            name: value.expand(count, *value.shape[1:]) if name.startswith("out.") else value
            for name, value in weights.items()
        }
        self.load_state_dict(own)

    def forward(
        self, crop: Tensor, rendered: Tensor, mask: Tensor, depth: Tensor, object_index: Tensor
    ) -> Change:
        """Compare.

        Args:
            crop, rendered: (N, 3, S, S) RGB in [0, 1]. mask: (N, S, S) in [0, 1], of the rendering.
            depth: (N, S, S), diameters beyond the object's middle, 0 outside the mask.
            object_index: (N,) int64.
        """
        mean, std = self.backbone.mean, self.backbone.std
        pictures = [(picture - mean) / std for picture in (crop, rendered)]
        x = torch.cat((*pictures, mask[:, None], depth[:, None]), 1)
        x = x.to(memory_format=torch.channels_last)
        features = self.backbone.body(x)[-1]
        seen = F.pixel_shuffle(self.mask(features).float(), FINE)[:, 0]
        flat = self.condense(features).flatten(1)
        with torch.autocast(flat.device.type, enabled=False):  # bfloat16 would cost millimetres
            hidden = self.hidden(flat.float())
            out = self.out(hidden[:, :, None], object_index)[..., 0]
        return Change(out[:, :6], out[:, 6:8], out[:, 8], out[:, 9], seen)


def _widen_stem(body: nn.Module) -> None:
    """Let the first convolution take `CHANNELS`, in place, its weights kept for both pictures."""
    name, conv = next((n, m) for n, m in body.named_modules() if isinstance(m, nn.Conv2d))
    wide = deepcopy(conv)
    wide.in_channels = CHANNELS
    extra = torch.randn(len(conv.weight), CHANNELS - 6, *conv.kernel_size) * conv.weight.std() / 2
    wide.weight = nn.Parameter(torch.cat((conv.weight / 2, conv.weight / 2, extra), 1).detach())
    parent, _, leaf = name.rpartition(".")
    setattr(body.get_submodule(parent), leaf, wide)
