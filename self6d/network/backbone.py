"""Image features: backbones by name, the feature pyramid, frozen batch norm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import self6d.torchvision_guard  # noqa: F401  (before torchvision)
from self6d.errors import InputError, MissingDependencyError
from self6d.layers import BatchNormAct, DepthwiseConv, MaxPool
from self6d.network.pretrained import load_pretrained

import torchvision  # isort: skip
from torchvision.models.resnet import BasicBlock  # isort: skip
from torchvision.ops import FeaturePyramidNetwork  # isort: skip
from torchvision.ops.feature_pyramid_network import LastLevelP6P7  # isort: skip

STRIDES = (4, 8, 16, 32)
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
# the ReLU after the pooling: the same maxima, of a quarter of the pixels
_RESNET_CHAIN = ("conv1", "bn1", "maxpool", "relu", "layer1", "layer2", "layer3", "layer4")
_LAYOUTS = {"resnet10": (1, 1, 1, 1), "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}


class Backbone(nn.Module):
    """Features of an image at strides 4, 8, 16 and 32.

    Args:
        name: a torchvision ResNet ("resnet18", "resnet34", "resnet50", ...), a thinner one
            ("resnet18-w32": layout of ResNet-18, 32 channels in the first stage), any torchvision
            model with a `features` chain (MobileNet, EfficientNet, ConvNeXt), or "timm/NAME".
        weights: "none", "package", "cache" (torch.hub's download folder, never the network) or a
            file; see `load_pretrained`.

    Attributes:
        channels: of the features at strides 4, 8, 16, 32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: str = "none") -> None:
        super().__init__()
        self.body = _timm_body(name[5:]) if name.startswith("timm/") else _Chain(_stages(name))
        with torch.no_grad():
            was_training = self.body.training
            features = self.body.eval()(torch.zeros(1, 3, 64, 64))
            self.body.train(was_training)
        by_stride = {64 // f.shape[-1]: i for i, f in enumerate(features)}  # last of each stride
        if any(stride not in by_stride for stride in STRIDES):
            raise InputError(f'"{name}" has no features at strides 4, 8, 16 and 32')
        self._picked = tuple(by_stride[stride] for stride in STRIDES)
        self.channels = tuple(features[i].shape[1] for i in self._picked)
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1), persistent=False)
        if weights != "none":
            load_pretrained(self.body, name, weights)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) RGB in [0, 1] -> four maps (B, C_s, H/s, W/s)."""
        features = self.body((images - self.mean) / self.std)
        return [features[i] for i in self._picked]


class _Chain(nn.Sequential):
    """Stages in a row, giving the output of each."""

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for stage in self:
            x = stage(x)
            outputs.append(x)
        return outputs


def _stages(name: str) -> OrderedDict[str, nn.Module]:
    """Stages under the names they have in published state dicts."""
    if name.startswith("resnet") and "-w" in name:
        return _thin_resnet(name)
    try:
        if name in _LAYOUTS:
            model = _resnet(_LAYOUTS[name])
        else:
            model = torchvision.models.get_model(name, weights=None)
    except ValueError as error:
        raise InputError(
            f'there is no backbone "{name}"',
            remedy="Name a torchvision model such as resnet34, or timm/NAME with timm installed.",
        ) from error
    if isinstance(model, torchvision.models.ResNet):
        model.maxpool = MaxPool()
        return OrderedDict((part, getattr(model, part)) for part in _RESNET_CHAIN)
    if isinstance(getattr(model, "features", None), nn.Sequential):
        return OrderedDict(model.features.named_children())
    raise InputError(
        f'"{name}" has no feature chain', remedy="Use a ResNet, MobileNet, EfficientNet, ConvNeXt."
    )


class _Block(BasicBlock):
    """torchvision's; its batch norms bring their activation along, weights keep their names."""

    def __init__(self, inside: int, outside: int, *others: Any, **more: Any) -> None:
        super().__init__(inside, outside, *others, **more)
        self.bn1 = BatchNormAct(outside, nn.ReLU(inplace=True))
        self.bn2 = BatchNormAct(outside, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        y += x if self.downsample is None else self.downsample(x)  # in torchvision's order
        return self.relu(y)


def _resnet(layout: Sequence[int]) -> torchvision.models.ResNet:
    model = torchvision.models.ResNet(_Block, list(layout))
    model.bn1 = BatchNormAct(64, nn.Identity())
    for level in (model.layer2, model.layer3, model.layer4):
        shortcut = level[0].downsample
        shortcut[1] = BatchNormAct(shortcut[1].num_features, nn.Identity())
    return model


def _thin_resnet(name: str) -> OrderedDict[str, nn.Module]:
    """A ResNet of basic blocks with any width, written as "resnet18-w32"."""
    layout, _, width_text = name.partition("-w")
    if layout not in _LAYOUTS or not width_text.isdigit():
        raise InputError(
            f'there is no backbone "{name}"',
            remedy=f"Write LAYOUT-wWIDTH with one of {', '.join(_LAYOUTS)}.",
        )
    width = int(width_text)
    stages: list[nn.Module] = [
        nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        BatchNormAct(width, nn.Identity()),
        MaxPool(),
        nn.ReLU(inplace=True),
    ]
    inside = width
    for level, depth in enumerate(_LAYOUTS[layout]):
        outside = width << level
        blocks = []
        for i in range(depth):
            stride = 2 if i == 0 and level > 0 else 1
            shortcut = None
            if stride != 1:
                shortcut = nn.Sequential(
                    nn.Conv2d(inside, outside, 1, stride=stride, bias=False),
                    BatchNormAct(outside, nn.Identity()),
                )
            blocks.append(_Block(inside, outside, stride, shortcut))
            inside = outside
        stages.append(nn.Sequential(*blocks))
    for stage in stages:
        for module in stage.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return OrderedDict(zip(_RESNET_CHAIN, stages))


def _timm_body(name: str) -> nn.Module:
    try:
        import timm
        from timm.layers import BatchNormAct2d, Conv2dSame
    except ImportError as error:
        raise MissingDependencyError(
            f'backbone "timm/{name}" needs timm',
            remedy='Install it: pip install "self6d-studio[pretrained]"',
        ) from error
    if not timm.is_model(name):
        raise InputError(f'timm has no model "{name}"', remedy="List them: timm.list_models()")
    body = timm.create_model(name, pretrained=False, features_only=True)
    for part in body.modules():
        for child, layer in part.named_children():
            own: nn.Module | None = None
            if type(layer) is BatchNormAct2d and isinstance(layer.drop, nn.Identity):
                own = BatchNormAct.of(layer, layer.act)
            elif type(layer) in (nn.Conv2d, Conv2dSame):
                own = DepthwiseConv.of(layer, same=type(layer) is Conv2dSame)
            if own is not None:
                setattr(part, child, own)
    return body


class Pyramid(nn.Module):
    """Feature pyramid at strides 8, 16, 32 (and 64, 128), every level with the same channels.

    Args:
        channels: of the backbone's features at strides 8, 16, 32.
        out_channels: of every level.
        levels: 3 or 5.
    """

    def __init__(self, channels: Sequence[int], out_channels: int, levels: int) -> None:
        super().__init__()
        extra = LastLevelP6P7(out_channels, out_channels) if levels == 5 else None
        self.fpn = FeaturePyramidNetwork(list(channels), out_channels, extra_blocks=extra)
        self.strides = tuple(8 << level for level in range(levels))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps at strides 8, 16, 32 -> one map a level."""
        named = OrderedDict((str(i), f) for i, f in enumerate(features))
        return list(self.fpn(named).values())


def freeze_batch_norm(module: nn.Module, frozen: bool = True) -> None:
    """Fix (or free) the statistics and affine weights of all batch norms inside, in place.

    `module.train()` frees the statistics again: call this after it.
    """
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.train(module.training and not frozen)
            for parameter in part.parameters(recurse=False):
                parameter.requires_grad_(not frozen)
