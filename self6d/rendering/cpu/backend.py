"""The `cpu` backend: numba kernels on all cores, forward and backward fused in one autograd node.

Values and gradients do not depend on the number of threads. Kernels are compiled at the first call
and cached on disk (numba's cache); later programs load them in a fraction of a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from self6d.errors import InputError
from self6d.rendering.cpu.backward import SUMS, backward_band
from self6d.rendering.cpu.forward import forward_band
from self6d.rendering.cpu.kernels import BAND, LANES, prepare
from self6d.rendering.job import RenderJob
from self6d.rendering.models import PackedModels
from self6d.rendering.result import Rendering
from self6d.workers import run_parallel

GROUPS = 4  # buffers for gradients of vertices and colours: fixed, so sums are the same everywhere
_EMPTY = np.zeros((0, 3))


def render_cpu(job: RenderJob) -> Rendering:
    """Render a float32 job on the CPU.

    Raises:
        InputError: for another dtype or device.
    """
    if job.R.dtype != torch.float32 or job.R.device.type != "cpu":
        raise InputError(
            f"the cpu backend cannot render {job.R.dtype} on {job.R.device}",
            remedy="Give float32 tensors on the CPU, or choose backend='reference'.",
        )
    rgb, depth, mask, face_id = _Render.apply(job.R, job.t, job.K, job.vertices, job.colors, job)
    return Rendering(rgb, depth, mask, face_id)


class _Scene:
    """Numpy views of a job, and per item the geometry that forward and backward share."""

    def __init__(self, job: RenderJob):
        self.job = job
        models = job.models
        self.R, self.t, self.K = (_numpy(x) for x in (job.R, job.t, job.K))
        self.vertices, self.colors = _numpy(job.vertices), _numpy(job.colors)
        self.model = job.object_index.tolist()
        self.packed = _views(models)
        self.light = _numpy(job.shading) if job.shading is not None else None
        self.box = (job.box * job.width / 2, job.box * job.height / 2)
        self.bands = -(-job.height // BAND)
        self.geometry: list[Any] = [None] * len(self.model)

    def vertex_slice(self, b: int) -> slice:
        m = self.model[b]
        return slice(self.packed["vertex_offset"][m], self.packed["vertex_offset"][m + 1])

    def face_slice(self, b: int) -> slice:
        m = self.model[b]
        return slice(self.packed["face_offset"][m], self.packed["face_offset"][m + 1])

    def prepare(self, b: int) -> None:
        job = self.job
        self.geometry[b] = prepare(
            self.vertices[self.vertex_slice(b)], self.packed["faces"][self.face_slice(b)],
            self.R[b], self.t[b], self.K[b], job.near_m, *self.box, job.height, job.width,
        )  # fmt: skip

    def band(self, b: int, k: int) -> tuple[np.ndarray, int, int]:
        """Entries, first row and end row of band k."""
        _, _, starts, entries = self.geometry[b]
        rows = (k * BAND, min((k + 1) * BAND, self.job.height))
        return entries[starts[k] : starts[k + 1]], *rows

    def texture(self, b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """uv of the item's faces, texels, mip table, number of levels."""
        p, m = self.packed, self.model[b]
        uv = p["uv"][self.face_slice(b)] if len(p["uv"]) else p["uv"]
        return uv, p["texels"], p["mips"][m], int(p["levels"][m])


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, R: Tensor, t: Tensor, K: Tensor, vertices: Tensor, colors: Tensor, job: RenderJob
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        batch, h, w = len(R), job.height, job.width
        scene = _Scene(job)
        rgb = torch.empty(batch, 3, h, w)
        depth, mask = torch.empty(batch, h, w), torch.empty(batch, h, w)
        free = torch.empty(batch, h, w + LANES)
        face_id = torch.empty(batch, h, w, dtype=torch.int32)
        out = [x.numpy() for x in (rgb, depth, mask, face_id, free)]
        run_parallel(scene.prepare, batch)

        def work(unit: int) -> None:
            b, k = divmod(unit, scene.bands)
            cam, pix, _, _ = scene.geometry[b]
            entries, row0, row1 = scene.band(b, k)
            corners = scene.vertex_slice(b)
            light = scene.light[b] if scene.light is not None else np.zeros(0, np.float32)
            forward_band(
                cam, pix, scene.packed["faces"][scene.face_slice(b)], entries, scene.K[b],
                scene.R[b], scene.colors[corners], scene.packed["normals"][corners],
                *scene.texture(b), light, job.near_m, job.sigma_inv, *scene.box, row0, row1,
                job.soft_mask, *(x[b] for x in out),
            )  # fmt: skip

        run_parallel(work, batch * scene.bands)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(face_id)
        ctx.save_for_backward(R, t, K, vertices, colors, face_id, free)
        ctx.scene = scene
        return rgb, depth, mask, face_id

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any,
        g_rgb: Tensor | None,
        g_depth: Tensor | None,
        g_mask: Tensor | None,
        _: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        R, t, K, vertices, _colors, face_id, free = ctx.saved_tensors
        scene: _Scene = ctx.scene
        job, batch = scene.job, len(R)
        if job.shading is not None:
            g_rgb = None
        _, _, need_K, need_vertices, need_colors, _ = ctx.needs_input_grad
        need_colors = need_colors and g_rgb is not None
        incoming = [
            _numpy(g.contiguous()) if g is not None else np.zeros((batch, *[0] * n), np.float32)
            for g, n in ((g_rgb, 3), (g_depth, 2), (g_mask, 2))
        ]
        seen, spared = face_id.numpy(), free.numpy()
        sums = np.zeros((batch, scene.bands, SUMS))
        shape = (GROUPS, len(vertices), 3)
        g_vertices = np.zeros(shape) if need_vertices else None
        g_colors = np.zeros(shape) if need_colors else None

        def work(unit: int, group: int = 0) -> None:
            b, k = divmod(unit, scene.bands)
            cam, pix, _, _ = scene.geometry[b]
            entries, row0, row1 = scene.band(b, k)
            corners = scene.vertex_slice(b)
            backward_band(
                cam, pix, scene.packed["faces"][scene.face_slice(b)], entries, scene.K[b],
                scene.R[b], scene.colors[corners], *scene.texture(b), job.sigma_inv, *scene.box,
                row0, row1, job.soft_mask, seen[b], spared[b], *(g[b] for g in incoming),
                sums[b, k],
                g_vertices[group, corners] if g_vertices is not None else _EMPTY,
                g_colors[group, corners] if g_colors is not None else _EMPTY,
            )  # fmt: skip

        units = batch * scene.bands
        if need_vertices or need_colors:

            def work_group(group: int) -> None:
                for unit in range(group, units, GROUPS):
                    work(unit, group)

            run_parallel(work_group, GROUPS)
        else:
            run_parallel(work, units)
        total = torch.from_numpy(sums.sum(1))
        g_t, moment = total[:, :3], total[:, 3:].view(batch, 3, 3)
        # a pose that is not finite drew nothing and receives zero
        R64, t64 = (x.double().nan_to_num(0, 0, 0) for x in (R, t))
        g_R = (moment - g_t[:, :, None] * t64[:, None]) @ R64
        return (
            g_R.float(),
            g_t.float(),
            camera_gradient(moment, K).float() if need_K else None,
            _summed(g_vertices),
            _summed(g_colors),
            None,
        )


def camera_gradient(moment: Tensor, K: Tensor) -> Tensor:
    """Gradient of the five numbers of K from A = sum q p^T.

    A change of K moves the projection of every point p; A holds what that does to the loss.

    Args:
        moment: (B, 3, 3), A. K: (B, 3, 3), pixels.

    Returns:
        (B, 3, 3), zero in the last row and below the diagonal.
    """
    out = torch.zeros_like(moment)
    out[:, 0] = moment[:, 0] / K[:, 0, :1]
    out[:, 1, 1:] = (moment[:, 1, 1:] - K[:, 0, 1, None] * out[:, 0, 1:]) / K[:, 1, 1, None]
    return out


def _summed(groups: np.ndarray | None) -> Tensor | None:
    return None if groups is None else torch.from_numpy(groups.sum(0)).float()


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def _views(models: PackedModels) -> dict[str, np.ndarray]:
    """Numpy views of the models' tensors, made once."""
    if "numpy" not in models.cache:
        names = (
            "faces", "normals", "uv", "texels", "mips", "levels", "vertex_offset", "face_offset",
        )  # fmt: skip
        models.cache["numpy"] = {name: _numpy(getattr(models, name)) for name in names}
    return models.cache["numpy"]
