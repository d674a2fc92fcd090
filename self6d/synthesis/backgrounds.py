"""Pictures behind the objects: painted by procedure, or photographs of the user's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from self6d.errors import InputError
from self6d.events import Told, told_to_nobody
from self6d.synthesis.effects import defocus

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def paint(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Procedural pictures: clouds of noise, gradients, stripes, checks, with polygons and blobs.

    Args:
        count: how many, painted together.
        size: (height, width), pixels.
        generator: on the device that paints.

    Returns:
        (count, 3, height, width) float32 in [0, 1].
    """
    g, device = generator, generator.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g, device=device)

    h, w = size
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, h, device=device) * h / w,
        torch.linspace(-1, 1, w, device=device),
        indexing="ij",
    )
    warp = fractal_noise(count, size, g)
    angle = rand(count, 1, 1) * 2 * math.pi
    along = angle.cos() * x + angle.sin() * y + (rand(count, 1, 1) < 0.4) * 0.3 * warp
    across = angle.cos() * y - angle.sin() * x
    frequency = 2 * math.pi * 1.5 ** (rand(count, 1, 1) * 8)
    duty = 4 ** (3 * rand(count, 1, 1))
    wave = (along * frequency).sin()
    patterns = torch.stack(
        (
            fractal_noise(count, size, g, roughness=0.75) * 0.5 + 0.5,
            along * 0.5 + 0.5,
            (wave * duty).sigmoid(),
            (wave * (across * frequency).sin() * duty * 4).sigmoid(),
        )
    )
    kind = torch.multinomial(
        torch.tensor([0.45, 0.2, 0.2, 0.15], device=device), count, True, generator=g
    )
    field = patterns[kind, torch.arange(count, device=device)].clamp(0, 1)[:, None]

    def colour() -> Tensor:
        """(count, 3, 1, 1), any brightness, mostly dull: real scenes are."""
        hue, grey = rand(count, 3, 1, 1), rand(count, 1, 1, 1)
        dull = rand(count, 1, 1, 1) ** 0.5
        return dull * grey + (1 - dull) * hue

    picture = torch.lerp(colour(), colour(), field)
    for _ in range(10):
        corners = 3 + int(4 * torch.rand((), generator=g, device=device).item())
        inside = _polygons(x, y, rand(count, 2, 1, 1) * 2 - 1, corners, rand)
        shown = inside & (rand(count, 1, 1) < 0.45)
        fill = torch.lerp(colour(), colour(), (field.roll(h // 3, -2) * rand(count, 1, 1, 1)))
        picture = torch.where(shown[:, None], fill, picture)
    blob = fractal_noise(count, size, g) > 0.35 + 0.6 * rand(count, 1, 1)
    picture = torch.where(blob[:, None], colour(), picture)
    grain = fractal_noise(count, size, g, roughness=1.0)[:, None]
    picture = (picture * (1 + 0.35 * rand(count, 1, 1, 1) * grain)).clamp(0, 1)
    return defocus(picture, torch.full((count,), 0.7, device=device), radius=2)  # no jagged edges


def fractal_noise(
    count: int, size: tuple[int, int], generator: torch.Generator, roughness: float = 0.55
) -> Tensor:
    """Octaves of smooth noise, (count, height, width) float32 in about [-1, 1].

    Args:
        roughness: amplitude of an octave over the one twice as coarse.
    """
    device = generator.device
    total = torch.zeros(count, 1, *size, device=device)
    amplitude, weight = 1.0, 0.0
    for octave in range(1, max(2, int(math.log2(max(size))) - 1)):
        cells = (2**octave + 1, 2**octave + 1)
        lattice = torch.randn(count, 1, *cells, generator=generator, device=device)
        total += amplitude * interpolate(lattice, size, mode="bilinear", align_corners=True)
        weight += amplitude**2
        amplitude *= roughness
    return (total[:, 0] / (1.6 * math.sqrt(weight))).clamp(-1, 1)


def _polygons(x: Tensor, y: Tensor, centre: Tensor, corners: int, rand) -> Tensor:  # type: ignore[no-untyped-def]
    """(count, h, w) bool: inside of random convex polygons, as intersections of half planes."""
    count = len(centre)
    turn = (torch.arange(corners, device=x.device) + 0.7 * rand(count, corners)) / corners
    angle = 2 * math.pi * turn[..., None, None]
    size = 0.08 + 0.5 * rand(count, 1, 1, 1) ** 2
    dx, dy = x - centre[:, 0], y - centre[:, 1]
    inside = torch.ones(count, *x.shape, dtype=torch.bool, device=x.device)
    reach = size * (0.5 + rand(count, corners, 1, 1))
    for k in range(corners):
        inside &= angle[:, k].cos() * dx + angle[:, k].sin() * dy < reach[:, k]
    return inside


def load_photos(folder: str | Path, size: tuple[int, int], limit: int = 2000) -> Tensor:
    """Read a folder of photographs once.

    Args:
        folder: searched with its subfolders; at most `limit` files, evenly spread.
        size: (height, width) that each is scaled to cover and cropped to (its middle).

    Returns:
        (P, 3, height, width) uint8, RGB.

    Raises:
        InputError: no folder, no photograph in it, or one that cannot be read.
    """
    import cv2

    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(
            "no such folder of background photographs",
            path=folder,
            remedy="Set synthesis.backgrounds to a folder, or leave it empty.",
        )
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    if not paths:
        raise InputError(
            "no photographs in this folder",
            path=folder,
            remedy=f"Put files ending in {', '.join(PHOTO_SUFFIXES)} there.",
        )
    paths = [paths[i] for i in np.linspace(0, len(paths) - 1, min(limit, len(paths))).astype(int)]
    h, w = size
    photos = np.empty((len(paths), h, w, 3), np.uint8)
    for photo, path in zip(photos, paths):
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(
                "photograph cannot be read", path=path, remedy="Replace it or take it away."
            )
        zoom = max(h / image.shape[0], w / image.shape[1])
        shape = (max(w, round(image.shape[1] * zoom)), max(h, round(image.shape[0] * zoom)))
        mode = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, shape, interpolation=mode)
        top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
        photo[:] = image[top : top + h, left : left + w, ::-1]
    return torch.from_numpy(photos).permute(0, 3, 1, 2).contiguous()


class Backgrounds:
    """A pool of pictures on the device, cropped, turned and recoloured anew for every image.

    Args:
        size: (height, width) of the images made, pixels.
        painted: how many procedural pictures the pool holds.
        photos: folder of photographs; empty for none.
        photo_share: how often one of them is taken.
        device: where pictures are kept.
        seed: of the painted pictures.
        tell: hears how many are painted, and of how many.
    """

    def __init__(
        self,
        size: tuple[int, int],
        painted: int,
        photos: str = "",
        photo_share: float = 0.7,
        device: torch.device | str = "cpu",
        seed: int = 0,
        tell: Told = told_to_nobody,
    ) -> None:
        g = torch.Generator(device=device).manual_seed(seed)
        # crops are magnified a little anyway: a pool at 3/4 of the size costs half
        self.size = (max(32, size[0] * 3 // 4), max(32, size[1] * 3 // 4))
        chunks = []
        for place, n in enumerate(_chunks(max(painted, 1), 32)):
            tell("painting backgrounds", place * 32, max(painted, 1))
            chunks.append((paint(n, self.size, g) * 255).round().to(torch.uint8))
        if photos:
            tell("reading photographs of backgrounds", 0, 1)
            chunks.append(load_photos(photos, self.size).to(device))
        self.pictures = torch.cat(chunks)
        self.painted = max(painted, 1)
        self.photo_share = photo_share if photos else 0.0

    def choose(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) int64 pictures, on the CPU as the generator is."""
        painted = torch.randint(self.painted, (count,), generator=generator)
        photos = len(self.pictures) - self.painted
        if not photos:
            return painted
        photo = self.painted + torch.randint(photos, (count,), generator=generator)
        return torch.where(
            torch.rand(count, generator=generator) < self.photo_share, photo, painted
        )

    def sample(self, picture: Tensor, grid: Tensor) -> Tensor:
        """Look pictures up, mirrored beyond their borders.

        Args:
            picture: (B,) int64, on the pool's device.
            grid: (B, H, W, 2) float32 in [-1, 1], x and y.

        Returns:
            (B, 3, H, W) float32 in [0, 1].
        """
        chosen = self.pictures[picture].float() / 255.0
        return grid_sample(chosen, grid, padding_mode="reflection", align_corners=False)


def crop_grids(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Affine maps of random crops with flips and small turns, for `torch.affine_grid`.

    Returns:
        (count, 2, 3) float32 on the CPU.
    """
    g = generator
    zoom = 0.35 + 0.65 * torch.rand(count, generator=g)
    angle = 0.35 * torch.randn(count, generator=g)
    flip = torch.randint(0, 2, (count, 2), generator=g).float() * 2 - 1
    flip[:, 1] = torch.where(torch.rand(count, generator=g) < 0.85, 1.0, flip[:, 1])
    aspect = size[1] / size[0]
    c, s = angle.cos() * zoom, angle.sin() * zoom
    shift = (2 * torch.rand(count, 2, generator=g) - 1) * (1 - zoom)[:, None]
    rows = torch.stack((c * flip[:, 0], -s / aspect, shift[:, 0],
                        s * aspect, c * flip[:, 1], shift[:, 1]), -1)  # fmt: skip
    return rows.view(count, 2, 3)


def _chunks(total: int, most: int) -> list[int]:
    return [min(most, total - start) for start in range(0, total, most)]
