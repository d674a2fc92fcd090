"""Many small renderings put into few images: windows around things, composited by depth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from self6d.fusing import Fusing, unfused

FARTHEST = torch.iinfo(torch.int64).max
LOW = 0xFFFFFFFF
GROUPS = 4  # of windows by size: small things do not pay for big ones


@dataclass
class Windows:
    """Where each thing is rendered, in groups of equal size. All on the CPU.

    Attributes:
        order: things, by group.
        groups: per group (first, last + 1) in `order`, height and width, pixels.
        corner: (M, 2) int64, left and top of each thing's window, pixels; may leave the image.
    """

    order: Tensor
    groups: list[tuple[int, int, int, int]]
    corner: Tensor

    def table(self, image: Tensor, mask_row: Tensor) -> Tensor:
        """(M, 4) int64: image, top, left, and row in `Composite.mask_whole` of each thing.

        Args:
            image: (M,) int64. mask_row: (M,) int64, as many as there are rows for none.
        """
        return torch.stack((image, self.corner[:, 1], self.corner[:, 0], mask_row), 1)


def place_windows(corners: Tensor, K: Tensor, size: tuple[int, int], groups: int) -> Windows:
    """Windows that hold everything of each thing that can be in the image.

    Args:
        corners: (M, 8, 3), metres, camera frame, of boxes around the things.
        K: (M, 3, 3), pixels. size: (height, width) of the images.
        groups: how many sizes of windows.
    """
    h, w = size
    uvw = corners @ K.transpose(1, 2)
    uv = uvw[..., :2] / uvw[..., 2:].clamp_min(1e-3)
    limit = torch.tensor([w, h])
    low = (uv.amin(1).floor() - 1).clamp_min(-h / 2).minimum(limit.float()).long()
    high = (uv.amax(1).ceil() + 1).clamp_min(0).minimum(limit + h // 2).long()
    extent = ((high - low).clamp_min(1) + 15) // 16 * 16  # few sizes
    order = extent.amax(1).argsort(stable=True)
    corner = low.clone()
    out = []
    for first, last in pairwise(_partition(extent.amax(1)[order].numpy(), groups)):
        width, height = extent[order[first:last]].amax(0).tolist()
        out.append((first, last, height, width))
    return Windows(order, out, corner)


def _partition(side: np.ndarray, groups: int) -> list[int]:
    """Bounds of at most `groups` runs of ascending sides, of the least area all together.

    Every square of a run is as large as its last. Dynamic programming over the start of the last
    run, which begins where the side changes.
    """
    size, first = np.unique(side, return_index=True)
    end = np.append(first[1:], len(side))
    # (start, end) of a run -> its area
    area = (end - first[:, None]) * size.astype(np.float64) ** 2
    area[np.tril_indices(len(size), -1)] = np.inf
    cost, cuts = area[0], []
    for _ in range(min(groups, len(size)) - 1):
        total = np.vstack((area[0], cost[:-1, None] + area[1:]))
        cuts.append(total.argmin(0))
        cost = total.min(0)
    last, bounds = len(size) - 1, [len(side)]
    for cut in [*reversed(cuts), np.zeros(len(size), int)]:
        start = int(cut[last])
        bounds.insert(0, int(first[start]))
        if start == 0:
            break
        last = start - 1
    return bounds


def window_intrinsics(K: Tensor, corner: Tensor) -> Tensor:
    """(M, 3, 3), pixels of the window: the image's camera, cropped."""
    K = K.clone()
    K[:, :2, 2] -= corner
    return K


@dataclass
class Composite:
    """B images of M things, on the device.

    Attributes:
        rgb: (B, 3, H, W). depth_m: (B, H, W), 0 where nothing is. thing: (B, H, W) int64, -1 there.
        box_visible, box_whole: (M, 4) float32, pixels inside the image; zeros where empty.
        visible, whole: (M,) int64 pixels; `whole` counts the silhouette outside the image too.
        mask_whole: (N, H, W) bool, silhouettes of the first N things asked for.
    """

    rgb: Tensor
    depth_m: Tensor
    thing: Tensor
    box_visible: Tensor
    box_whole: Tensor
    visible: Tensor
    whole: Tensor
    mask_whole: Tensor


class _Part(NamedTuple):
    """A group of m windows (h, w), on the device.

    Attributes:
        things, left, top: (m,) int64. rgb: (m, 3, h, w).
        covered, inside: (m, h, w) bool, the silhouette, and what of it lies in the image.
        at: (m h w,) int64, places on the canvas.
    """

    things: Tensor
    left: Tensor
    top: Tensor
    rgb: Tensor
    covered: Tensor
    inside: Tensor
    at: Tensor


class Compositor:
    """Collects groups of windows, then resolves which thing is seen at each pixel.

    The canvas has a margin as large as the largest window, and positions wrap around, so windows
    that leave the image need no clipping and no two pixels of a window fall on the same place.
    """

    def __init__(
        self, windows: Windows, table: Tensor, masks: int, batch: int, size: tuple[int, int],
        work: Fusing = unfused,
    ) -> None:  # fmt: skip
        """Args:
        windows: of M things.
        table: `windows.table(...)`, on the device.
        masks: rows of `mask_whole`. batch, size: of the images.
        work: what makes few kernels of work on pixels, see `self6d.fusing`.
        """
        self._work = work
        self.size, self.batch, self.device = size, batch, table.device
        self.ch = size[0] + max(g[2] for g in windows.groups)
        self.cw = size[1] + max(g[3] for g in windows.groups)
        self.table, self.masks = table, masks
        self.nearest = torch.full(
            (batch * self.ch * self.cw,), FARTHEST, dtype=torch.int64, device=self.device
        )
        self.mask = torch.zeros(
            (masks + 1) * self.ch * self.cw, dtype=torch.bool, device=self.device
        )
        self.parts: list[_Part] = []
        self.pixels = 0

    def add(self, things: Tensor, rgb: Tensor, depth_m: Tensor) -> None:
        """Args:
        things: (m,) int64, on the device.
        rgb: (m, 3, h, w). depth_m: (m, h, w), metres, 0 where uncovered.
        """
        table, depth_m = self.table[things], depth_m.contiguous()
        covered, inside, key, at, mask_at = self._work(_places)(
            table, depth_m, self.pixels, *self.size, self.ch, self.cw
        )
        self.pixels += depth_m.numel()
        self.nearest.scatter_reduce_(0, at, key, "amin")
        self.mask.scatter_(0, mask_at, covered.view(-1))
        _, top, left, _ = table.unbind(1)
        self.parts.append(_Part(things, left, top, rgb, covered, inside, at))

    def resolve(self) -> Composite:
        """The finished images."""
        b, (h, w), device = self.batch, self.size, self.device
        near = self.nearest.view(b, self.ch, self.cw)[:, :h, :w]
        seen = near != FARTHEST
        depth = torch.where(seen, near >> 32, 0).int().view(torch.float32)
        source = torch.where(seen, near & LOW, 0).view(-1)

        total = len(self.table)
        boxes = torch.zeros(2, total, 4, device=device)
        areas = torch.zeros(2, total, dtype=torch.int64, device=device)
        colours, owners, start = [], [], 0
        for part in self.parts:
            things, covered = part.things, part.covered
            shown, area = self._work(_shown)(self.nearest, part.at, covered, part.inside, start)
            start += covered.numel()
            areas[:, things] = area
            boxes[:, things] = mask_boxes(torch.stack((shown, part.inside)), part.left, part.top)
            colours.append(part.rgb.permute(1, 0, 2, 3).reshape(3, -1))
            owners.append(things[:, None, None].expand_as(covered).reshape(-1))

        owner = torch.cat(owners).index_select(0, source).view(b, h, w)
        image = torch.cat(colours, 1).index_select(1, source).view(3, b, h, w)
        masks = self.mask.view(self.masks + 1, self.ch, self.cw)[:-1, :h, :w].contiguous()
        return Composite(
            rgb=image.transpose(0, 1),
            depth_m=depth,
            thing=torch.where(seen, owner, -1),
            box_visible=boxes[0],
            box_whole=boxes[1],
            visible=areas[0],
            whole=areas[1],
            mask_whole=masks,
        )


def _places(
    table: Tensor, depth_m: Tensor, first: int, height: int, width: int, ch: int, cw: int
) -> tuple[Tensor, ...]:
    """Where the pixels of m windows lie on the canvas of (ch, cw) pixels an image.

    Args:
        table: (m, 4) int64, see `Windows.table`. depth_m: (m, h, w), metres, 0 where uncovered.
        first: number of the first pixel. height, width: of the images.

    Returns:
        covered, inside (m, h, w) bool, see `_Part`; key, at, and at in the masks (m h w,) int64.
    """
    m, h, w = depth_m.shape
    image, top, left, row = table.unbind(1)
    y = top[:, None] + torch.arange(h, device=table.device)
    x = left[:, None] + torch.arange(w, device=table.device)
    covered = depth_m > 0
    in_y, in_x = (y >= 0) & (y < height), (x >= 0) & (x < width)
    inside = covered & in_y[:, :, None] & in_x[:, None, :]
    place = ((y % ch * cw)[:, :, None] + (x % cw)[:, None, :]).view(m, -1)
    # positive floats order as their bits do: depth above, the window's pixel below
    number = first + torch.arange(m * h * w, device=table.device)
    key = depth_m.view(torch.int32).long().view(-1) << 32 | number
    key = torch.where(covered.view(-1), key, FARTHEST)
    area = ch * cw
    at = (place + (image * area)[:, None]).view(-1)
    return covered, inside, key, at, (place + (row * area)[:, None]).view(-1)


def _shown(
    nearest: Tensor, at: Tensor, covered: Tensor, inside: Tensor, first: int
) -> tuple[Tensor, Tensor]:
    """(m, h, w) bool, what of m windows is seen; pixels (2, m) int64 seen and covered."""
    number = first + torch.arange(covered.numel(), device=at.device)
    won = (nearest.index_select(0, at) & LOW) == number
    shown = inside & won.view_as(covered)
    return shown, torch.stack((shown.sum((1, 2)), covered.sum((1, 2))))


def mask_boxes(masks: Tensor, left: Tensor, top: Tensor) -> Tensor:
    """(..., m, h, w) bool, windows' corners (m,) -> (..., m, 4) float32 x0 y0 x1 y1, or zeros."""
    rows, columns = masks.any(-1), masks.any(-2)

    def span(hit: Tensor) -> tuple[Tensor, Tensor]:
        """First place that is hit, and one past the last."""
        n = hit.shape[-1]
        place = torch.arange(n, device=hit.device)
        ends = torch.stack((-place, place + 1), -1)
        first, last = torch.where(hit[..., None], ends, -n).amax(-2).unbind(-1)
        return -first, last

    (y0, y1), (x0, x1) = span(rows), span(columns)
    boxes = torch.stack((x0 + left, y0 + top, x1 + left, y1 + top), -1).float()
    return torch.where(rows.any(-1, keepdim=True), boxes, 0.0)
