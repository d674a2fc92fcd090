"""The differentiable renderer: one function, several backends."""

from __future__ import annotations

import importlib
import math
import operator

import torch
from torch import Tensor

from self6d.errors import InputError, MissingDependencyError
from self6d.rendering.job import Backend, RenderJob
from self6d.rendering.models import PackedModels
from self6d.rendering.result import Rendering
from self6d.rendering.shading import Shading

# name -> (module, function); a module's `unavailable()` says in one line why it cannot be used
BACKENDS = {
    "reference": ("self6d.rendering.reference", "render_reference"),
    "cpu": ("self6d.rendering.cpu.backend", "render_cpu"),
    "cuda": ("self6d.rendering.cuda.backend", "render_cuda"),
    "kaolin": ("self6d.rendering.kaolin_backend", "render_kaolin"),
    "nvdiffrast": ("self6d.rendering.nvdiffrast_backend", "render_nvdiffrast"),
}
_loaded: dict[str, Backend] = {}


def render(
    R: Tensor,
    t: Tensor,
    K: Tensor,
    models: PackedModels,
    size: tuple[int, int],
    *,
    object_index: Tensor | None = None,
    shading: Shading | None = None,
    soft_mask: bool = True,
    sigma_inv: float = 7000.0,
    box: float = 0.02,
    near_m: float = 0.01,
    backend: str = "auto",
    vertices: Tensor | None = None,
    colors: Tensor | None = None,
) -> Rendering:
    """Render one object per item: (I_R, D_R, M_R) = R(R, t, K, M), Self6D equation (1).

    A pixel shows the nearest face at its centre (ties: the lowest face number), back faces too,
    with perspective-correct barycentrics. As in DIB-R (Chen et al., NeurIPS 2019), colour and depth
    pass gradients to the corners of the visible face, not across silhouettes, and the mask of an
    uncovered pixel is 1 - prod_f (1 - exp(-d2 sigma_inv)), d2 being the squared distance to face f
    in image coordinates that span [-1, 1] on both axes. The product runs over all faces whose
    bounding box, enlarged by `box`, holds the pixel; kaolin stops at the first `knum` of them.

    Faces that cross the near plane are clipped for colour and depth and left out of the soft mask.
    On a GPU the backward pass of one small scene is mostly the waking of autograd's own thread;
    `torch.autograd.set_multithreading_enabled(False)` around it spares that.

    Args:
        R: (B, 3, 3), model to camera. t: (B, 3), metres.
        K: (B, 3, 3) or (3, 3), pixels, upper triangular with last row (0, 0, 1); corner-based pixel
            coordinates (`self6d.geometry.pixel_centres`). For crops use `crop_intrinsics`.
        models: from `pack_models`, on the device and of the dtype of R.
        size: (height, width), pixels.
        object_index: (B,) int, position in `models` of each item's object; None: all show model 0.
        shading: light for synthetic images; rgb then carries no gradient.
        soft_mask: False gives the hard silhouette, without gradient.
        sigma_inv: sharpness of the soft mask, 1 / (image units squared).
        box: enlargement of the faces' boxes, image units (two span the image).
        near_m: nothing nearer than this is drawn, metres, > 0.
        backend: "auto" or one of `BACKENDS` (see `available_backends`); "nvdiffrast" has another
            soft mask.
        vertices: (V, 3), metres; replaces `models.vertices`, gradients flow to it.
        colors: (V, 3); replaces `models.colors`, gradients flow to it.

    Returns:
        Rendering on the device and of the dtype of R; gradients reach R, t and, where they require
        it, K, vertices and colors. They are finite always.

    Raises:
        InputError: shapes, dtypes or devices that do not fit.
        MissingDependencyError: the backend asked for cannot run here.

    >>> models = pack_models(load_models(recording / "models"))
    >>> K = torch.tensor([[100.0, 0, 40], [0, 100.0, 30], [0, 0, 1]])
    >>> view = render(torch.eye(3)[None], torch.tensor([[0.0, 0, 0.5]]), K, models, (60, 80))
    >>> view.rgb.shape, view.depth_m.shape
    (torch.Size([1, 3, 60, 80]), torch.Size([1, 60, 80]))
    """
    job = _checked(
        R, t, K, models, size, object_index, shading, soft_mask, sigma_inv, box, near_m,
        vertices, colors,
    )  # fmt: skip
    return get_backend(_choose(job) if backend == "auto" else backend)(job)


def get_backend(name: str) -> Backend:
    """The backend called `name`.

    Raises:
        InputError: no such backend.
        MissingDependencyError: it cannot run here; the message says what to install.
    """
    if name in _loaded:
        return _loaded[name]
    if name not in BACKENDS:
        raise InputError(
            f"no render backend is called {name!r}", remedy=f"Choose one of {', '.join(BACKENDS)}."
        )
    module_name, function = BACKENDS[name]
    module = importlib.import_module(module_name)
    reason = module.unavailable() if hasattr(module, "unavailable") else None
    if reason is not None:
        what, _, remedy = reason.partition(": ")
        raise MissingDependencyError(f"render backend {name!r}: {what}", remedy=remedy)
    _loaded[name] = getattr(module, function)
    return _loaded[name]


def available_backends() -> dict[str, str | None]:
    """Backend name -> None if it can run here, else why not and what to install, in one line."""
    reasons: dict[str, str | None] = {}
    for name in BACKENDS:
        try:
            get_backend(name)
            reasons[name] = None
        except MissingDependencyError as error:
            reasons[name] = error.one_line()
    return reasons


def _choose(job: RenderJob) -> str:
    if job.R.dtype != torch.float32:
        return "reference"
    return "cuda" if job.R.is_cuda else "cpu"


def _checked(
    R: Tensor,
    t: Tensor,
    K: Tensor,
    models: PackedModels,
    size: tuple[int, int],
    object_index: Tensor | None,
    shading: Shading | None,
    soft_mask: bool,
    sigma_inv: float,
    box: float,
    near_m: float,
    vertices: Tensor | None,
    colors: Tensor | None,
) -> RenderJob:
    for name, value in {"R": R, "t": t, "K": K, "object_index": object_index}.items():
        if not isinstance(value, Tensor) and (value is not None or name != "object_index"):
            raise InputError(
                f"{name} is of type {type(value).__name__}, not a torch tensor",
                remedy=f"Give torch.as_tensor({name}).",
            )
    batch, device, dtype = R.shape[:1].numel(), R.device, R.dtype
    if R.shape != (batch, 3, 3) or t.shape != (batch, 3) or batch == 0:
        raise InputError(
            f"poses have shapes {tuple(R.shape)} and {tuple(t.shape)}",
            remedy="Give R as (B, 3, 3) and t as (B, 3) with B at least 1.",
        )
    if K.shape == (3, 3):
        K = K.expand(batch, 3, 3)
    if K.shape != (batch, 3, 3):
        raise InputError(
            f"camera matrices have shape {tuple(K.shape)}",
            remedy=f"Give (3, 3) or ({batch}, 3, 3).",
        )
    height, width = _whole_size(size)
    if not (near_m > 0 and sigma_inv > 0 and box >= 0 and math.isfinite(sigma_inv + box + near_m)):
        raise InputError(
            f"near_m={near_m}, sigma_inv={sigma_inv}, box={box} are out of range",
            remedy="near_m and sigma_inv are positive, box is not negative.",
        )
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"poses are {dtype}", remedy="Render in float32 (disable autocast here).")
    vertices = models.vertices if vertices is None else vertices
    colors = models.colors if colors is None else colors
    for name, value in (("vertices", vertices), ("colors", colors)):
        if value.shape != models.vertices.shape:
            raise InputError(
                f"{name} have shape {tuple(value.shape)}, the models have "
                f"{tuple(models.vertices.shape)}"
            )
    for name, value in (("t", t), ("K", K), ("vertices", vertices), ("colors", colors)):
        if value.device != device or value.dtype != dtype:
            raise InputError(
                f"{name} is {value.dtype} on {value.device}, R is {dtype} on {device}",
                remedy="Move both to one device and dtype (PackedModels.to, pack_models(dtype=)).",
            )
    return RenderJob(
        R=R.contiguous(),
        t=t.contiguous(),
        K=K.contiguous(),
        vertices=vertices.contiguous(),
        colors=colors.contiguous(),
        models=models,
        object_index=_indices(object_index, batch, models),
        max_faces=models.face_counts[0] if object_index is None else max(models.face_counts),
        height=height,
        width=width,
        shading=None if shading is None else shading.packed(batch, device, dtype),
        soft_mask=soft_mask,
        sigma_inv=float(sigma_inv),
        box=float(box),
        near_m=float(near_m),
    )


def _whole_size(size: tuple[int, int]) -> tuple[int, int]:
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        raise InputError(
            f"image size {size} is not two whole numbers", remedy="Give (height, width)."
        ) from None
    if not (1 <= height <= 32768 and 1 <= width <= 32768):
        raise InputError(f"image size {height}x{width} is not between 1 and 32768")
    return height, width


def _indices(object_index: Tensor | None, batch: int, models: PackedModels) -> Tensor:
    if object_index is None:
        key = ("zero_index", batch)
        if key not in models.cache:
            models.cache[key] = torch.zeros(batch, dtype=torch.int32, device=models.device)
        return models.cache[key]
    if object_index.shape != (batch,) or object_index.is_floating_point():
        raise InputError(
            f"object_index is {object_index.dtype} {tuple(object_index.shape)}",
            remedy=f"Give ({batch},) whole numbers.",
        )
    index = object_index.to(models.device, torch.int32)
    # on a GPU this look would stall the stream; kernels clamp instead
    if not index.is_cuda and bool(((index < 0) | (index >= len(models))).any()):
        raise InputError(
            f"object_index {index.tolist()} leaves the {len(models)} models packed",
            remedy="It is the position in the sequence given to pack_models.",
        )
    return index
