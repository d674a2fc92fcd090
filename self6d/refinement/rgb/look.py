"""One look: render at a pose, compare with the image, move the pose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from self6d.geometry import (
    allocentric_to_egocentric,
    crop_intrinsics,
    egocentric_to_allocentric,
    project,
    rotation6d_to_matrix,
    transform,
)
from self6d.network.roi import roi_align
from self6d.refinement.regions import ModelBoxes, project_boxes, square_boxes
from self6d.refinement.rgb.network import Change, RefinerNetwork
from self6d.rendering import PackedModels, Shading, render
from self6d.scene import ObjectModel

STEP = 0.5  # at most so much further or nearer a look, in log-distance; shifts by half a crop

Forward = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Change]


@dataclass(frozen=True)
class RefinerScene:
    """N instances of M objects in B images.

    Attributes:
        images: (B, 3, H, W) in [0, 1]. K: (N, 3, 3), pixels, of each instance's image.
        image_index: (N,) int64; None: the same number in each image, image by image.
        models: M packed models. diameter: (M,), metres. object_index: (N,) int64.
        output_index: (N,) int64, which output layer each instance's change is read from.
    """

    images: Tensor
    K: Tensor
    image_index: Tensor | None
    models: PackedModels
    diameter: Tensor
    object_index: Tensor
    output_index: Tensor

    @property
    def centre(self) -> Tensor:
        """(N, 3), metres, model frame, middle of each instance's box."""
        return ModelBoxes.of(self.models).centre[self.object_index]


@dataclass(frozen=True)
class Look:
    """Where a look led.

    Attributes:
        R: (N, 3, 3). t: (N, 3), metres. change: what the network said.
        allocentric: (N, 3, 3), R seen along the ray to the object's old place.
        region: (N, 4), pixels, what was looked at.
    """

    R: Tensor
    t: Tensor
    change: Change
    allocentric: Tensor
    region: Tensor


def take_look(network: RefinerNetwork, scene: RefinerScene, R: Tensor, t: Tensor) -> Look:
    """Compare the images with the rendering at poses R (N, 3, 3), t (N, 3), and move those.

    Differentiable with respect to the network's parameters, not to the poses.
    """
    config = network.config
    size = (config.size, config.size)
    with torch.no_grad(), torch.autocast(R.device.type, enabled=False):
        position = position_of(R, t, scene.centre)
        boxes = project_boxes(ModelBoxes.of(scene.models), scene.object_index, R, t, scene.K)
        region = square_boxes(boxes, config.padding)
        rendering = render(
            R, t, crop_intrinsics(scene.K, region, size), scene.models, size,
            object_index=scene.object_index, shading=_headlight(len(R), R.device), soft_mask=False,
        )  # fmt: skip
        diameter = scene.diameter[scene.object_index]
        covered = rendering.covered.to(R.dtype)
        depth = (rendering.depth_m - position[:, 2, None, None]) / diameter[:, None, None]
        boxes = region if scene.image_index is not None else _by_image(region, scene.images)
        crop = roi_align(scene.images, boxes, scene.image_index, size)
    change = network(crop, rendering.rgb, covered, depth * covered, scene.output_index)
    with torch.autocast(R.device.type, enabled=False):
        turn = rotation6d_to_matrix(change.rotation.float())
        allocentric = turn @ egocentric_to_allocentric(R, position)
        moved = moved_position(position, change, region, scene.K)
        R_new = allocentric_to_egocentric(allocentric, moved)
        t_new = origin_of(R_new, moved, scene.centre)
    return Look(R_new, t_new, change, allocentric, region)


def position_of(R: Tensor, t: Tensor, centre: Tensor) -> Tensor:
    """(N, 3), metres, camera frame: where the middle (N, 3) of a model's box is."""
    with torch.autocast(R.device.type, enabled=False):
        return transform(centre[:, None], R, t)[:, 0]


def origin_of(R: Tensor, position: Tensor, centre: Tensor) -> Tensor:
    """(N, 3), metres: t of the poses that have the middle (N, 3) at a position."""
    return position - position_of(R, torch.zeros_like(position), centre)


def moved_position(position: Tensor, change: Change, region: Tensor, K: Tensor) -> Tensor:
    """(N, 3), metres: the middle of the object after a change."""
    side = (region[:, 2] - region[:, 0])[:, None]
    pixel = project(position[:, None], K)[:, 0] + change.shift.float().clamp(-0.5, 0.5) * side
    z = position[:, 2] * change.distance.float().clamp(-STEP, STEP).exp()
    y = (pixel[:, 1] - K[:, 1, 2]) / K[:, 1, 1]
    x = (pixel[:, 0] - K[:, 0, 2] - K[:, 0, 1] * y) / K[:, 0, 0]
    return torch.stack((x, y, torch.ones_like(x)), 1) * z[:, None]


def diameters(models: Sequence[ObjectModel], device: torch.device | str) -> Tensor:
    """(M,) float32, metres."""
    return torch.tensor([model.diameter for model in models], dtype=torch.float32, device=device)


def _by_image(region: Tensor, images: Tensor) -> Tensor:
    return region.unflatten(0, (len(images), -1))


def _headlight(count: int, device: torch.device) -> Shading:
    """Light from the camera, so that a model without colours shows its form."""
    one = torch.ones(count, 3, device=device)
    ahead = torch.zeros(count, 1, 3, device=device)
    ahead[..., 2] = -1  # made on the device: a CUDA graph cannot hold a copy from the CPU
    return Shading(
        ambient=0.5 * one,
        directions=ahead,
        colors=0.5 * one[:, None],
        specular=torch.zeros(count, device=device),
        shininess=torch.ones(count, device=device),
    )
