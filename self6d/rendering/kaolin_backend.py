"""The `kaolin` backend: NVIDIA kaolin's DIB-R, kaolin.render.mesh.dibr_rasterization.

kaolin has no principal point and interpolates without perspective. Both are folded into its inputs:
corners are given in image coordinates, "depth" as 1 / z and attributes divided by z, which are
linear in the image. What remains different: its soft mask multiplies only the first KNUM faces near
a pixel, faces that cross the near plane are left out, and vertex colours are all it draws. Its cost
grows with pixels times faces.
"""

from __future__ import annotations

import torch
from torch import Tensor

from self6d.errors import InputError
from self6d.rendering.job import RenderJob
from self6d.rendering.peers import peer_unavailable
from self6d.rendering.result import Rendering

KNUM = 30  # kaolin's own default


def unavailable() -> str | None:
    """Why the backend cannot run here, as "what: remedy"; None if it can."""
    return peer_unavailable(
        "kaolin.render.mesh",
        "Install it from https://github.com/NVIDIAGameWorks/kaolin (a wheel for your torch, or "
        "from source); the package of that name on PyPI is empty.",
    )


def render_kaolin(job: RenderJob) -> Rendering:
    """Render a job on a CUDA device through kaolin.

    Raises:
        InputError: tensors on another device, textures or shading.
    """
    from kaolin.render.mesh import dibr_rasterization

    if not job.R.is_cuda:
        raise InputError("the kaolin backend renders on CUDA devices only", remedy="Move R there.")
    if job.models.textured or job.shading is not None:
        raise InputError(
            "the kaolin backend draws vertex colours without light",
            remedy="Choose backend='cuda' for textures and shading.",
        )
    corners, real = _corners(job)
    cam = job.vertices[corners] @ job.R[:, None].transpose(-1, -2) + job.t[:, None, None]
    z = cam[..., 2]
    real = real & (z >= job.near_m).all(-1)
    inverse = 1 / torch.where(real[..., None], z, 1.0)
    K = job.K[:, None, None]
    u = (K[..., 0, 0] * cam[..., 0] + K[..., 0, 1] * cam[..., 1]) * inverse + K[..., 0, 2]
    v = K[..., 1, 1] * cam[..., 1] * inverse + K[..., 1, 2]
    image = torch.stack((2 * u / job.width - 1, 1 - 2 * v / job.height), dim=-1)
    image = torch.where(real[..., None, None], image, 100.0)  # its soft mask sees every face
    features = torch.cat((job.colors[corners], torch.ones_like(z)[..., None]), -1)
    pixels, mask, face_id = dibr_rasterization(
        job.height,
        job.width,
        inverse,  # the largest wins: the nearest
        image,
        features * inverse[..., None],
        torch.where(real, 1.0, -1.0),
        sigmainv=job.sigma_inv,
        boxlen=job.box,
        knum=KNUM,
    )
    covered = face_id >= 0
    depth = torch.where(covered, 1 / torch.where(covered, pixels[..., 3], 1.0), 0.0)
    rgb = (pixels[..., :3] * depth[..., None]).movedim(-1, 1)
    return Rendering(
        rgb, depth, mask if job.soft_mask else covered.to(mask.dtype), face_id.to(torch.int32)
    )


def _corners(job: RenderJob) -> tuple[Tensor, Tensor]:
    """Vertex numbers of every face (B, F, 3), and which faces exist (B, F); F is the largest."""
    models, index = job.models, job.object_index.long()
    number = torch.arange(job.max_faces, device=job.R.device)
    first = models.face_offset[index].long()[:, None]
    real = number < models.face_offset[index + 1].long()[:, None] - first
    faces = models.faces[torch.where(real, first + number, first)].long()
    return faces + models.vertex_offset[index].long()[:, None, None], real
