"""The table under resting things: its texture, light and soft shadows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from self6d.synthesis.appearance import Light
from self6d.synthesis.layout import SceneLayout
from self6d.synthesis.measures import Shapes
from self6d.synthesis.record import TensorRecord

SHADOW_STEP = 4  # shadows are soft: computed once for so many pixels each way


@dataclass
class Table(TensorRecord):
    """A rectangular table in each of B images, parameters on the CPU.

    Attributes:
        K: (B, 3, 3). R: (B, 3, 3), t: (B, 3), metres: table frame (z up) to camera.
        half: (B, 2), metres, half its extents. shown: (B,) bool.
        texture: (B, 2, 3) affine map of metres on the table to texture coordinates in [-1, 1].
    """

    K: Tensor
    R: Tensor
    t: Tensor
    half: Tensor
    shown: Tensor
    texture: Tensor


def sample_table(layout: SceneLayout, generator: torch.Generator) -> Table:
    """Tables that carry all their things, of random size and texture scale."""
    g, b = generator, len(layout.K)
    offset = layout.centre - layout.table_t[layout.image]
    on_table = (offset[:, None] @ layout.table_R[layout.image])[:, 0, :2]
    reach = torch.zeros(b, 2).scatter_reduce_(
        0, layout.image[:, None].expand(-1, 2), on_table.abs(), "amax"
    )
    distance = layout.table_t[:, 2:]
    half = 1.15 * reach + distance * (0.05 + 1.5 * torch.rand(b, 2, generator=g) ** 2)
    size = distance[:, 0] * (0.4 + 1.2 * torch.rand(b, generator=g))
    angle = 6.2832 * torch.rand(b, generator=g)
    c, s = angle.cos() / size, angle.sin() / size
    shift = 2 * torch.rand(b, 2, generator=g) - 1
    texture = torch.stack((c, -s, shift[:, 0], s, c, shift[:, 1]), -1).view(b, 2, 3)
    return Table(layout.K, layout.table_R, layout.table_t, half, layout.resting, texture)


def table_points(table: Table, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Where the rays of all pixels meet the table's plane.

    Args:
        table: its tensors on the device that computes.
        size: (height, width), pixels of K.

    Returns:
        x, y: (B, H, W), metres on the table; depth_m: (B, H, W), metres, 0 beside the table.
    """
    h, w = size
    device = table.K.device
    v = (torch.arange(h, device=device) + 0.5)[:, None]
    u = torch.arange(w, device=device) + 0.5
    inverse = torch.linalg.inv_ex(table.K)[0]  # inv would wait for the GPU
    A = table.R.transpose(1, 2) @ inverse
    origin = (table.R.transpose(1, 2) @ table.t[..., None])[..., 0]

    def ray(i: int) -> Tensor:
        a = A[:, i, :, None, None]
        return a[:, 0] * u + (a[:, 1] * v + a[:, 2])

    down = ray(2)
    z = origin[:, 2, None, None] / torch.where(down.abs() < 1e-9, -1e-9, down)
    x = z * ray(0) - origin[:, 0, None, None]
    y = z * ray(1) - origin[:, 1, None, None]
    on = (x.abs() < table.half[:, 0, None, None]) & (y.abs() < table.half[:, 1, None, None])
    on &= (z > 0) & table.shown[:, None, None]
    return x, y, torch.where(on, z, 0.0)


def texture_grid(table: Table, x: Tensor, y: Tensor) -> Tensor:
    """(B, H, W, 2) texture coordinates of points on the table."""
    m = table.texture[..., None, None]
    u = m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2]
    v = m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2]
    return torch.stack((u, v), -1).clamp(-20, 20)


@dataclass
class Blockers(TensorRecord):
    """Things as ellipsoids in the table's frame, padded to T an image, on the CPU.

    Attributes:
        A: (B, T, 3, 3) 1/m, maps the ellipsoid to the unit sphere. c: (B, T, 3), its centre there.
    """

    A: Tensor
    c: Tensor


def blockers(layout: SceneLayout, shapes: Shapes) -> Blockers:
    """Ellipsoids that fill the things' boxes."""
    b, slot = len(layout.K), layout.slot
    half = (shapes.half[layout.shape] * layout.scale[:, None]).clamp_min(1e-3)
    to_thing = layout.R.transpose(1, 2) @ layout.table_R[layout.image] / half[..., None]
    offset = (layout.centre - layout.table_t[layout.image])[..., None]
    centre = layout.table_R[layout.image].transpose(1, 2) @ offset
    A = torch.zeros(b, int(slot.max()) + 1, 3, 3)
    c = torch.full((b, A.shape[1], 3), 1e3)  # unused places: far away
    A[layout.image, slot] = to_thing
    c[layout.image, slot] = (to_thing @ centre)[..., 0]
    return Blockers(A, c)


def table_light(
    table: Table, light: Light, things: Blockers, size: tuple[int, int], shadows: bool
) -> Tensor:
    """Light on the table, with soft shadows of ellipsoids and darkness close to them.

    Args:
        table, light, things: their tensors on the device that computes.
        size: (height, width), pixels.

    Returns:
        (B, 3, H, W) factors of the table's colours.
    """
    towards = (light.directions @ table.R).clamp(-1, 1)  # table frame
    diffuse = light.colors * towards[..., 2:].clamp_min(0)
    if not shadows:
        level = light.ambient + diffuse.sum(1)
        return level[:, :, None, None].expand(-1, -1, *size)
    small = (-(-size[0] // SHADOW_STEP), -(-size[1] // SHADOW_STEP))
    K = table.K.clone()
    K[:, 0] *= small[1] / size[1]
    K[:, 1] *= small[0] / size[0]
    x, y, _ = table_points(replace(table, K=K), small)
    b = len(x)
    x, y = x.view(b, 1, -1), y.view(b, 1, -1)

    def component(i: int) -> Tensor:
        """(B, T, P): from the ellipsoid's centre to the point, in units of its radius."""
        a = things.A[:, :, i, :, None]
        return a[:, :, 0] * x + a[:, :, 1] * y - things.c[:, :, i, None]

    dx, dy, dz = component(0), component(1), component(2)
    ray = (things.A @ towards[:, None, 0, :, None])[..., 0]
    length2 = (ray * ray).sum(-1, keepdim=True).clamp_min(1e-12)
    r2 = dx * dx + dy * dy + dz * dz
    along = dx * ray[..., 0, None] + dy * ray[..., 1, None] + dz * ray[..., 2, None]
    miss = (r2 - along * along / length2).clamp_min(0).sqrt()
    lit = ((miss - 0.75) / 0.5).clamp(0, 1)
    lit = torch.where(along < 0, lit, 1.0).amin(1)
    near = (1 - 0.55 * (1.9 - r2.sqrt()).clamp(0, 1) ** 2).prod(1)

    key = lit[:, None] * diffuse[:, 0, :, None]
    level = (key + (diffuse[:, 1:].sum(1) + light.ambient)[..., None]) * near[:, None]
    return interpolate(level.view(b, 3, *small), size, mode="bilinear")
