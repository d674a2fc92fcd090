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
from self6d.numba_tools import LANES, first_call
from self6d.rendering.cpu.backward import SUMS, backward_bands
from self6d.rendering.cpu.forward import forward_bands
from self6d.rendering.cpu.kernels import BAND, prepare
from self6d.rendering.job import RenderJob
from self6d.rendering.models import PackedModels
from self6d.rendering.result import Rendering
from self6d.workers import run_parallel

GROUPS = 4  # buffers for gradients of vertices and colours: fixed, so sums are the same everywhere
PIECES = 3  # of work for each thread: enough to share out; each costs a call of thirty arguments
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
    with first_call():
        drawn = _Render.apply(job.R, job.t, job.K, job.vertices, job.colors, job)
    rgb, depth, mask, face_id = drawn
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
        if not job.soft_mask:
            self.box = (-1.0, -1.0)
        self.bands = -(-job.height // BAND)
        self.geometry: list[Any] = [None] * len(self.model)
        self.reaching: list[Any] = [None] * len(self.model)

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
        entries = self.geometry[b][4]
        self.reaching[b] = np.empty(len(entries), np.int32), np.empty(self.bands, np.int32)

    def units(self) -> list[tuple[int, int, int]]:
        """Item, first and end band of pieces of work."""
        items, pieces = len(self.model), PIECES * torch.get_num_threads()
        step = min(-(-self.bands * items // pieces), self.bands)
        ends = [(k, min(k + step, self.bands)) for k in range(0, self.bands, step)]
        return [(b, *end) for b in range(items) for end in ends]

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
        free = torch.empty(batch, scene.bands, BAND * w + LANES)
        face_id = torch.empty(batch, h, w, dtype=torch.int32)
        out = [x.numpy() for x in (rgb, depth, mask, face_id, free)]
        run_parallel(scene.prepare, batch)

        units = scene.units()

        def work(unit: int) -> None:
            b, first, end = units[unit]
            cam, pix, boxes, starts, entries = scene.geometry[b]
            corners = scene.vertex_slice(b)
            light = scene.light[b] if scene.light is not None else np.zeros(0, np.float32)
            forward_bands(
                first, end, cam, pix, scene.packed["faces"][scene.face_slice(b)], boxes, starts,
                entries, scene.K[b], scene.R[b], scene.colors[corners],
                scene.packed["normals"][corners], *scene.texture(b), light, job.near_m,
                job.sigma_inv, job.soft_mask, *(x[b] for x in out), *scene.reaching[b],
            )  # fmt: skip

        run_parallel(work, len(units))
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(face_id)
        ctx.save_for_backward(R, t, K, vertices, colors, face_id, depth, free)
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
        R, t, K, vertices, _colors, face_id, depth, free = ctx.saved_tensors
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
        seen, deep, spared = face_id.numpy(), _numpy(depth), free.numpy()
        sums = np.zeros((batch, scene.bands, SUMS))
        shape = (GROUPS, len(vertices), 3)
        g_vertices = np.zeros(shape) if need_vertices else None
        g_colors = np.zeros(shape) if need_colors else None

        def work(b: int, first: int, end: int, group: int = 0) -> None:
            cam, pix, boxes, starts, entries = scene.geometry[b]
            corners = scene.vertex_slice(b)
            backward_bands(
                first, end, cam, pix, scene.packed["faces"][scene.face_slice(b)], boxes, starts,
                entries, *scene.reaching[b], scene.K[b], scene.R[b], scene.colors[corners],
                *scene.texture(b), job.sigma_inv, job.soft_mask, seen[b], deep[b], spared[b],
                *(g[b] for g in incoming), sums[b],
                g_vertices[group, corners] if g_vertices is not None else _EMPTY,
                g_colors[group, corners] if g_colors is not None else _EMPTY,
            )  # fmt: skip

        if need_vertices or need_colors:

            def work_group(group: int) -> None:
                for unit in range(group, batch * scene.bands, GROUPS):
                    b, k = divmod(unit, scene.bands)
                    work(b, k, k + 1, group)

            run_parallel(work_group, GROUPS)
        else:
            units = scene.units()
            run_parallel(lambda unit: work(*units[unit]), len(units))
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
