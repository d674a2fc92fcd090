"""What an object's poses are held against, region by region; for a GPU recorded as graphs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from self6d.cuda_graph import Recorded
from self6d.refinement.regions import ModelBoxes, RegionCrops, project_boxes, square_boxes
from self6d.rendering import PackedModels, render
from self6d.scene.batch import FrameBatch
from self6d.tracking.align import align_to_depth
from self6d.tracking.evidence import colors_alike, measured


class ModelRegions:
    """Regions of single frames with depth about N poses of one model, and what is seen there.

    Args:
        packed: the model. diameter: metres. size: side of the regions, pixels. padding: their side
            against the longer side of the object's box. margin_m: within which depth agrees.
    """

    def __init__(
        self, packed: PackedModels, diameter: float, size: int, padding: float, margin_m: float
    ) -> None:
        self.packed, self.diameter = packed, diameter
        self.size, self.padding, self.margin_m = size, padding, margin_m
        self.boxes = ModelBoxes.of(packed)
        self._seen, self._pulled = Recorded(self._see), Recorded(self._pull)
        self._begun = Recorded(self._begin)
        self._drawn = Recorded(self._draw)
        self._measured, self._looked = Recorded(self._measure), Recorded(self._look)
        self._compared = Recorded(lambda *images: (colors_alike(*images),))

    def box(
        self, R: Tensor | np.ndarray, t: Tensor | np.ndarray, K: Tensor, grow_m: float = 0.0
    ) -> Tensor:
        """Image boxes around posed models, `grow_m` wider on all sides."""
        R, t = torch.as_tensor(R).to(K.device), torch.as_tensor(t).to(K.device)
        index = torch.zeros(len(R), dtype=torch.long, device=K.device)
        box = project_boxes(self.boxes, index, R, t, K.expand(len(R), 3, 3))
        z = (R @ self.boxes.centre[0] + t)[:, 2:].clamp_min(0.05)
        grow = grow_m * K[0, 0, 0] / z
        return torch.cat((box[:, :2] - grow, box[:, 2:] + grow), 1)

    def around(
        self, images: Tensor, depth_m: Tensor, K: Tensor, R: Tensor, t: Tensor, grow_m: float,
        size: int,
    ) -> RegionCrops:  # fmt: skip
        """One region around all of N poses, `grow_m` wider on all sides, of `size` pixels."""
        box = self.box(R, t, K, grow_m)
        whole = torch.cat((box[:, :2].amin(0), box[:, 2:].amax(0)))[None]
        index = torch.zeros(1, dtype=torch.long, device=K.device)
        return RegionCrops.cut(images, depth_m, K, square_boxes(whole, 1.0), index, size)

    def about(self, sensor: FrameBatch, R: Tensor, t: Tensor) -> RegionCrops:
        """What the sensor sees about each of N poses."""
        assert sensor.depth_m is not None
        cut = self._seen if len(R) == 1 else self._see
        return RegionCrops(*cut(sensor.images, sensor.depth_m, sensor.K, R, t))

    def aligned(self, region: RegionCrops, R: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Poses pulled onto the sensor's surface, see `align_to_depth`."""
        assert region.depth_m is not None
        R, t = self._pulled(region.depth_m, region.observed, region.K, R, t)
        return R, t

    def begun(
        self, sensor: FrameBatch, R: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, RegionCrops, tuple[Tensor, ...]]:
        """Poses nearer by depth, the regions about those, and what `PoseMasks.begin` is asked."""
        assert sensor.depth_m is not None
        if len(R) == 1:  # all in one graph
            R, t, *rest = self._begun(sensor.images, sensor.depth_m, sensor.K, R, t)
            return R, t, RegionCrops(*rest[:5]), tuple(rest[5:])
        R, t = self.aligned(self.about(sensor, R, t), R, t)
        region = self.about(sensor, R, t)
        return R, t, region, self.drawn(region, R, t)

    def drawn(self, region: RegionCrops, R: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        """What `PoseMasks.begin` is asked, of N poses."""
        assert region.depth_m is not None
        return self._drawn(region.rgb, region.depth_m, region.K, R, t)

    def measured(
        self, region: RegionCrops, mask: Tensor, R: Tensor, t: Tensor
    ) -> tuple[Tensor, ...]:
        """What `evidence.read` reads, of N poses."""
        assert region.depth_m is not None
        pixels = region.rgb, region.depth_m, region.observed, region.K
        return self._measured(*pixels, mask, R, t)

    def looked(self, sensor: FrameBatch, R: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        """Region and rendering (1, 3, h, w), and where their depth agrees (1, h, w), of a pose."""
        assert sensor.depth_m is not None
        return self._looked(sensor.images, sensor.depth_m, sensor.K, R, t)

    def alike(self, rgb: Tensor, drawn: Tensor, where: Tensor) -> Tensor:
        """How alike colours are, (1,), of what `looked` gives."""
        (alike,) = self._compared(rgb, drawn, where)
        return alike

    def _see(
        self, images: Tensor, depth_m: Tensor, K: Tensor, R: Tensor, t: Tensor
    ) -> tuple[Tensor, ...]:
        box = square_boxes(self.box(R, t, K), self.padding)
        index = torch.zeros(len(R), dtype=torch.long, device=R.device)
        found = RegionCrops.cut(images, depth_m, K, box, index, self.size)
        assert found.depth_m is not None
        return found.rgb, found.depth_m, found.observed, found.K, found.box

    def _pull(
        self, depth_m: Tensor, observed: Tensor, K: Tensor, R: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor]:
        centre = self.boxes.centre[0]
        return align_to_depth(depth_m, observed, K, self.packed, R, t, centre, self.diameter)

    def _begin(
        self, images: Tensor, depth_m: Tensor, K: Tensor, R: Tensor, t: Tensor
    ) -> tuple[Tensor, ...]:
        _, depth, observed, camera, _ = self._see(images, depth_m, K, R, t)
        R, t = self._pull(depth, observed, camera, R, t)
        region = self._see(images, depth_m, K, R, t)
        return R, t, *region, *self._draw(region[0], region[1], region[3], R, t)

    def _draw(
        self, rgb: Tensor, depth_m: Tensor, K: Tensor, R: Tensor, t: Tensor
    ) -> tuple[Tensor, ...]:
        size = (rgb.shape[-2], rgb.shape[-1])
        drawn = render(R, t, K, self.packed, size, soft_mask=False).depth_m
        return (rgb.permute(0, 2, 3, 1) * 255).round().to(torch.uint8), depth_m, K, drawn

    def _measure(
        self, rgb: Tensor, depth_m: Tensor, observed: Tensor, K: Tensor, mask: Tensor,
        R: Tensor, t: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        size = (rgb.shape[-2], rgb.shape[-1])
        view = render(R, t, K, self.packed, size, soft_mask=False)
        diameter = self.boxes.diameter.expand(len(R))
        return measured(rgb, depth_m, mask, observed, view, diameter)

    def _look(
        self, images: Tensor, depth_m: Tensor, K: Tensor, R: Tensor, t: Tensor
    ) -> tuple[Tensor, ...]:
        rgb, depth, observed, camera, _ = self._see(images, depth_m, K, R, t)
        size = (rgb.shape[-2], rgb.shape[-1])
        view = render(R, t, camera, self.packed, size, soft_mask=False)
        agree = view.covered & (depth > 0) & observed
        agree &= (depth - view.depth_m).abs() < self.margin_m
        return rgb, view.rgb, agree
