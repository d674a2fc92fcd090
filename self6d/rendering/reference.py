"""The obvious renderer: torch only, every face against every pixel, gradients by autograd.

Slow on purpose; it is what the fast backends are tested against. It works in float64 whatever the
inputs are and casts its outputs back.
"""

from __future__ import annotations

import torch
from torch import Tensor

from self6d.geometry import pixel_centres, transform
from self6d.rendering.job import RenderJob
from self6d.rendering.result import Rendering
from self6d.rendering.shading import CREASE_COS

PAIRS = 1 << 21  # pixel-face pairs held at once
FLOOR = 1e-12  # least d2 * sigma_inv: log(1 - exp(-x)) and its gradient stay finite


def render_reference(job: RenderJob) -> Rendering:
    """Render a job item by item."""
    items = [_render_item(job, b) for b in range(len(job.R))]
    rgb, depth, mask, face_id = (torch.stack(parts) for parts in zip(*items))
    dtype = job.R.dtype
    return Rendering(rgb.to(dtype), depth.to(dtype), mask.to(dtype), face_id)


def _render_item(job: RenderJob, b: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    h, w = job.height, job.width
    models, m = job.models, int(job.object_index[b])
    corners = slice(int(models.vertex_offset[m]), int(models.vertex_offset[m + 1]))
    faces = models.faces[models.face_offset[m] : models.face_offset[m + 1]].long()
    R, t, K = job.R[b].double(), job.t[b].double(), job.K[b].double()
    vertices = transform(job.vertices[corners].double(), R[None], t[None])[0]
    colors = job.colors[corners].double()

    pixels = pixel_centres(h, w, device=R.device, dtype=torch.float64).view(-1, 2)
    rays = viewing_rays(pixels, K)
    triangles = vertices[faces]
    face_id = nearest_face(triangles.detach(), rays.detach(), job.near_m)
    covered = face_id >= 0
    face = face_id[covered]
    bary, z = intersect(triangles[face], rays[covered])

    if len(models.uv) and int(models.levels[m]):
        uv = models.uv[models.face_offset[m] :][face].double()
        albedo = _textured(job, m, uv, bary, triangles[face], rays[covered], z, K)
    else:
        albedo = (bary[..., None] * colors[faces[face]]).sum(1)
    if job.shading is not None:
        normals = models.normals[corners].double() @ R.T
        light = job.shading[b].double()
        albedo = shade(
            albedo, triangles[face], normals[faces[face]], bary, rays[covered], light
        ).detach()

    zero = torch.zeros(h * w, dtype=torch.float64, device=R.device)
    depth = zero.masked_scatter(covered, z)
    rgb = zero[:, None].repeat(1, 3).masked_scatter(covered[:, None], albedo)
    mask = covered.double()
    if job.soft_mask:
        mask = mask.masked_scatter(
            ~covered, soft_mask(vertices, faces, K, pixels[~covered], (h, w), job)
        )
    return (
        rgb.T.view(3, h, w),
        depth.view(h, w),
        mask.view(h, w),
        face_id.int().view(h, w),
    )


def viewing_rays(pixels: Tensor, K: Tensor) -> Tensor:
    """(P, 2) pixels, (3, 3) upper triangular -> (P, 3), the point seen at depth 1."""
    y = (pixels[:, 1] - K[1, 2]) / K[1, 1]
    x = (pixels[:, 0] - K[0, 2] - K[0, 1] * y) / K[0, 0]
    return torch.stack((x, y, torch.ones_like(x)), dim=1)


def edge_planes(triangles: Tensor) -> tuple[Tensor, Tensor]:
    """Planes through the camera's centre and each edge, v_j x v_k, and det(v0, v1, v2).

    (N, 3, 3) corners, camera frame -> (N, 3, 3), (N,).
    """
    v0, v1, v2 = triangles.unbind(-2)
    cross = torch.linalg.cross
    planes = torch.stack((cross(v1, v2), cross(v2, v0), cross(v0, v1)), dim=-2)
    return planes, v0[..., 0] * planes[:, 0, 0] + v0[..., 1] * planes[:, 0, 1] + v0[
        ..., 2
    ] * planes[:, 0, 2]


def intersect(triangles: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays from the camera's centre meet the planes of triangles.

    With e_i = d . (v_j x v_k), the perspective-correct barycentrics are e_i / sum(e) and the depth
    is det(v0, v1, v2) / sum(e) for a ray d with unit z.

    Args:
        triangles: (N, 3, 3), corners, camera frame. rays: (N, 3).

    Returns:
        barycentrics (N, 3), depth (N,).
    """
    planes, det = edge_planes(triangles)
    e = (planes * rays[:, None]).sum(-1)
    total = e.sum(-1)
    return e / total[:, None], det / total


def nearest_face(triangles: Tensor, rays: Tensor, near: float) -> Tensor:
    """(F, 3, 3), (P, 3) -> (P,) int64: face with the least depth beyond `near`, -1 if none.

    Of faces at the same depth the one with the lowest number wins. Sums are written out: a matrix
    product may round equal faces differently, by the row that they stand in, and a tie is no tie.
    """
    best = torch.full((len(rays),), torch.inf, dtype=rays.dtype, device=rays.device)
    face_id = torch.full((len(rays),), -1, dtype=torch.int64, device=rays.device)
    step = max(1, PAIRS // max(len(rays), 1))
    for first in range(0, len(triangles), step):
        corners = triangles[first : first + step]
        planes, det = edge_planes(corners)
        e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        normal = torch.linalg.cross(e1, e2)
        flat = (normal**2).sum(1) <= 1e-20 * (e1**2).sum(1) * (e2**2).sum(1)
        px, py, pz = planes.unbind(-1)
        x, y, depth = (ray[:, None, None] for ray in rays.unbind(-1))
        e = x * px + y * py + depth * pz
        total = e[..., 0] + e[..., 1] + e[..., 2]
        z = det / total
        inside = (e * total[..., None] >= 0).all(-1) & (total != 0) & ~flat
        hit = inside & (z >= near)
        z = torch.where(hit, z, torch.inf)
        nearest = z.amin(1)
        number = torch.arange(first, first + z.shape[1], device=z.device)
        lowest = torch.where(z == nearest[:, None], number, len(triangles)).amin(1)
        closer = nearest < best
        best = torch.where(closer, nearest, best)
        face_id = torch.where(closer, lowest, face_id)
    return face_id


def soft_mask(
    vertices: Tensor,
    faces: Tensor,
    K: Tensor,
    pixels: Tensor,
    size: tuple[int, int],
    job: RenderJob,
) -> Tensor:
    """DIB-R's mask of uncovered pixels, 1 - prod_f (1 - exp(-d2 sigma_inv)).

    Args:
        vertices: (V, 3), camera frame. faces: (F, 3). pixels: (P, 2), uncovered.

    Returns:
        (P,).
    """
    h, w = size
    scale = torch.tensor([2 / w, 2 / h], dtype=pixels.dtype, device=pixels.device)
    in_front = (vertices.detach()[:, 2][faces] >= job.near_m).all(1)
    faces = faces[in_front]
    uvw = torch.stack(
        (K[0, 0] * vertices[:, 0] + K[0, 1] * vertices[:, 1], K[1, 1] * vertices[:, 1]), 1
    )
    z = torch.where(vertices[:, 2:] >= job.near_m, vertices[:, 2:], 1.0)
    corners = ((uvw / z + K[:2, 2]) * scale)[faces]  # (F, 3, 2), two units across the image
    points = pixels * scale

    low = corners.detach().amin(1) - job.box
    high = corners.detach().amax(1) + job.box
    pairs = []
    step = max(1, PAIRS // max(len(points), 1))
    for first in range(0, len(faces), step):
        x, y = points[:, None, 0], points[:, None, 1]
        lo, hi = low[first : first + step], high[first : first + step]
        near = (x >= lo[:, 0]) & (x < hi[:, 0]) & (y > lo[:, 1]) & (y <= hi[:, 1])
        pairs.append(near.nonzero() + torch.tensor([0, first], device=points.device))
    index = torch.cat(pairs) if pairs else torch.zeros((0, 2), dtype=torch.int64)
    pixel, face = index.unbind(1)

    p, a = points[pixel][:, None], corners[face]
    ab = a.roll(-1, dims=1) - a
    along = ((p - a) * ab).sum(-1) / (ab * ab).sum(-1).clamp_min(1e-30)
    nearest = a + along.clamp(0, 1)[..., None] * ab
    d2 = ((p - nearest) ** 2).sum(-1).amin(1)
    log_free = torch.log(-torch.expm1(-(d2 * job.sigma_inv).clamp_min(FLOOR)))
    total = torch.zeros(len(points), dtype=d2.dtype, device=d2.device)
    return -torch.expm1(total.index_add(0, pixel, log_free))


def shade(
    albedo: Tensor, triangles: Tensor, normals: Tensor, bary: Tensor, rays: Tensor, light: Tensor
) -> Tensor:
    """`Shading`'s equation at N points.

    Args:
        albedo: (N, 3). triangles, normals: (N, 3, 3), camera frame. bary, rays: (N, 3).
        light: (5 + 6 L,) as `Shading.packed` lays it out.
    """
    unit = torch.nn.functional.normalize
    flat = unit(
        torch.linalg.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]),
        dim=1,
    )
    bent = (flat[:, None] * normals).sum(-1, keepdim=True) < CREASE_COS
    normals = torch.where(bent, flat[:, None], normals)
    normal = unit((bary[..., None] * normals).sum(1), dim=1)
    viewer = unit(-rays, dim=1)
    # a smooth normal may lean away from the viewer at the rim: the flat one decides the side
    normal = torch.where((flat * viewer).sum(1, keepdim=True) < 0, -normal, normal)
    ambient, specular, shininess = light[:3], light[3], light[4]
    diffuse, shine = ambient.expand(len(albedo), 3), torch.zeros_like(albedo)
    for lamp in light[5:].view(-1, 6):
        toward, color = lamp[:3], lamp[3:]
        facing = (normal @ toward).clamp_min(0)
        halfway = (normal * unit(viewer + toward, dim=1)).sum(1).clamp_min(0)
        diffuse = diffuse + facing[:, None] * color
        shine = shine + torch.where(facing > 0, halfway**shininess, 0.0)[:, None] * color
    return (albedo * diffuse + specular * shine).clamp(0, 1)


def _textured(
    job: RenderJob,
    m: int,
    uv: Tensor,
    bary: Tensor,
    triangles: Tensor,
    rays: Tensor,
    z: Tensor,
    K: Tensor,
) -> Tensor:
    """Trilinear texture lookup at N points; the mip level carries no gradient."""
    models = job.models
    levels = int(models.levels[m])
    mips = models.mips[m, :levels].long()
    with torch.no_grad():
        # texels a pixel covers: |du x dv| Tw Th z^2 / (|n.d| fx fy), see `texture_level`
        normal = torch.linalg.cross(
            triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
        )
        du, dv = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        area = (du[:, 0] * dv[:, 1] - du[:, 1] * dv[:, 0]).abs() * mips[0, 1] * mips[0, 2]
        facing = (normal * rays).sum(1).abs().clamp_min(1e-30)
        texels = area * z**2 / (facing * K[0, 0] * K[1, 1])
        level = (0.5 * texels.clamp_min(1e-12).log2()).clamp(0, levels - 1)
        fine = level.floor().long().clamp_max(max(levels - 2, 0))
        share = (level - fine)[:, None]
    at = (bary[..., None] * uv).sum(1)
    color = _bilinear(models.texels, mips[fine], at)
    if levels > 1:
        color = color * (1 - share) + _bilinear(models.texels, mips[fine + 1], at) * share
    return color


def _bilinear(texels: Tensor, level: Tensor, uv: Tensor) -> Tensor:
    """Texels around uv (N, 2), repeating; level: (N, 3) first texel, width, height -> (N, 3)."""
    first, w, h = level.unbind(1)
    x, y = uv[:, 0] * w - 0.5, (1 - uv[:, 1]) * h - 0.5
    x0, y0 = x.detach().floor(), y.detach().floor()
    color = torch.zeros(len(uv), 3, dtype=uv.dtype, device=uv.device)
    for dx, wx in ((0, x0 + 1 - x), (1, x - x0)):
        for dy, wy in ((0, y0 + 1 - y), (1, y - y0)):
            column, row = (x0.long() + dx) % w, (y0.long() + dy) % h
            rgb = texels[first + row * w + column]
            channels = torch.stack((rgb & 255, (rgb >> 8) & 255, (rgb >> 16) & 255), 1)
            color = color + (wx * wy)[:, None] * channels / 255
    return color
