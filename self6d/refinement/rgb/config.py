"""What the RGB refiner looks like and how wrong the poses are that it learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from self6d.config_fields import Checked, Limits


@dataclass
class RefinerConfig(Checked, section="refiner"):
    """A network that compares an image with the rendering at a pose, and what it is trained on."""

    backbone: str = "timm/tf_efficientnet_lite2"
    """Backbone of the refiner: a torchvision name or timm/NAME, as for the pose network."""
    weights: str = "none"
    """Pretrained backbone: "none", "package", "cache" or a file, as `network.weights`."""
    size: Annotated[int, Limits(32, 1024)] = 256
    """Side of the square crops compared, pixels (a multiple of 32)."""
    padding: Annotated[float, Limits(1, 10)] = 1.4
    """Crops are the projected model's box enlarged by this factor."""
    head_channels: Annotated[int, Limits(4, 4096)] = 64
    """Channels of the last maps, from which the change of pose is read."""
    per_object: bool = False
    """Give each object its own output layer; else all objects share one, and any CAD model can be
    refined."""
    looks: Annotated[int, Limits(1, 16)] = 3
    """How often a pose is rendered, compared and moved when refining."""
    share: Annotated[float, Limits(0, 1)] = 1.0
    """How far the looks' distance counts where they start at a network's prediction: in logarithms,
    the rest is that network's. What learns from a track measures it at the end."""

    train_looks: Annotated[int, Limits(1, 16)] = 2
    """Looks a training step takes, each from where the one before it ended."""
    instances: Annotated[int, Limits(1, 1024)] = 6
    """Instances an image gives to a training step; fixed, so that batches are of one size."""
    min_visible: Annotated[float, Limits(0, 1)] = 0.2
    """Instances less visible than this fraction train nothing."""
    rotation_deg: Annotated[float, Limits(0, 180)] = 16.0
    """Largest standard deviation of the starts' rotation about each axis, degrees."""
    shift: Annotated[float, Limits(0, 10)] = 0.12
    """Largest standard deviation of the starts' sideways shift, diameters."""
    distance: Annotated[float, Limits(0, 1)] = 0.2
    """Largest standard deviation of the starts' distance, relative."""
    generated: Annotated[int, Limits(0, 100_000)] = 0
    """Generated shapes that train beside the CAD models; without any model they train a refiner for
    every object."""

    rotation_weight: Annotated[float, Limits(0)] = 1.0
    """Weight of the point distance that the wrong rotation makes, in diameters."""
    shift_weight: Annotated[float, Limits(0)] = 1.0
    """Weight of the sideways error, in diameters."""
    distance_weight: Annotated[float, Limits(0)] = 0.5
    """Weight of the distance error, in diameters."""
    mask_weight: Annotated[float, Limits(0)] = 0.3
    """Weight of the visible mask's cross-entropy."""
    confidence_weight: Annotated[float, Limits(0)] = 0.05
    """Weight of the confidence's cross-entropy."""
