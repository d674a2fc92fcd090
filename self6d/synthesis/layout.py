"""Where everything stands: poses of instances and distractors, support planes, cameras.

Only a few hundred numbers, drawn on the CPU from an explicit generator: the same seed gives the
same scenes on every device, and sizes are known without waiting for the GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from self6d.rng import mixed_seed
from self6d.synthesis.arrangement import (
    floating,
    from_near_views,
    resting_on_table,
    uniform,
)
from self6d.synthesis.measures import SceneSetting, Things

DISTRACTOR_SIZE = (0.3, 1.3)  # diameters of primitives over the median object's

BINS_STREAM = 9  # random numbers of which images show one object alone


@dataclass
class SceneLayout:
    """M things in B images, on the CPU; rows of one image are neighbours, instances come first.

    Attributes:
        image: (M,) int64. shape: (M,) int64, index into the shapes.
        labelled: (M,) bool, an instance rather than a distractor.
        scale: (M,) size over the model's own.
        R: (M, 3, 3). t: (M, 3), metres, model (times scale) to camera.
        centre: (M, 3), metres, camera frame, middle of the box.
        K: (B, 3, 3), pixels.
        table_R: (B, 3, 3), table_t: (B, 3), metres: frame of a table, z up, to camera.
        resting: (B,) bool, whether the table is there; if not, its z still says what is up.
    """

    image: Tensor
    shape: Tensor
    labelled: Tensor
    scale: Tensor
    R: Tensor
    t: Tensor
    centre: Tensor
    K: Tensor
    table_R: Tensor
    table_t: Tensor
    resting: Tensor

    @property
    def slot(self) -> Tensor:
        """(M,) int64: position of a thing among those of its image."""
        count = torch.bincount(self.image, minlength=len(self.K))
        return torch.arange(len(self.image)) - (count.cumsum(0) - count)[self.image]


def sample_layout(setting: SceneSetting, batch: int, generator: torch.Generator) -> SceneLayout:
    """Draw a batch of scenes."""
    shapes, g = setting.shapes, generator
    things = _choose_things(setting, batch, g)
    floating_R, floating_c = floating(setting, things, g)
    floating_R = from_near_views(setting, things, floating_R, floating_c, g)
    rest_R, rest_c, table_R, table_t = resting_on_table(setting, things, g)
    resting = torch.rand(batch, generator=g) < setting.config.resting
    pick = resting[:, None]
    R = torch.where(pick[..., None, None], rest_R, floating_R)
    centre = torch.where(pick[..., None], rest_c, floating_c)
    offset = shapes.centre[things.shape] * things.scale[..., None]
    t = centre - (R @ offset[..., None])[..., 0]

    n, used = len(things.instance), things.used
    image = torch.arange(batch)[:, None].expand(batch, n)
    return SceneLayout(
        image=image[used],
        shape=things.shape[used],
        labelled=things.instance.expand(batch, n)[used],
        scale=things.scale[used],
        R=R[used],
        t=t[used],
        centre=centre[used],
        K=things.K,
        table_R=table_R,
        table_t=table_t,
        resting=resting,
    )


def _choose_things(setting: SceneSetting, batch: int, g: torch.Generator) -> Things:
    """Which things are in each image, how large, and through which camera."""
    cfg, shapes = setting.config, setting.shapes
    instances, distractors = cfg.instances_max, cfg.distractors_max
    n_i = torch.randint(cfg.instances_min, instances + 1, (batch, 1), generator=g)
    n_d = torch.randint(cfg.distractors_min, distractors + 1, (batch, 1), generator=g)
    used = torch.cat((torch.arange(instances) < n_i, torch.arange(distractors) < n_d), dim=1)

    labelled, total = setting.labelled, len(shapes.radius)
    shuffled = torch.rand(batch, labelled, generator=g).argsort(dim=1)
    shuffled = shuffled.repeat(1, -(-instances // labelled))[:, :instances]
    anyone = torch.randint(labelled, (batch, instances), generator=g)
    again = torch.rand(batch, instances, generator=g) < cfg.repeat
    unlabelled = torch.randint(labelled, total, (batch, distractors), generator=g)
    kinds = torch.where(again, anyone, shuffled)
    # random numbers of its own: other images are the same with bins and without
    own = torch.Generator().manual_seed(mixed_seed(g.initial_seed(), BINS_STREAM))
    bins = torch.rand(batch, 1, generator=own) < cfg.bins
    shape = torch.cat((torch.where(bins, kinds[:, :1], kinds), unlabelled), dim=1)

    unit = float(shapes.diameter[:labelled].median())
    low, high = DISTRACTOR_SIZE
    size = unit * uniform(g, *shape.shape, low=low, high=high)
    scale = torch.where(shape < setting.true_size, 1.0, size)
    K = setting.K.expand(batch, 3, 3).clone()
    K[:, (0, 1), (0, 1)] *= 1 + cfg.focal_jitter * uniform(g, batch, 1, low=-1, high=1)
    return Things(
        shape=shape,
        scale=scale,
        radius=shapes.radius[shape] * scale,
        used=used,
        instance=torch.arange(instances + distractors) < instances,
        K=K,
    )
