"""Labelled synthetic images, made on the device that trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, pad

from self6d.errors import InputError
from self6d.geometry import Camera
from self6d.render import pack_models, render
from self6d.scene import ObjectModel
from self6d.synthesis import appearance, ground
from self6d.synthesis.backgrounds import Backgrounds, crop_grids
from self6d.synthesis.batch import SceneBatch
from self6d.synthesis.config import SynthesisConfig
from self6d.synthesis.layout import Layout, sample_layout
from self6d.synthesis.measures import CUBE, Setting, Shapes
from self6d.synthesis.random_camera import augment
from self6d.synthesis.shapes import distractor_shapes, simplified
from self6d.synthesis.windows import (
    GROUPS,
    Composite,
    Compositor,
    place_windows,
    window_intrinsics,
)
from self6d.training.rng import step_generator

PRIMITIVES = 32


class SceneMaker:
    """Makes batches of scenes; the batch is a function of (seed, step) alone.

    Poses, light and materials are a few hundred numbers drawn on the CPU; every pixel is made on
    the device. Each thing is rendered in a window of its own and the windows are composited by
    depth, so masks, boxes and visible fractions are exact, and things behind others cost nothing
    special.

    Args:
        models: the objects with a label; `object_index` counts in this order.
        camera: of the images made, at their size.
        config: see `SynthesisConfig`.
        device: where images are made.
        distractors: further models that appear without a label.
    """

    def __init__(
        self,
        models: Sequence[ObjectModel],
        camera: Camera,
        config: SynthesisConfig,
        device: torch.device | str = "cpu",
        *,
        distractors: Sequence[ObjectModel] = (),
    ) -> None:
        if not models:
            raise InputError("no object models", remedy="Give at least one CAD model.")
        self.device = torch.device(device)
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.camera, self.config = camera, config
        given = [simplified(m, config.faces_max) for m in (*models, *distractors)]
        everything = [*given, *distractor_shapes(PRIMITIVES)]
        diameters = np.array([model.diameter for model in models])
        self.setting = Setting(
            shapes=Shapes.of(everything),
            labelled=len(models),
            true_size=len(given),
            K=torch.from_numpy(camera.K).float(),
            size=camera.size,
            distances=config.distances(camera, diameters),
            config=config,
        )
        self.packed = pack_models(everything, device=self.device)
        self.backgrounds = Backgrounds(
            camera.size,
            config.background_pool,
            config.backgrounds,
            config.photo_share,
            self.device,
        )

    @torch.no_grad()
    def make(self, batch_size: int, seed: int, step: int, *, effects: bool = True) -> SceneBatch:
        """Make a batch.

        Args:
            batch_size: number of images.
            seed, step: together they decide everything.
            effects: with the camera's effects; without, images are clean renderings.

        Returns:
            a batch on the maker's device. Instances that are hidden or outside stay in it, with a
            visible fraction of 0 and a box of zeros.
        """
        g = step_generator(seed, step)
        layout = sample_layout(self.setting, batch_size, g)
        light = appearance.sample_light(layout, self.config, g)
        composite = self._render(layout, light, g)
        images = self._behind(composite, layout, light, g)
        if effects:
            images = augment(images, g, self.config.camera_effects)
        return self._labelled(images, composite, layout)

    def _render(self, layout: Layout, light: appearance.Light, g: torch.Generator) -> Composite:
        """Every thing in its window, then composited."""
        shapes = self.setting.shapes
        radius = shapes.radius[layout.shape] * layout.scale
        primitive = layout.shape >= self.setting.true_size
        paint = appearance.sample_paint(layout, radius, primitive, self.config, g)
        gloss = appearance.sample_gloss(len(layout.image), self.config, g)
        half = (shapes.half[layout.shape] * layout.scale[:, None])[:, None] * CUBE
        corners = layout.centre[:, None] + half @ layout.R.transpose(1, 2)
        K = layout.K[layout.image]
        windows = place_windows(corners, K, self.camera.size, GROUPS)
        K = window_intrinsics(K, windows.corner)

        count = int(layout.labelled.sum())
        row = torch.where(layout.labelled, layout.labelled.cumsum(0) - 1, count)
        compositor = Compositor(
            windows, layout.image, row, count, len(layout.K), self.camera.size, self.device
        )
        for first, last, height, width in windows.groups:
            things = windows.order[first:last]
            scale = layout.scale[things]
            # a thing of another size is the model itself at another distance
            rendering = render(
                self._up(layout.R[things]),
                self._up(layout.t[things] / scale[:, None]),
                self._up(K[things]),
                self.packed,
                (height, width),
                object_index=self._up(layout.shape[things]),
                shading=appearance.shading(
                    light[layout.image[things]].to(self.device), gloss[things].to(self.device)
                ),
                soft_mask=False,
            )
            depth = rendering.depth_m * self._up(scale)[:, None, None]
            rgb = appearance.apply_paint(
                rendering.rgb, depth, self._up(K[things]), paint[things].to(self.device)
            )
            compositor.add(self._up(things), rgb, depth)
        return compositor.resolve()

    def _behind(
        self, composite: Composite, layout: Layout, light: appearance.Light, g: torch.Generator
    ) -> Tensor:
        """Put wall and table behind the things; fills the table's depth in."""
        b, size = len(layout.K), self.camera.size
        pictures = self._up(self.backgrounds.choose(2 * b, g))
        walls = affine_grid(self._up(crop_grids(b, size, g)), [b, 3, *size], align_corners=False)
        table = ground.sample_table(layout, g)
        blockers = ground.blockers(layout, self.setting.shapes)
        behind = self.backgrounds.sample(pictures[:b], walls)
        region = composite.thing.clone()  # -2 on the table, -1 on the wall
        rows = layout.resting.nonzero()[:, 0]
        if len(rows):
            at = self._up(rows)
            table = table[rows].to(self.device)
            x, y, depth = ground.table_points(table, size)
            top = self.backgrounds.sample(pictures[b:][at], ground.texture_grid(table, x, y))
            top = top * ground.table_light(
                table,
                light[rows].to(self.device),
                blockers[rows].to(self.device),
                size,
                self.config.shadows,
            )
            on = depth > 0
            behind[at] = torch.where(on[:, None], top, behind[at])
            bare = on & (composite.thing[at] < 0)
            composite.depth_m[at] = torch.where(bare, depth, composite.depth_m[at])
            region[at] = torch.where(bare, -2, region[at])
        images = torch.where(composite.thing[:, None] >= 0, composite.rgb, behind)
        return _smooth_edges(images.clamp(0, 1), region)

    def _labelled(self, images: Tensor, composite: Composite, layout: Layout) -> SceneBatch:
        """Forget the distractors, number the instances."""
        number = torch.where(layout.labelled, layout.labelled.cumsum(0) - 1, -1)
        number = self._up(torch.cat((number, torch.tensor([-1]))))  # the last: nothing there
        keep = layout.labelled.nonzero()[:, 0]
        at = self._up(keep)
        return SceneBatch(
            images=images,
            K=self._up(layout.K),
            depth_m=composite.depth_m,
            instance_map=number[composite.thing].int(),
            image_index=self._up(layout.image[keep]),
            object_index=self._up(layout.shape[keep]),
            R=self._up(layout.R[keep]),
            t=self._up(layout.t[keep]),
            mask_amodal=composite.mask_whole,
            box_visible=composite.box_visible[at],
            box_amodal=composite.box_whole[at],
            visible_fraction=composite.visible[at] / composite.whole[at].clamp_min(1),
        )

    def _up(self, value: Tensor) -> Tensor:
        return value.to(self.device, non_blocking=True)


def _smooth_edges(images: Tensor, region: Tensor) -> Tensor:
    """Blur the pixels where regions (B, H, W) meet: a lens has no jagged edges."""
    edge = torch.zeros_like(region, dtype=torch.bool)
    across = region[:, :, 1:] != region[:, :, :-1]
    down = region[:, 1:] != region[:, :-1]
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    wide = pad(images, (1, 1, 1, 1), mode="replicate")
    soft = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    soft = (soft[..., :-2] + soft[..., 1:-1] + soft[..., 2:]) / 9
    return torch.where(edge[:, None], soft, images)
