"""The `cuda` backend: six kernels forward, one backward, no host synchronisation.

Kernels (kernels/*.cu) are compiled at run time; see nvrtc.py. They run on torch's current stream,
take their memory from torch and read nothing back, so a call can be captured in a CUDA graph.
Sums over pixels use float atomics: results repeat to rounding, not to the bit.

A call of one small image costs the host more than the device. What depends on sizes alone is
therefore computed once (`_layout`), and a call fills in addresses only.
"""

from __future__ import annotations

import ctypes
import importlib.util
import struct
import threading
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from self6d.errors import InputError
from self6d.rendering.cuda.nvrtc import Arguments, Kernels
from self6d.rendering.job import RenderJob
from self6d.rendering.models import PackedModels
from self6d.rendering.result import Rendering

BLOCK = 256  # as in the kernels
NAMES = (
    "prepare", "visibility", "visibility_large", "shade", "soft_mask", "finish_mask", "backward",
)  # fmt: skip
ADDRESSES = struct.Struct("@36P")  # Params in kernels/geometry.cu: first these,
SIZES = struct.Struct("@17i4f0P")  # then these
ITEM_BYTES = 96  # Item there
_arguments = Arguments(ADDRESSES.size + SIZES.size)
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
def source(full: bool) -> str:
    """The kernels' source text."""
    folder = files("self6d.rendering.cuda") / "kernels"
    parts = (
        "geometry.cu", "prepare.cu", "visibility.cu", "shade.cu", "soft.cu", "backward.cu",
    )  # fmt: skip
    head = f"#define FULL {int(full)}\n"
    return head + "\n".join((folder / name).read_text(encoding="utf-8") for name in parts)


@cache
def _compiled(device: int, full: bool) -> tuple[Kernels, int]:
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    return Kernels(source(full), NAMES, device, BLOCK), processors


def kernels(device: torch.device, full: bool) -> tuple[Kernels, int]:
    """Compiled kernels and the number of multiprocessors of a device.

    Args:
        full: with textures, light and gradients to vertices and colours; slower.
    """
    with _loading:
        return _compiled(device.index, full)


def current_stream(device: torch.device) -> int:
    """Handle of torch's current stream."""
    return torch._C._cuda_getCurrentRawStream(device.index)


class _Layout:
    """Launches, memory and the numbers in Params, for all calls of equal sizes."""

    def __init__(
        self, batch: int, height: int, width: int, faces: int, vertices: int, every: int,
        models: int, textured: bool, light: int, soft: bool, sigma_inv: float, box: float,
        near_m: float, processors: int,
    ):  # fmt: skip
        self.words = -(-width // 32)
        face_blocks = -(-faces // BLOCK)
        vertex_blocks = -(-vertices // BLOCK)
        # few faces are spread over more warps: 16 for each multiprocessor keep it busy
        per_warp = 32
        while per_warp > 4 and batch * faces < 16 * processors * per_warp:
            per_warp //= 2
        soft_blocks = -(-faces // (BLOCK // 32 * per_warp))
        # a few blocks for each multiprocessor, shared by the items
        touching_blocks = min(max(1, -(-8 * processors // batch)), -(-faces // 32))
        tile_blocks = max(1, -(-4 * processors // batch))
        per_thread = min(max(batch * height * width // (BLOCK * 8 * processors), 1), 16)
        pixel_blocks = -(-height * width // (BLOCK * per_thread))
        # `prepare` also clears the pixels, 16 a thread at most
        attribute_blocks = -(-every // (BLOCK * batch))
        prepare_blocks = max(vertex_blocks + attribute_blocks, -(-height * width // (16 * BLOCK)))

        self.forward = [
            ("prepare", prepare_blocks, batch),
            ("visibility", face_blocks, batch),
            ("visibility_large", tile_blocks, batch),
            ("shade", -(-height // 8) * self.words, batch),
        ]
        if soft:
            self.forward += [
                ("soft_mask", soft_blocks + tile_blocks, batch),
                ("finish_mask", -(-batch * height * width // (4 * BLOCK)), 1),
            ]

        def sizes(keep: bool, *blocks: int) -> bytes:
            return SIZES.pack(
                batch, height, width, self.words, faces, vertices, every, models, light, textured,
                soft, keep, vertex_blocks, per_warp, *blocks,
                sigma_inv, box * width / 2, box * height / 2, near_m,
            )  # fmt: skip

        self.forward_sizes = [sizes(keep, soft_blocks, tile_blocks, 0) for keep in (False, True)]
        # by whether mask and pixels have an incoming gradient: a part without gets no blocks
        self.backward = {}
        for mask in (False, True):
            for pixels in (False, True):
                blocks = touching_blocks * mask, tile_blocks * mask, pixel_blocks * pixels
                self.backward[mask, pixels] = sum(blocks), sizes(True, *blocks)

        # turned, attributes, items, queued, touching, queue, uncovered, open in one buffer
        self.places, self.kept = [], 0
        for size in (
            16 * batch * vertices, 32 * every, ITEM_BYTES * batch, 8 * batch, 8 * batch,
            8 * batch * faces, 4 * batch * height * self.words,
            batch * -(-height // 8) * self.words,
        ):  # fmt: skip
            self.places.append(self.kept)
            self.kept += -(-size // 16) * 16


_layout = lru_cache(maxsize=256)(_Layout)


def _prepared(m: PackedModels) -> tuple[tuple[int, ...], int, tuple[Tensor, ...]]:
    """Addresses of normals, ..., levels in the order of Params; most vertices; what holds them.

    Faces are padded to four numbers, once for all calls.
    """
    if "cuda" in m.cache:
        return m.cache["cuda"]
    faces = torch.nn.functional.pad(m.faces, (0, 1))
    tensors = (
        m.normals, m.uv, faces, m.vertex_offset, m.face_offset, m.texels, m.mips, m.levels,
    )  # fmt: skip
    found = tuple(x.data_ptr() for x in tensors), max(m.vertex_counts), tensors
    if not (faces.is_cuda and torch.cuda.is_current_stream_capturing()):
        # a graph's memory is written at its replay: not for other calls
        if faces.is_cuda:
            torch.cuda.current_stream().synchronize()  # other streams may read it
        m.cache["cuda"] = found
    return found


def _pack(
    job: RenderJob, models: tuple[int, ...], sizes: bytes, nearest: int, kept: list[int],
    out: tuple[int, ...], grads: tuple[int, ...],
) -> int:  # fmt: skip
    """Write Params; returns the address that a launch takes.

    Args:
        out: addresses of rgb, depth, mask, face_id.
        grads: of g_rgb, g_depth, g_mask, g_R, g_t, g_K, g_vertices, g_colors or 0.
    """
    buffer = _arguments.buffer
    ADDRESSES.pack_into(
        buffer, 0,
        job.R.data_ptr(), job.t.data_ptr(), job.K.data_ptr(), job.vertices.data_ptr(),
        job.colors.data_ptr(), 0 if job.shading is None else job.shading.data_ptr(),
        job.object_index.data_ptr(), *models, nearest, *kept, *out, *grads,
    )  # fmt: skip
    ctypes.memmove(_arguments.start + ADDRESSES.size, sizes, SIZES.size)
    return _arguments.address


NO_GRADS = (0,) * 8


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, R: Tensor, t: Tensor, K: Tensor, vertices: Tensor, colors: Tensor, job: RenderJob
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        device, models, light = R.device, job.models, job.shading
        prepared = _prepared(models)
        batch, h, w = R.shape[0], job.height, job.width
        code, processors = kernels(device, models.textured or light is not None)
        layout = _layout(
            batch, h, w, job.max_faces, prepared[1], vertices.shape[0], len(models),
            models.textured, 0 if light is None else light.shape[1], job.soft_mask, job.sigma_inv,
            job.box, job.near_m, processors,
        )  # fmt: skip
        nearest = torch.empty(batch * h * w, dtype=torch.int64, device=device)
        memory = torch.empty(layout.kept, dtype=torch.uint8, device=device)
        rgb, depth, mask = R.new_empty(batch, 3, h, w), *(R.new_empty(batch, h, w) for _ in "dm")
        face_id = torch.empty(batch, h, w, dtype=torch.int32, device=device)
        start = memory.data_ptr()
        at = _pack(
            job,
            prepared[0],
            layout.forward_sizes[any(ctx.needs_input_grad)],
            nearest.data_ptr(),
            [start + place for place in layout.places],
            (rgb.data_ptr(), depth.data_ptr(), mask.data_ptr(), face_id.data_ptr()),
            NO_GRADS,
        )
        stream = current_stream(device)
        for name, grid_x, grid_y in layout.forward:
            code.launch(name, grid_x, grid_y, at, stream)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(face_id)
        ctx.save_for_backward(mask, face_id, memory)
        ctx.job, ctx.layout, ctx.prepared = job, layout, prepared
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
        mask, face_id, memory = ctx.saved_tensors
        job: RenderJob = ctx.job
        layout: _Layout = ctx.layout
        device, batch = job.R.device, job.R.shape[0]
        # contiguous copies are held until the launch
        g_rgb = None if g_rgb is None or job.shading is not None else g_rgb.contiguous()
        g_depth = None if g_depth is None else g_depth.contiguous()
        g_mask = None if g_mask is None or not job.soft_mask else g_mask.contiguous()
        _, _, need_K, need_vertices, need_colors, _ = ctx.needs_input_grad
        out = torch.zeros(batch * (21 if need_K else 12), device=device)
        g_R = out.as_strided((batch, 3, 3), (9, 3, 1))
        g_t = out.as_strided((batch, 3), (3, 1), 9 * batch)
        g_K = out.as_strided((batch, 3, 3), (9, 3, 1), 12 * batch) if need_K else None
        g_vertices = torch.zeros_like(job.vertices) if need_vertices else None
        g_colors = torch.zeros_like(job.colors) if need_colors and g_rgb is not None else None
        blocks, sizes = layout.backward[
            g_mask is not None, g_rgb is not None or g_depth is not None
        ]
        if blocks:
            start = memory.data_ptr()
            grads = (g_rgb, g_depth, g_mask, g_R, g_t, g_K, g_vertices, g_colors)
            at = _pack(
                job,
                ctx.prepared[0],
                sizes,
                0,
                [start + place for place in layout.places],
                (0, 0, mask.data_ptr(), face_id.data_ptr()),
                tuple([0 if x is None else x.data_ptr() for x in grads]),
            )
            full = job.models.textured or need_vertices or need_colors
            code = kernels(device, full)[0]
            code.launch("backward", blocks, batch, at, current_stream(device))
        return g_R, g_t, g_K, g_vertices, g_colors, None
