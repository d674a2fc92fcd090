"""Painted pictures, folders of photographs, crops."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import affine_grid

from self6d.errors import InputError
from self6d.synthesis.backgrounds import (
    Backgrounds,
    crop_grids,
    fractal_noise,
    load_photos,
    paint,
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A wide, a tall and a small picture, half red and half blue."""
    folder = tmp_path / "photos" / "inner"
    folder.mkdir(parents=True)
    for name, (h, w) in {"a.png": (60, 200), "b.jpg": (150, 60), "c.png": (20, 30)}.items():
        picture = np.zeros((h, w, 3), np.uint8)
        picture[..., 2] = 250
        picture[:, w // 2 :] = (250, 0, 0)
        cv2.imwrite(str(folder / name), picture)
    (folder / "notes.txt").write_text("not a picture")
    return tmp_path / "photos"


def test_paintings_are_varied(generator) -> None:
    pictures = paint(12, (36, 48), generator)
    assert pictures.shape == (12, 3, 36, 48)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert pictures.mean((2, 3)).std(0).min() > 0.08  # of different colours
    assert (pictures.std((2, 3)).amax(1) > 0.02).float().mean() > 0.8  # and not flat
    again = paint(12, (36, 48), torch.Generator().manual_seed(0))
    assert torch.equal(pictures, again)


def test_rougher_noise_has_more_fine_detail(generator) -> None:
    smooth, rough = (fractal_noise(4, (64, 64), generator, r) for r in (0.3, 1.0))

    def detail(noise):
        return noise.diff(dim=-1).abs().mean() / noise.std()

    assert detail(rough) > 2 * detail(smooth)


def test_photos_are_cropped_to_size_in_rgb(photos) -> None:
    tensor = load_photos(photos, (45, 60))
    assert tensor.shape == (3, 3, 45, 60)
    assert tensor.dtype == torch.uint8
    for picture in tensor.float():
        assert picture[0, :, :20].mean() > 200 > 50 > picture[2, :, :20].mean()  # red on the left
        assert picture[2, :, -20:].mean() > 200  # blue on the right


def test_a_pool_mixes_both_kinds(photos, generator) -> None:
    pool = Backgrounds((60, 80), 5, str(photos), photo_share=0.5)
    chosen = pool.choose(400, generator)
    assert set(chosen.tolist()) == set(range(8))
    assert (chosen >= 5).float().mean() == pytest.approx(0.5, abs=0.1)
    painted_only = Backgrounds((60, 80), 5)
    assert painted_only.choose(50, generator).max() < 5


def test_samples_are_crops_of_the_picture(photos, generator) -> None:
    pool = Backgrounds((60, 80), 1, str(photos), photo_share=1.0)
    whole = affine_grid(torch.eye(2, 3)[None], [1, 3, 45, 60], align_corners=False)
    same = pool.sample(torch.tensor([1]), whole)
    assert torch.allclose(same, pool.pictures[1:2].float() / 255, atol=1e-3)
    grids = affine_grid(crop_grids(16, (60, 80), generator), [16, 3, 60, 80], align_corners=False)
    crops = pool.sample(torch.ones(16, dtype=torch.int64), grids)
    assert crops.shape == (16, 3, 60, 80)
    assert crops.mean((2, 3)).std(0).max() > 0.05  # different parts of it


@pytest.mark.parametrize("content", ["nothing", "text", "broken"])
def test_useless_folders_are_named(tmp_path, content) -> None:
    folder = tmp_path / "folder"
    if content != "nothing":
        folder.mkdir()
    if content == "text":
        (folder / "a.txt").write_text("x")
    if content == "broken":
        (folder / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError) as caught:
        load_photos(folder, (30, 40))
    assert "folder" in str(caught.value)
    assert caught.value.remedy
