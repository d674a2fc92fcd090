"""Many small renderings put into few images: windows around things, composited by depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FARTHEST = torch.iinfo(torch.int64).max
GROUPS = 3  # of windows by size: small things do not pay for big ones


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
    extent = (high - low).clamp_min(1)
    order = extent.amax(1).argsort(stable=True)
    corner = low.clone()
    out = []
    bounds = torch.linspace(0, len(order), groups + 1).round().long().tolist()
    for first, last in zip(bounds[:-1], bounds[1:]):
        if last > first:
            width, height = ((extent[order[first:last]].amax(0) + 15) // 16 * 16).tolist()
            out.append((first, last, height, width))
    return Windows(order, out, corner)


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


class Compositor:
    """Collects groups of windows, then resolves which thing is seen at each pixel.

    The canvas has a margin as large as the largest window, and positions wrap around, so windows
    that leave the image need no clipping and no two pixels of a window fall on the same place.
    """

    def __init__(
        self,
        windows: Windows,
        image: Tensor,
        mask_row: Tensor,
        masks: int,
        batch: int,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        """Args:
        windows: of M things.
        image: (M,) int64, on the CPU, the image of each.
        mask_row: (M,) int64, on the CPU: row in `mask_whole`, or `masks` for none.
        masks: rows of `mask_whole`. batch, size: of the images.
        """
        self.size, self.batch, self.device = size, batch, device
        self.ch = size[0] + max(g[2] for g in windows.groups)
        self.cw = size[1] + max(g[3] for g in windows.groups)
        table = torch.stack((image, windows.corner[:, 1], windows.corner[:, 0], mask_row), 1)
        self.table = table.to(device, non_blocking=True)
        self.masks = masks
        self.nearest = torch.full((batch * self.ch * self.cw,), FARTHEST, device=device)
        self.mask = torch.zeros((masks + 1) * self.ch * self.cw, dtype=torch.bool, device=device)
        self.parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def add(self, things: Tensor, rgb: Tensor, depth_m: Tensor) -> None:
        """Args:
        things: (m,) int64, on the device.
        rgb: (m, 3, h, w). depth_m: (m, h, w), metres, 0 where uncovered.
        """
        m, h, w = depth_m.shape
        image, top, left, row = self.table[things].unbind(1)
        y = (top[:, None] + torch.arange(h, device=self.device)) % self.ch
        x = (left[:, None] + torch.arange(w, device=self.device)) % self.cw
        place = (y * self.cw)[:, :, None] + x[:, None, :]
        covered = depth_m > 0
        # positive floats order as their bits do: depth above, thing below, in one number
        key = depth_m.contiguous().view(torch.int32).long() << 32 | things[:, None, None]
        key = torch.where(covered, key, FARTHEST)
        area = self.ch * self.cw
        index = (place + (image * area)[:, None, None]).view(-1)
        self.nearest.scatter_reduce_(0, index, key.view(-1), "amin")
        self.mask.scatter_((0), (place + (row * area)[:, None, None]).view(-1), covered.view(-1))
        self.parts.append((things, rgb, covered, index.view(m, h, w)))

    def resolve(self) -> Composite:
        """The finished images."""
        b, (h, w), device = self.batch, self.size, self.device
        total = len(self.table)
        near = self.nearest.view(b, self.ch, self.cw)[:, :h, :w]
        seen = near != FARTHEST
        thing = torch.where(seen, near & 0xFFFFFFFF, -1)
        depth = torch.where(seen, near >> 32, 0).int().view(torch.float32)

        winner = self.nearest & 0xFFFFFFFF  # FARTHEST gives 2^32 - 1, no thing
        box_visible = torch.zeros(total, 4, device=device)
        box_whole = torch.zeros(total, 4, device=device)
        visible = torch.zeros(total, dtype=torch.int64, device=device)
        whole = torch.zeros(total, dtype=torch.int64, device=device)
        base = torch.zeros(total, dtype=torch.int64, device=device)
        stride = torch.zeros(total, 2, dtype=torch.int64, device=device)
        start = 0
        colours = []
        for things, rgb, covered, index in self.parts:
            m, _, wh, ww = rgb.shape
            top, left = self.table[things, 1], self.table[things, 2]
            y = top[:, None] + torch.arange(wh, device=device)
            x = left[:, None] + torch.arange(ww, device=device)
            inside = ((y >= 0) & (y < h))[:, :, None] & ((x >= 0) & (x < w))[:, None, :]
            whole[things] = covered.sum((1, 2))
            inside &= covered
            shown = inside & (winner[index] == things[:, None, None])
            visible[things] = shown.sum((1, 2))
            box_visible[things] = _boxes(shown, left, top)
            box_whole[things] = _boxes(inside, left, top)
            base[things] = start + torch.arange(m, device=device) * (wh * ww)
            stride[things] = torch.tensor([wh, ww], device=device)
            start += m * wh * ww
            colours.append(rgb.permute(1, 0, 2, 3).reshape(3, -1))

        flat = torch.cat(colours, 1)
        safe = thing.clamp_min(0)
        origin = self.table[:, 1] * stride[:, 1] + self.table[:, 2]
        row = torch.arange(h, device=device)[:, None]
        column = torch.arange(w, device=device)
        source = (base - origin)[safe] + row * stride[:, 1][safe] + column
        source = torch.where(seen, source, 0)
        image = flat[:, source.view(-1)].view(3, b, h, w).transpose(0, 1)
        masks = self.mask.view(self.masks + 1, self.ch, self.cw)[:-1, :h, :w].contiguous()
        return Composite(image, depth, thing, box_visible, box_whole, visible, whole, masks)


def _boxes(masks: Tensor, left: Tensor, top: Tensor) -> Tensor:
    """(m, h, w) bool, windows' corners (m,) -> (m, 4) float32 x0 y0 x1 y1; zeros if empty."""
    h, w = masks.shape[1:]
    rows, columns = masks.any(2), masks.any(1)

    def span(hit: Tensor, n: int) -> tuple[Tensor, Tensor]:
        place = torch.arange(n, device=hit.device)
        return torch.where(hit, place, n).amin(1), torch.where(hit, place, -1).amax(1) + 1

    y0, y1 = span(rows, h)
    x0, x1 = span(columns, w)
    boxes = torch.stack((x0 + left, y0 + top, x1 + left, y1 + top), 1).float()
    return torch.where(rows.any(1, keepdim=True), boxes, 0.0)
