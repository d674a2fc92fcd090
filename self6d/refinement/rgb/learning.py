"""One step of learning for the RGB refiner, wherever its labelled images are from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from self6d.network.objects import ObjectTable
from self6d.network.targets import choose_instances, mask_targets
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.look import RefinerScene, position_of, take_look
from self6d.refinement.rgb.losses import Truth, look_losses
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.starts import disturbed
from self6d.rendering.models import PackedModels
from self6d.scene.batch import LabelledBatch


@dataclass(frozen=True)
class RefinedObjects:
    """M objects as the refiner needs them.

    Attributes:
        models: packed. diameter: (M,), metres. table: their points and symmetries.
        outputs: (M,) int64, the output layer of each.
    """

    models: PackedModels
    diameter: Tensor
    table: ObjectTable
    outputs: Tensor


@dataclass(frozen=True)
class WrongPoses:
    """N instances with poses to be corrected.

    Attributes:
        scene: what is looked at. instance: (N,) int64, of the batch; image: (N,) int64.
        used: (N,) bool, whether they count. R_true: (N, 3, 3), t_true: (N, 3), metres.
        R: (N, 3, 3), t: (N, 3), metres, the wrong ones.
    """

    scene: RefinerScene
    instance: Tensor
    image: Tensor
    used: Tensor
    R_true: Tensor
    t_true: Tensor
    R: Tensor
    t: Tensor


def wrong_poses(
    batch: LabelledBatch,
    objects: RefinedObjects,
    config: RefinerConfig,
    choice: torch.Generator | None,
    noise: torch.Generator,
) -> WrongPoses:
    """The same number of instances from each image, with disturbed poses.

    Args:
        choice: draws the instances; None takes the first. noise: disturbs them.
    """
    slots, count = config.instances, len(batch.images)
    eligible = batch.visible_fraction >= config.min_visible
    chosen, used = choose_instances(batch.image_index, eligible, count, slots, choice)
    instance = chosen.flatten()
    image = torch.arange(count, device=instance.device).repeat_interleave(slots)
    index = batch.object_index[instance]
    scene = RefinerScene(
        batch.images, batch.K[image], None, objects.models, objects.diameter, index,
        objects.outputs[index],
    )  # fmt: skip
    R, t = batch.R[instance], batch.t[instance]
    wrong = disturbed(R, t, scene.centre, objects.diameter[index], config, noise)
    return WrongPoses(scene, instance, image, used.flatten(), R, t, *wrong)


def refiner_losses(
    network: RefinerNetwork,
    batch: LabelledBatch,
    objects: RefinedObjects,
    config: RefinerConfig,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Weighted terms of `look_losses`, means over `train_looks` looks, and their sum "total".

    Each look starts where the one before it ended, as when refining.

    Args:
        batch: labelled images. generator: on their device.
    """
    start = wrong_poses(batch, objects, config, generator, generator)
    scene, R, t = start.scene, start.R, start.t
    total: dict[str, Tensor] = {}
    for _ in range(config.train_looks):
        before = position_of(R, t, scene.centre)
        look = take_look(network, scene, R, t)
        side = look.change.mask.shape[-1]
        mask = mask_targets(
            batch, start.instance, start.image, look.region, side, False, samples=1
        )[:, 0]
        truth = Truth(start.R_true, start.t_true, mask, start.used.float())
        with torch.autocast(R.device.type, enabled=False):
            terms = look_losses(look, before, scene, truth, objects.table, config)
        for name, value in terms.items():
            total[name] = total.get(name, 0) + value / config.train_looks
        R, t = look.R.detach(), look.t.detach()
    total["total"] = torch.stack(list(total.values())).sum()
    return total
