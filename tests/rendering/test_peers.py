"""What peers are given, and what is said where they are missing."""

import pytest
import torch
from typer.testing import CliRunner

from self6d.cli import app
from self6d.geometry import pixel_centres
from self6d.rendering import available_backends
from self6d.rendering.job import RenderJob
from self6d.rendering.nvdiffrast_backend import clip_coordinates


def test_clip_coordinates_are_pixels_and_order_by_depth(kit):
    models = kit.pack([kit.sphere(80)])
    R, t = kit.poses(2)
    K = kit.camera((60, 90), skew=2.0).expand(2, 3, 3)
    job = RenderJob(
        R, t, K, models.vertices, models.colors, models, torch.zeros(2, dtype=torch.int32), 80,
        60, 90, None, True, 7000.0, 0.02, 0.01,
    )  # fmt: skip
    z = torch.tensor([0.01, 0.2, 0.5, 100.0]).expand(2, 4)
    pixels = pixel_centres(60, 90)[::15, ::20].reshape(-1, 2)[[0, 7, 9, 18]].expand(2, 4, 2)
    y = (pixels[..., 1] - K[:, None, 1, 2]) / K[:, None, 1, 1]
    x = (pixels[..., 0] - K[:, None, 0, 2] - K[:, None, 0, 1] * y) / K[:, None, 0, 0]
    clip = clip_coordinates(torch.stack((x * z, y * z, z), -1), job)
    seen = (clip[..., :2] / clip[..., 3:] + 1) / 2 * torch.tensor([90.0, 60.0])
    torch.testing.assert_close(seen, pixels, atol=1e-4, rtol=0)
    assert torch.equal(clip[..., 3], z)
    depth = clip[..., 2] / clip[..., 3]
    torch.testing.assert_close(depth[:, 0], torch.full((2,), -1.0))
    assert (depth.diff(dim=1) > 0).all()
    assert (depth < 1).all()


@pytest.mark.parametrize("peer", ["kaolin", "nvdiffrast"])
def test_a_missing_peer_is_said_in_one_line(peer):
    if available_backends()[peer] is None:
        pytest.skip(f"{peer} is installed")
    result = CliRunner().invoke(app, ["bench", "render", "--device", "cpu", "--peer", peer])
    assert result.exit_code != 0
    said = result.output or str(result.exception)
    assert f"render backend '{peer}'" in said
