"""The `cuda` backend: six kernels forward, one backward, no host synchronisation.

Kernels (kernels/*.cu) are compiled at run time; see nvrtc.py. They run on torch's current stream,
take their memory from torch and read nothing back, so a call can be captured in a CUDA graph.
Sums over pixels use float atomics: results repeat to rounding, not to the bit.
"""

from __future__ import annotations

import importlib.util
import struct
import threading
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from self6d.errors import InputError
from self6d.rendering.cuda.nvrtc import Arguments, Kernels
from self6d.rendering.job import RenderJob
from self6d.rendering.result import Rendering

BLOCK = 256  # as in the kernels
NAMES = (
    "visibility", "visibility_large", "shade", "find_soft", "soft_mask", "finish_mask", "backward",
)  # fmt: skip
PARAMS = struct.Struct("@34P12i4f")  # Params in kernels/geometry.cu
_arguments = Arguments(PARAMS.size)
_loading = threading.Lock()


def unavailable() -> str | None:
    """Why the backend cannot run here, as "what: remedy"; None if it can."""
    if not torch.cuda.is_available():
        return "torch sees no CUDA device: Install a CUDA build of torch on a machine with a GPU."
    if importlib.util.find_spec("cuda") is None or not importlib.util.find_spec("cuda.bindings"):
        return "cuda-bindings is missing: Install it with `pip install cuda-bindings`."
    return None


def render_cuda(job: RenderJob) -> Rendering:
    """Render a float32 job on a CUDA device.

    Raises:
        InputError: for another dtype or device, or more than 65535 items.
    """
    if job.R.dtype != torch.float32 or not job.R.is_cuda:
        raise InputError(
            f"the cuda backend cannot render {job.R.dtype} on {job.R.device}",
            remedy="Give float32 tensors on a CUDA device, or choose backend='reference'.",
        )
    if job.R.shape[0] > 65535:
        raise InputError(f"batch of {len(job.R)} poses", remedy="Render at most 65535 at once.")
    inputs = (job.R, job.t, job.K, job.vertices, job.colors, job)
    if torch.cuda.current_device() == job.R.device.index:
        return Rendering(*_Render.apply(*inputs))
    with torch.cuda.device(job.R.device):
        return Rendering(*_Render.apply(*inputs))


@cache
def source() -> str:
    """The kernels' source text."""
    folder = files("self6d.rendering.cuda") / "kernels"
    parts = ("geometry.cu", "visibility.cu", "shade.cu", "soft.cu", "backward.cu")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in parts)


@cache
def _compiled(device: int) -> tuple[Kernels, int]:
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    return Kernels(source(), NAMES, device, BLOCK), processors


def kernels(device: torch.device) -> tuple[Kernels, int]:
    """Compiled kernels and the number of multiprocessors of a device."""
    with _loading:
        return _compiled(device.index)


def current_stream(device: torch.device) -> int:
    """Handle of torch's current stream."""
    return torch.cuda.current_stream(device).cuda_stream


class _Plan:
    """Sizes and addresses of one call, in the order of Params."""

    def __init__(self, job: RenderJob, processors: int):
        self.job = job
        batch, h, w = job.R.shape[0], job.height, job.width
        self.batch, self.words = batch, -(-w // 32)
        self.face_blocks = -(-job.max_faces // BLOCK)
        # a few blocks for each multiprocessor, shared by the items
        self.soft_blocks = min(max(1, -(-8 * processors // batch)), -(-job.max_faces // 8))
        self.tile_blocks = max(1, -(-4 * processors // batch))
        per_thread = min(max(batch * h * w // (BLOCK * 8 * processors), 1), 16)
        self.pixel_blocks = -(-h * w // (BLOCK * per_thread))

    def pack(
        self,
        blocks: tuple[int, int, int],
        scratch: tuple[int, ...],
        out: tuple[int, ...],
        grads: tuple[int, ...],
    ) -> int:
        """Write Params; returns the address that a launch takes.

        Args:
            blocks: pixel_blocks, soft_blocks, tile_blocks.
            scratch: nearest, tiles, then `kept`. out: rgb, depth, mask, face_id.
            grads: g_rgb, g_depth, g_mask, g_R, g_t, g_K, g_vertices, g_colors.
        """
        job, m, light = self.job, self.job.models, self.job.shading
        if "cuda" not in m.cache:
            m.cache["cuda"] = tuple(
                x.data_ptr()
                for x in (
                    m.normals, m.uv, m.faces, m.vertex_offset, m.face_offset, m.texels, m.mips,
                    m.levels,
                )
            )  # fmt: skip
        PARAMS.pack_into(
            _arguments.buffer, 0,
            job.R.data_ptr(), job.t.data_ptr(), job.K.data_ptr(), job.vertices.data_ptr(),
            job.colors.data_ptr(), 0 if light is None else light.data_ptr(),
            job.object_index.data_ptr(), *m.cache["cuda"], *scratch, *out, *grads,
            self.batch, job.height, job.width, self.words, job.max_faces, len(m),
            0 if light is None else light.shape[1], m.textured, job.soft_mask, *blocks,
            job.sigma_inv, job.box * job.width / 2, job.box * job.height / 2, job.near_m,
        )  # fmt: skip
        return _arguments.address

    def kept(self, memory: Tensor) -> tuple[int, ...]:
        """Addresses of queued, touching, queue, uncovered and open within one buffer."""
        queued = memory.data_ptr()
        touching = queued + 8 * self.batch
        queue = touching + 8 * self.batch
        uncovered = queue + 8 * self.batch * self.job.max_faces
        return queued, touching, queue, uncovered, uncovered + 4 * self._bits

    def kept_size(self) -> int:
        """Elements of that buffer, int64."""
        strips = self.batch * -(-self.job.height // 8) * self.words
        return self.batch * (2 + self.job.max_faces) + -(-(4 * self._bits + strips) // 8)

    @property
    def _bits(self) -> int:
        return self.batch * self.job.height * self.words


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, R: Tensor, t: Tensor, K: Tensor, vertices: Tensor, colors: Tensor, job: RenderJob
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        code, processors = kernels(R.device)
        plan = _Plan(job, processors)
        batch, h, w = plan.batch, job.height, job.width
        pixels = batch * h * w
        zeroed = torch.zeros(pixels + batch, dtype=torch.int64, device=R.device)
        keep = torch.empty(plan.kept_size(), dtype=torch.int64, device=R.device)
        rgb, depth, mask = R.new_empty(batch, 3, h, w), *(R.new_empty(batch, h, w) for _ in "dm")
        face_id = torch.empty(batch, h, w, dtype=torch.int32, device=R.device)
        nearest = zeroed.data_ptr()
        at = plan.pack(
            (0, plan.soft_blocks, plan.tile_blocks),
            (nearest, nearest + 8 * pixels, *plan.kept(keep)),
            (rgb.data_ptr(), depth.data_ptr(), mask.data_ptr(), face_id.data_ptr()),
            (0,) * 8,
        )
        stream = current_stream(R.device)
        code.launch("visibility", plan.face_blocks, batch, at, stream)
        code.launch("visibility_large", plan.tile_blocks, batch, at, stream)
        code.launch("shade", -(-h // 8) * plan.words, batch, at, stream)
        if job.soft_mask:
            code.launch("find_soft", plan.face_blocks, batch, at, stream)
            code.launch("soft_mask", plan.soft_blocks + plan.tile_blocks, batch, at, stream)
            code.launch("finish_mask", -(-pixels // (4 * BLOCK)), 1, at, stream)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(face_id)
        ctx.save_for_backward(R, t, K, vertices, colors, mask, face_id, keep)
        ctx.plan = plan
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
        R, _t, _K, vertices, colors, mask, face_id, keep = ctx.saved_tensors
        plan: _Plan = ctx.plan
        job, batch = plan.job, plan.batch
        if job.shading is not None:
            g_rgb = None
        if not job.soft_mask:
            g_mask = None
        incoming = [g.contiguous() if g is not None else None for g in (g_rgb, g_depth, g_mask)]
        _, _, need_K, need_vertices, need_colors, _ = ctx.needs_input_grad
        out = torch.zeros(batch * (21 if need_K else 12), device=R.device)
        g_R, g_t = out[: 9 * batch].view(batch, 3, 3), out[9 * batch : 12 * batch].view(batch, 3)
        g_K = out[12 * batch :].view(batch, 3, 3) if need_K else None
        g_vertices = torch.zeros_like(vertices) if need_vertices else None
        g_colors = torch.zeros_like(colors) if need_colors and g_rgb is not None else None
        results = (g_R, g_t, g_K, g_vertices, g_colors)
        # a part without an incoming gradient gets no blocks
        blocks = (
            plan.pixel_blocks if g_rgb is not None or g_depth is not None else 0,
            plan.soft_blocks if g_mask is not None else 0,
            plan.tile_blocks if g_mask is not None else 0,
        )
        at = plan.pack(
            blocks,
            (0, 0, *plan.kept(keep)),
            (0, 0, mask.data_ptr(), face_id.data_ptr()),
            tuple(0 if x is None else x.data_ptr() for x in (*incoming, *results)),
        )
        if any(blocks):
            code = kernels(R.device)[0]
            code.launch("backward", sum(blocks), batch, at, current_stream(R.device))
        return (*results, None)
