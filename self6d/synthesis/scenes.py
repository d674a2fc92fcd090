"""Labelled synthetic images, made on the device that trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, pad

from self6d.errors import InputError
from self6d.events import Told, told_to_nobody
from self6d.fusing import Fusing, unfused
from self6d.geometry import Camera, Pose
from self6d.rendering import pack_models, render
from self6d.rng import step_generator
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.synthesis import appearance, ground
from self6d.synthesis.backgrounds import Backgrounds, crop_grids
from self6d.synthesis.config import SynthesisConfig
from self6d.synthesis.layout import SceneLayout, sample_layout
from self6d.synthesis.measures import CUBE, SceneSetting, Shapes, Views
from self6d.synthesis.random_camera import augment
from self6d.synthesis.record import TensorRecord, upload
from self6d.synthesis.shapes import distractor_shapes, simplified
from self6d.synthesis.windows import (
    GROUPS,
    Composite,
    Compositor,
    place_windows,
    window_intrinsics,
)

PRIMITIVES = 32


@dataclass
class Placed(TensorRecord):
    """M things in their windows.

    Attributes:
        thing: (M,) int64. shape: (M,) int64. scale: (M,).
        R: (M, 3, 3). t: (M, 3), metres, over `scale`. K: (M, 3, 3), pixels of the window.
    """

    thing: Tensor
    shape: Tensor
    scale: Tensor
    R: Tensor
    t: Tensor
    K: Tensor


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
        views: poses of each of the objects; a share of the floating instances (`views_share`) is
            seen from near these. None: from anywhere.
        work: `self6d.fusing.fused` lets torch.compile make few kernels of the work on pixels.
        tell: hears how far it is before it can make anything.
    """

    def __init__(
        self,
        models: Sequence[ObjectModel],
        camera: Camera,
        config: SynthesisConfig,
        device: torch.device | str = "cpu",
        *,
        distractors: Sequence[ObjectModel] = (),
        views: Sequence[Sequence[Pose]] | None = None,
        work: Fusing = unfused,
        tell: Told = told_to_nobody,
    ) -> None:
        if not models:
            raise InputError("no object models", remedy="Give at least one CAD model.")
        self.device = torch.device(device)
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.camera, self.config, self._work = camera, config, work
        given = [simplified(m, config.faces_max) for m in (*models, *distractors)]
        everything = [*given, *distractor_shapes(PRIMITIVES)]
        diameters = np.array([model.diameter for model in models])
        shapes = Shapes.of(everything)
        self.setting = SceneSetting(
            shapes=shapes,
            labelled=len(models),
            true_size=len(given),
            K=torch.from_numpy(camera.K).float(),
            size=camera.size,
            distances=config.distances(camera, diameters),
            config=config,
            views=None if views is None else Views.of(views, shapes.centre),
        )
        self.packed = pack_models(everything, device=self.device)
        self.backgrounds = Backgrounds(
            camera.size,
            config.background_pool,
            config.backgrounds,
            config.photo_share,
            self.device,
            tell=tell,
        )

    @torch.no_grad()
    def make(self, batch_size: int, seed: int, step: int, *, effects: bool = True) -> LabelledBatch:
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
            images = augment(images, g, self.config.camera_effects, self._work)
        return self._labelled(images, composite, layout)

    def _render(
        self, layout: SceneLayout, light: appearance.Light, g: torch.Generator
    ) -> Composite:
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
        count = int(layout.labelled.sum())
        row = torch.where(layout.labelled, layout.labelled.cumsum(0) - 1, count)
        placed = Placed(
            thing=torch.arange(len(layout.image)),
            shape=layout.shape,
            scale=layout.scale,
            R=layout.R,
            # a thing of another size is the model itself at another distance
            t=layout.t / layout.scale[:, None],
            K=window_intrinsics(K, windows.corner),
        )
        order = windows.order
        placed, paint, lit, gloss, table = upload(
            self.device,
            placed[order],
            paint[order],
            light[layout.image[order]],
            gloss[order],
            windows.table(layout.image, row),
        )
        compositor = Compositor(windows, table, count, len(layout.K), self.camera.size, self._work)
        for first, last, height, width in windows.groups:
            rows = slice(first, last)
            things = placed[rows]
            rendering = render(
                things.R,
                things.t,
                things.K,
                self.packed,
                (height, width),
                object_index=things.shape,
                shading=appearance.shading(lit[rows], gloss[rows]),
                soft_mask=False,
            )
            depth = rendering.depth_m * things.scale[:, None, None]
            rgb = self._work(appearance.apply_paint)(rendering.rgb, depth, things.K, paint[rows])
            compositor.add(things.thing, rgb, depth)
        return compositor.resolve()

    def _behind(
        self, composite: Composite, layout: SceneLayout, light: appearance.Light, g: torch.Generator
    ) -> Tensor:
        """Put wall and table behind the things; fills the table's depth in."""
        b, size = len(layout.K), self.camera.size
        rows = layout.resting.nonzero()[:, 0]
        wall, top, crops, at, table, lit, blockers = upload(
            self.device,
            self.backgrounds.choose(b, g),
            self.backgrounds.choose(b, g)[rows],
            crop_grids(b, size, g),
            rows,
            ground.sample_table(layout, g)[rows],
            light[rows],
            ground.blockers(layout, self.setting.shapes)[rows],
        )
        grid = affine_grid(crops, [b, 3, *size], align_corners=False)
        behind = self.backgrounds.sample(wall, grid)
        region = composite.thing.clone()  # -2 on the table, -1 on the wall
        if len(rows):
            x, y, depth = ground.table_points(table, size)
            picture = self.backgrounds.sample(top, ground.texture_grid(table, x, y))
            picture *= ground.table_light(table, lit, blockers, size, self.config.shadows)
            on = depth > 0
            behind[at] = torch.where(on[:, None], picture, behind[at])
            bare = on & (composite.thing[at] < 0)
            composite.depth_m[at] = torch.where(bare, depth, composite.depth_m[at])
            region[at] = torch.where(bare, -2, region[at])
        return self._work(_put_before)(composite.rgb, composite.thing, behind, borders(region))

    def _labelled(self, images: Tensor, composite: Composite, layout: SceneLayout) -> LabelledBatch:
        """Forget the distractors, number the instances."""
        number = torch.where(layout.labelled, layout.labelled.cumsum(0) - 1, -1)
        keep = layout.labelled.nonzero()[:, 0]
        number, at, K, image, shape, R, t = upload(
            self.device,
            torch.cat((number, torch.tensor([-1]))),  # the last: nothing there
            keep,
            layout.K,
            layout.image[keep],
            layout.shape[keep],
            layout.R[keep],
            layout.t[keep],
        )
        return LabelledBatch(
            images=images,
            K=K,
            depth_m=composite.depth_m,
            instance_map=number[composite.thing].int(),
            image_index=image,
            object_index=shape,
            R=R,
            t=t,
            mask_amodal=composite.mask_whole,
            box_visible=composite.box_visible[at],
            box_amodal=composite.box_whole[at],
            visible_fraction=composite.visible[at] / composite.whole[at].clamp_min(1),
        )


def borders(region: Tensor) -> Tensor:
    """(B, H, W) bool, the pixels where regions (B, H, W) meet."""
    edge = torch.zeros_like(region, dtype=torch.bool)
    across = region[:, :, 1:] != region[:, :, :-1]
    down = region[:, 1:] != region[:, :-1]
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    return edge


def _put_before(rgb: Tensor, thing: Tensor, behind: Tensor, edge: Tensor) -> Tensor:
    """Things (B, 3, H, W), where `thing` (B, H, W) is not negative, before what is behind them.

    Pixels at the edges (B, H, W) are blurred: a lens has no jagged ones.
    """
    images = torch.where(thing[:, None] >= 0, rgb, behind).clamp(0, 1)
    wide = pad(images, (1, 1, 1, 1), mode="replicate")
    soft = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    soft = (soft[..., :-2] + soft[..., 1:-1] + soft[..., 2:]) / 9
    return torch.where(edge[:, None], soft, images)
