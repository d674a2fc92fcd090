"""Light on a scene and paint on its things: parameters drawn on the CPU, applied on the device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from self6d.layers.usable import usable
from self6d.rendering import Shading
from self6d.synthesis.config import SynthesisConfig
from self6d.synthesis.layout import SceneLayout
from self6d.synthesis.record import TensorRecord

LIGHTS = 3  # key, fill, and bounce from below


@dataclass
class Light(TensorRecord):
    """Light of B images, on the CPU; the first of the lights casts the shadows.

    Attributes:
        ambient: (B, 3). directions: (B, L, 3) unit, towards the light, camera frame.
        colors: (B, L, 3).
    """

    ambient: Tensor
    directions: Tensor
    colors: Tensor


def sample_light(layout: SceneLayout, config: SynthesisConfig, generator: torch.Generator) -> Light:
    """A key light from above, a fill light from anywhere, a weak one from below, and ambience."""
    g, v = generator, config.light_variety
    b = len(layout.K)
    up = layout.table_R[:, None, :, 2]
    to_camera = torch.tensor([0.0, 0.0, -1.0])
    base = torch.cat((up + 0.4 * to_camera, up * 0.3 + to_camera, -up), 1)
    spread = torch.tensor([0.7, 1.0, 0.4])[:, None] * min(v, 1.0)
    directions = normalize(base + spread * torch.randn(b, LIGHTS, 3, generator=g), dim=-1)

    strength = torch.rand(b, LIGHTS, 1, generator=g) * torch.tensor([1.0, 0.6, 0.25])[:, None]
    ambient = 0.25 + 0.6 * torch.rand(b, 1, generator=g)
    tint = _light_colour(b, LIGHTS + 1, 0.12 * v, g)
    level = (0.75 + 0.5 * v * (torch.rand(b, 1, generator=g) - 0.35)) / (
        ambient + 0.55 * strength.sum(1)
    )
    return Light(
        ambient=ambient * level * tint[:, 0],
        directions=directions,
        colors=strength * level[:, None] * tint[:, 1:],
    )


def _light_colour(b: int, n: int, spread: float, g: torch.Generator) -> Tensor:
    """(b, n, 3) about white, from warm to cold with a little green or magenta."""
    warmth = spread * torch.randn(b, n, generator=g)
    green = 0.3 * spread * torch.randn(b, n, generator=g)
    return torch.stack((warmth, green, -warmth), -1).clamp(-0.7, 0.7).exp()


@dataclass
class Gloss(TensorRecord):
    """Highlights of M things, on the CPU.

    Attributes:
        specular: (M,) strength, 0 for a matt surface. shininess: (M,) exponent.
    """

    specular: Tensor
    shininess: Tensor


def sample_gloss(things: int, config: SynthesisConfig, generator: torch.Generator) -> Gloss:
    """Half of the things are matt."""
    g = generator
    shiny = torch.rand(things, generator=g) < 0.5 * min(config.light_variety, 1.0)
    return Gloss(
        specular=torch.where(shiny, 0.6 * torch.rand(things, generator=g) ** 2, 0.0),
        shininess=4.0 * 30.0 ** torch.rand(things, generator=g),
    )


def shading(light: Light, gloss: Gloss) -> Shading:
    """The renderer's light, of as many things as both have rows."""
    return Shading(light.ambient, light.directions, light.colors, gloss.specular, gloss.shininess)


@dataclass
class Paint(TensorRecord):
    """Per-thing changes of colour, on the CPU.

    Attributes:
        matrix: (M, 3, 3) on RGB. tone: (M,), c of the curve x + c x (1 - x).
        waves: (M, 4, 3) 1/m, wave vectors in the camera frame. phase: (M, 4), at the origin of it.
        hardness: (M,) 1: soft waves, 10: sharp patches.
        stain: (M, 2, 3) how much each pattern changes R, G and B.
    """

    matrix: Tensor
    tone: Tensor
    waves: Tensor
    phase: Tensor
    hardness: Tensor
    stain: Tensor


def sample_paint(
    layout: SceneLayout,
    radius: Tensor,
    primitive: Tensor,
    config: SynthesisConfig,
    generator: torch.Generator,
) -> Paint:
    """Objects keep their colours up to `material_jitter`; primitives get any colour and pattern.

    Args:
        radius: (M,) metres, size of the things. primitive: (M,) bool.
    """
    g, j, m = generator, config.material_jitter, len(layout.image)

    def about(n: int, spread: float) -> Tensor:
        return (spread * j * torch.randn(m, n, generator=g)).clamp(-3 * spread, 3 * spread)

    hue = about(1, 0.08)[:, 0]
    saturation = about(1, 0.25).exp()[:, 0]
    tint = about(3, 0.12).exp() * about(1, 0.15).exp()
    any_colour = _bright_or_dull(m, g)
    tint = torch.where(primitive[:, None], any_colour / 0.75, tint)
    matrix = tint[:, :, None] * _hue_and_saturation(hue, saturation)

    period = radius * 0.15 * 12 ** torch.rand(m, generator=g)
    waves = normalize(torch.randn(m, 4, 3, generator=g), dim=-1)
    waves = waves * (2 * math.pi / period)[:, None, None]
    waves = waves * (0.6 + 0.8 * torch.rand(m, 4, 1, generator=g))
    # waves are fixed to the thing: w (R^T (x - t)) = (R w) x - (R w) t
    waves = (layout.R @ waves.transpose(1, 2)).transpose(1, 2)
    phase = 2 * math.pi * torch.rand(m, 4, generator=g)
    phase = phase - (waves * layout.centre[:, None]).sum(-1)

    dirt = torch.randn(m, 2, 3, generator=g) * 0.3 + torch.randn(m, 2, 1, generator=g)
    dirty = torch.rand(m, 1, 1, generator=g) < 0.5
    stain = torch.where(dirty, 0.06 * j * dirt, 0.0)
    pattern = torch.randn(m, 2, 3, generator=g) * 0.5
    plain = torch.rand(m, 1, 1, generator=g) < 0.3
    stain = torch.where(primitive[:, None, None], torch.where(plain, 0.0, pattern), stain)
    return Paint(
        matrix=matrix,
        tone=about(1, 0.2).clamp(-0.8, 0.8)[:, 0],
        waves=waves,
        phase=phase,
        hardness=torch.where(primitive, 10 ** torch.rand(m, generator=g), 1.0),
        stain=stain,
    )


def _bright_or_dull(m: int, g: torch.Generator) -> Tensor:
    """(m, 3) colours, as many dull as bright."""
    colour = torch.rand(m, 3, generator=g)
    grey = torch.rand(m, 1, generator=g)
    return torch.lerp(grey.expand(m, 3), colour, torch.rand(m, 1, generator=g))


def _hue_and_saturation(hue: Tensor, saturation: Tensor) -> Tensor:
    """(m,) radians, (m,) factor -> (m, 3, 3): turn about the grey axis, stretch away from it."""
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    c, s = (saturation * hue.cos())[:, None, None], (saturation * hue.sin())[:, None, None]
    return grey + c * (torch.eye(3) - grey) + s * cross


def apply_paint(rgb: Tensor, depth_m: Tensor, K: Tensor, paint: Paint) -> Tensor:
    """Repaint rendered things.

    Args:
        rgb: (m, 3, h, w) in [0, 1], may be written over. depth_m: (m, h, w), metres.
        K: (m, 3, 3), pixels of these pictures. paint: of these m things, on their device.

    Returns:
        (m, 3, h, w) in [0, 1].
    """
    kernels = usable("self6d.synthesis.gpu.paint_kernels", rgb, depth_m)
    if kernels is not None:
        return kernels.repaint(rgb, depth_m, K, paint)
    m, _, h, w = rgb.shape
    y = (torch.arange(h, device=rgb.device) + 0.5 - K[:, 1, 2, None]) / K[:, 1, 1, None]
    x = (torch.arange(w, device=rgb.device) + 0.5 - K[:, 0, 2, None]) / K[:, 0, 0, None]
    # w . point + phase, the point from its pixel and depth
    k = paint.waves[..., None]
    rows = k[:, :, 1] * y[:, None] + k[:, :, 2]
    angle = rows[..., None] + (k[:, :, 0] * x[:, None])[:, :, None]
    angle = angle.mul_(depth_m[:, None]).add_(paint.phase[..., None, None])
    # one wave of each pair bends the other
    pattern = angle[:, 0::2].add_(angle[:, 1::2].sin_(), alpha=1.5).sin_()
    pattern = pattern.mul_(paint.hardness[:, None, None, None]).tanh_()

    if torch.compiler.is_compiling():  # a product of matrices would stand alone
        rgb = (paint.matrix[..., None, None] * rgb[:, None]).sum(2)
    else:
        rgb = torch.bmm(paint.matrix, rgb.view(m, 3, h * w)).view(m, 3, h, w)
    for pair in range(2):
        rgb.mul_(1 + pattern[:, pair, None] * paint.stain[:, pair, :, None, None])
    rgb.clamp_(0, 1)
    return rgb.addcmul_(rgb * (1 - rgb), paint.tone[:, None, None, None])
