"""Packing, mip levels, normals and texture lookup."""

import dataclasses

import numpy as np
import pytest
import torch

from self6d.errors import InputError
from self6d.rendering import pack_models, render

SQUARE = ([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], [[0, 1, 2], [0, 2, 3]])
# v upwards: the image's top row (y = -1) has v = 1
UV = np.array([[[0, 1], [1, 1], [1, 0]], [[0, 1], [1, 0], [0, 0]]], np.float32)


def test_offsets_and_counts(kit):
    models = [kit.sphere(20), kit.random_mesh(5, 0), kit.sphere(80)]
    packed = pack_models(models)
    assert len(packed) == 3
    assert packed.vertex_offset.tolist() == [0, 12, 27, 69]
    assert packed.face_offset.tolist() == [0, 20, 25, 105]
    assert packed.face_counts == (20, 5, 80)
    second = packed.vertices[12:27]
    torch.testing.assert_close(second, torch.from_numpy(models[1].vertices))
    assert packed.dtype == torch.float32
    assert not packed.textured
    assert pack_models(models, dtype=torch.float64).colors.dtype == torch.float64


def test_nothing_to_pack():
    with pytest.raises(InputError, match="no object models"):
        pack_models([])


def test_normals_point_out_and_are_shared_over_seams(kit):
    sphere = kit.sphere(320, bump=0.0)
    apart = kit.object_model(
        sphere.vertices[sphere.faces].reshape(-1, 3), np.arange(960).reshape(-1, 3)
    )
    for model in (sphere, apart):
        packed = pack_models([model])
        outward = torch.nn.functional.normalize(packed.vertices, dim=1)
        assert ((packed.normals * outward).sum(1) > 0.99).all()


def test_mip_levels_keep_the_mean(kit):
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (37, 50, 3), dtype=np.uint8)
    model = kit.object_model(*SQUARE, uv=UV, texture=texture)
    packed = pack_models([kit.sphere(20), model])
    assert packed.levels.tolist() == [0, 6]
    first, w, h = packed.mips[1, 0].tolist()
    assert (first, w, h) == (0, 50, 37)
    first, w, h = packed.mips[1, 5].tolist()
    assert (w, h) == (1, 1)
    last = packed.texels[first]
    mean = [int(last >> shift & 255) for shift in (0, 8, 16)]
    np.testing.assert_allclose(mean, texture.mean((0, 1)), atol=2)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_texels_land_on_pixels(kit, backend):
    """One texel a pixel, seen head-on: the rendered image is the texture."""
    texture = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    models = pack_models([kit.object_model(*SQUARE, uv=UV, texture=texture)])
    K = torch.tensor([[4.0, 0, 4], [0, 3, 3], [0, 0, 1]])
    out = render(torch.eye(3)[None], torch.zeros(1, 3), K, models, (6, 8), backend=backend)
    got = (out.rgb[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(got, texture)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_far_textures_are_averaged(kit, backend):
    """A fine checkerboard seen from far away is grey, not a random corner of it."""
    board = np.indices((64, 64)).sum(0) % 2 * 255
    texture = np.repeat(board[..., None], 3, 2).astype(np.uint8)
    models = pack_models([kit.object_model(*SQUARE, uv=UV, texture=texture)])
    K = torch.tensor([[2.0, 0, 4], [0, 2, 4], [0, 0, 1]])
    out = render(torch.eye(3)[None], torch.zeros(1, 3), K, models, (8, 8), backend=backend)
    seen = out.rgb[0, 0][out.covered[0]]
    assert len(seen) == 16
    assert (seen - 0.5).abs().max() < 0.02


def test_textured_backends_agree(kit):
    sphere = kit.sphere(320)
    corners = sphere.vertices[sphere.faces]
    smooth = np.cumsum(np.random.default_rng(2).normal(size=(40, 52, 3)), 0)
    texture = np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))
    model = dataclasses.replace(
        sphere, uv=(corners[..., :2] * 25).astype(np.float32), texture=texture
    )
    models = pack_models([model, kit.sphere(80)])
    R, t = kit.poses(2)
    index = torch.tensor([0, 1])
    size = (48, 52)
    K = kit.camera(size, skew=1.0)
    slow, slow_grads = kit.run(models, size, R, t, K, "reference", object_index=index)
    fast, fast_grads = kit.run(models, size, R, t, K, "cpu", object_index=index)
    torch.testing.assert_close(fast.rgb, slow.rgb, rtol=0, atol=1e-4)
    for leaf in ("R", "t", "K", "vertices"):
        assert kit.relative(fast_grads["rgb"][leaf], slow_grads["rgb"][leaf]) < 1e-3


def test_shading_shapes_are_checked(kit):
    light = kit.headlight(2)
    with pytest.raises(InputError, match=r"Shading\.ambient has shape"):
        light.packed(3, torch.device("cpu"), torch.float32)


def test_moving_models_keeps_everything(kit):
    packed = pack_models([kit.sphere(20)])
    moved = packed.to("cpu")
    assert moved is not packed
    assert torch.equal(moved.vertices, packed.vertices)
    assert moved.object_ids == packed.object_ids
