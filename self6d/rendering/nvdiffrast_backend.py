"""The `nvdiffrast` backend: NVIDIA's modular rasterizer (Laine et al., 2020), to time beside ours.

Colour and depth come from `rasterize` and `interpolate`. nvdiffrast has no soft mask by distance:
its mask is the silhouette blended over one pixel by `antialias`, which is less work than DIB-R's,
and another function. An uncovered pixel further away gets 0 and no gradient. Batches show one
model, with vertex colours, and without light.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from self6d.errors import InputError
from self6d.rendering.job import RenderJob
from self6d.rendering.models import PackedModels
from self6d.rendering.peers import peer_unavailable
from self6d.rendering.result import Rendering


def unavailable() -> str | None:
    """Why the backend cannot run here, as "what: remedy"; None if it can."""
    return peer_unavailable(
        "nvdiffrast.torch",
        "Install it from https://github.com/NVlabs/nvdiffrast (pip install --no-build-isolation, "
        "with a CUDA compiler for your torch); mind its licence, which is for research.",
    )


def render_nvdiffrast(job: RenderJob) -> Rendering:
    """Render a job of one model on a CUDA device through nvdiffrast.

    Raises:
        InputError: tensors on another device or of another dtype than float32, several models,
            textures or shading.
    """
    import nvdiffrast.torch as dr

    if not job.R.is_cuda or job.R.dtype != torch.float32:
        raise InputError(
            "the nvdiffrast backend renders float32 on CUDA devices only",
            remedy="Move the tensors there.",
        )
    if len(job.models) > 1 or job.models.textured or job.shading is not None:
        raise InputError(
            "the nvdiffrast backend draws one model with vertex colours, without light",
            remedy="Choose backend='cuda' for several models, textures and shading.",
        )
    cam = job.vertices @ job.R.transpose(1, 2) + job.t[:, None]
    clip = clip_coordinates(cam, job)
    context, faces = _context(job.R.device.index), job.models.faces
    seen, _ = dr.rasterize(context, clip, faces, (job.height, job.width), grad_db=False)
    values = torch.cat((job.colors.expand(len(cam), -1, -1), cam[..., 2:]), -1)
    pixels, _ = dr.interpolate(values, seen, faces)
    covered = (seen[..., 3:] > 0).to(cam.dtype)
    mask = covered
    if job.soft_mask:
        mask = dr.antialias(covered, seen, clip, faces, topology_hash=_edges(dr, job.models))
    rgb, depth = pixels[..., :3].movedim(-1, 1), pixels[..., 3]
    return Rendering(rgb, depth, mask[..., 0], seen[..., 3].to(torch.int32) - 1)


def clip_coordinates(cam: Tensor, job: RenderJob) -> Tensor:
    """OpenGL's (x, y, z, w) of points, w being their depth; the first row of pixels at y = -w.

    z / w runs from -1 at `near_m` to 1 at infinity.

    Args:
        cam: (B, V, 3), camera frame, metres.

    Returns:
        (B, V, 4).
    """
    K = job.K[:, None]
    x, y, z = cam.unbind(-1)
    u = K[..., 0, 0] * x + K[..., 0, 1] * y + K[..., 0, 2] * z
    v = K[..., 1, 1] * y + K[..., 1, 2] * z
    return torch.stack(
        (2 * u / job.width - z, 2 * v / job.height - z, z - 2 * job.near_m, z), dim=-1
    )


@cache
def _context(device: int) -> Any:
    import nvdiffrast.torch as dr

    return dr.RasterizeCudaContext(device=f"cuda:{device}")


def _edges(dr: Any, models: PackedModels) -> Any:
    """Which faces meet at an edge, as `antialias` wants it."""
    if "nvdiffrast" not in models.cache:
        models.cache["nvdiffrast"] = dr.antialias_construct_topology_hash(models.faces)
    return models.cache["nvdiffrast"]
