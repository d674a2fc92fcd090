"""From images or pyramid maps to masks, dense object coordinates and poses of regions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from self6d.layers import BatchNormAct, GroupNormReLU
from self6d.network.backbone import Backbone
from self6d.network.config import NetworkConfig
from self6d.network.roi import roi_align


def conv_norm(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False),
        BatchNormAct(outside, nn.ReLU(inplace=True)),
    )


class PerObjectLinear(nn.Module):
    """A linear layer of which each object has its own (cost does not grow with their number).

    Args:
        inside, outside: features. objects: how many layers; 1 shares one among all.
        std: of the initial weights.
    """

    def __init__(self, inside: int, outside: int, objects: int, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(objects, outside, inside) * std)
        self.bias = nn.Parameter(torch.zeros(objects, outside))

    def forward(self, x: Tensor, object_index: Tensor) -> Tensor:
        """x (N, inside, ...) and (N,) int64 -> (N, outside, ...)."""
        if len(self.weight) == 1:
            object_index = torch.zeros_like(object_index)
        weight, bias = self.weight[object_index], self.bias[object_index]
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            # rows are pixels: no copy into another layout, neither here nor of the gradient
            rows = x.permute(0, 2, 3, 1)
            out = torch.baddbmm(bias[:, None], rows.flatten(1, 2), weight.transpose(1, 2))
            return out.unflatten(1, rows.shape[1:3]).permute(0, 3, 1, 2)
        return torch.baddbmm(bias[:, :, None], weight, x.flatten(2)).unflatten(2, x.shape[2:])


class CropFeatures(nn.Module):
    """Region features from image crops: a second backbone and a top-down decoder to stride 4.

    The crops are sampled from the image by ROI-Align, so that they are sharp however small the
    object is in the detector's maps.
    """

    def __init__(self, config: NetworkConfig, objects: int) -> None:
        super().__init__()
        self.size, self.samples = config.crop_size, config.roi_samples
        self.backbone = Backbone(config.crop_backbone, config.crop_weights)
        width = config.head_channels
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in self.backbone.channels)
        self.smooth = nn.ModuleList(conv_norm(width, width) for _ in range(3))
        self.tower = conv_norm(width, width)
        self.identity = nn.Embedding(objects if config.per_object else 1, width)
        nn.init.normal_(self.identity.weight, std=0.1)
        self.side = config.crop_size // 4

    def forward(self, crops: Tensor, object_index: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1], (N,) int64 -> (N, head_channels, S/4, S/4)."""
        if len(self.identity.weight) == 1:
            object_index = torch.zeros_like(object_index)
        maps = [lateral(f) for lateral, f in zip(self.lateral, self.backbone(crops))]
        x = maps[-1] + self.identity(object_index)[:, :, None, None]
        for finer, smooth in zip(reversed(maps[:-1]), self.smooth):
            x = smooth(F.interpolate(x, scale_factor=2.0, mode="nearest") + finer)
        return self.tower(x)

    def crops(self, images: Tensor, boxes: Tensor, image_index: Tensor | None) -> Tensor:
        """RegionBoxes of the images as square crops; arguments as `roi_align` -> (N, 3, S, S)."""
        return roi_align(images, boxes, image_index, (self.size, self.size), samples=self.samples)


class FusedFeatures(nn.Module):
    """Region features from the detector: fused pyramid maps + RGB + 2D coordinates, ROI-aligned.

    Self6D's form: the maps of strides 8 to 32 are brought to stride 8 and added, then stacked with
    the image and the pixel coordinates (in [-1, 1]) at that stride.
    """

    def __init__(self, config: NetworkConfig, stride: float) -> None:
        super().__init__()
        self.side, self.samples, self.stride = config.roi_size, config.roi_samples, stride
        self.fuse = conv_norm(config.pyramid_channels, config.head_channels)
        self.tower = nn.Sequential(
            conv_norm(config.head_channels + 5, config.head_channels),
            conv_norm(config.head_channels, config.head_channels),
        )

    def forward(
        self,
        maps: Sequence[Tensor],
        images: Tensor,
        boxes: Tensor,
        image_index: Tensor | None,
    ) -> Tensor:
        """Pyramid maps, (B, 3, H, W) and boxes as `roi_align` -> (N, head_channels, S, S)."""
        h, w = maps[0].shape[-2:]
        fused = maps[0]
        for coarser in maps[1:3]:
            fused = fused + F.interpolate(coarser, (h, w), mode="bilinear", align_corners=False)
        b = len(images)
        x = torch.linspace(-1, 1, w, device=images.device).expand(b, 1, h, w)
        y = torch.linspace(-1, 1, h, device=images.device)[:, None].expand(b, 1, h, w)
        rgb = F.adaptive_avg_pool2d(images, (h, w))
        stacked = torch.cat((self.fuse(fused).float(), rgb, x, y), dim=1)
        side = (self.side, self.side)
        scale = 1 / self.stride
        regions = roi_align(stacked, boxes, image_index, side, scale=scale, samples=self.samples)
        return self.tower(regions)


class MaskBranch(nn.Module):
    """Visible (and amodal) mask logits over a region, finer than the features by pixel shuffle."""

    def __init__(self, config: NetworkConfig, objects: int) -> None:
        super().__init__()
        self.up = config.mask_upsample
        self.channels = 2 if config.amodal_mask else 1
        outside = self.channels * self.up**2
        self.out = PerObjectLinear(config.head_channels, outside, objects, std=0.01)

    def forward(self, features: Tensor, object_index: Tensor) -> Tensor:
        """(N, D, S, S) -> (N, 1 or 2, up S, up S) float32 logits."""
        logits = self.out(features, object_index).float()
        return F.pixel_shuffle(logits, self.up) if self.up > 1 else logits


class DenseBranch(nn.Module):
    """Object coordinates of the surface seen at each cell, and the surface region it lies in."""

    def __init__(self, config: NetworkConfig, objects: int) -> None:
        super().__init__()
        outside = 3 + config.regions
        self.out = PerObjectLinear(config.head_channels, outside, objects, std=0.01)

    def forward(self, features: Tensor, object_index: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D, S, S) -> coordinates (N, 3, S, S), about -1 to 1, and region logits, float32."""
        out = self.out(features, object_index).float()
        return out[:, :3], out[:, 3:]


class VectorBranch(nn.Module):
    """A few numbers per region from its maps: strided convolutions, then fully connected layers.

    On maps of correspondences this is GDR-Net's learned PnP, on features direct regression.

    Args:
        inside: channels of the maps. side: of the maps. objects: sets of output layers.
        width: channels of the convolutions. start: output before training, one number each.
    """

    def __init__(
        self, inside: int, side: int, objects: int, width: int, start: Sequence[float]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while side > 4:
            layers += [
                nn.Conv2d(inside, width, 3, stride=2, padding=1, bias=False),
                GroupNormReLU(min(32, width // 4), width),
                nn.Identity(),  # weights keep their names of when the ReLU stood here
            ]
            inside, side = width, (side + 1) // 2
        self.convs = nn.Sequential(*layers)
        self.hidden = nn.Sequential(
            nn.Linear(inside * side * side, 4 * width), nn.LeakyReLU(0.1, inplace=True),
            nn.Linear(4 * width, 2 * width), nn.LeakyReLU(0.1, inplace=True),
        )  # fmt: skip
        self.out = PerObjectLinear(2 * width, len(start), objects, std=0.01)
        with torch.no_grad():
            self.out.bias[:] = torch.tensor(start)

    def forward(self, maps: Tensor, object_index: Tensor) -> Tensor:
        """(N, inside, S, S) -> (N, len(start)), float32."""
        flat = self.convs(maps).flatten(1)
        with torch.autocast(flat.device.type, enabled=False):  # bfloat16 would cost millimetres
            hidden = self.hidden(flat.float())
            return self.out(hidden[:, :, None], object_index)[..., 0]
