"""`self6d-studio bench render`: time and memory of the renderer, optionally beside peers'.

Every row renders colour, depth and soft mask of a bumpy sphere that spans 80 % of the shorter image
side, and sends fixed gradients of all three back to the pose, in the calling thread
(`torch.autograd.set_multithreading_enabled(False)`). Times are medians after a warm-up.
nvdiffrast has no soft mask by distance: its rows blend the silhouette over one pixel (`antialias`).
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from self6d.cuda_graph import capture
from self6d.geometry import random_rotations
from self6d.rendering.models import PackedModels, pack_models
from self6d.rendering.renderer import get_backend, render
from self6d.scene import ObjectModel

if TYPE_CHECKING:
    from rich.table import Table

# faces, batch, height, width
CASES = {
    "cpu": (
        (15680, 1, 256, 256), (15680, 8, 256, 256), (15680, 1, 480, 640),
        (980, 1, 256, 256), (5120, 1, 256, 256), (81920, 1, 256, 256), (499280, 1, 256, 256),
    ),
    "cuda": (
        (5120, 1, 128, 128), (5120, 32, 128, 128), (5120, 32, 256, 256), (5120, 32, 480, 640),
        (20480, 1, 256, 256), (20480, 32, 128, 128), (20480, 32, 256, 256), (20480, 32, 480, 640),
        (980, 32, 256, 256), (81920, 32, 256, 256), (327680, 32, 256, 256),
        (81920, 8, 480, 640), (499280, 8, 480, 640),
    ),
}  # fmt: skip
RADIUS_M, DISTANCE_M = 0.05, 0.5
SLOW_PEERS = ("kaolin", "reference")  # they test every pixel against every face,
PEER_FACES = 100_000  # and are not asked for more
ANTIALIAS = "nvdiffrast: mask by antialias (one pixel wide); it has no soft mask by distance"


def bumpy_sphere(faces: int, radius_m: float = RADIUS_M, bump: float = 0.1) -> ObjectModel:
    """A geodesic sphere of 20 m^2 faces, m chosen nearest to `faces`, with bumps and colours."""
    m = max(1, round((faces / 20) ** 0.5))
    golden = (1 + 5**0.5) / 2
    a = np.array([(0, s, t * golden) for s in (-1, 1) for t in (-1, 1)], dtype=float)
    icosahedron = np.concatenate((a, a[:, [2, 0, 1]], a[:, [1, 2, 0]]))
    distance = np.linalg.norm(icosahedron[:, None] - icosahedron[None], axis=-1)
    near = np.isclose(distance, 2)
    corners = np.array([
        (i, j, k)
        for i in range(12) for j in range(i + 1, 12) for k in range(j + 1, 12)
        if near[i, j] and near[j, k] and near[i, k]
    ])  # fmt: skip
    tri = icosahedron[corners]
    outward = np.linalg.det(tri) > 0
    tri[~outward] = tri[~outward][:, ::-1]

    steps = [(i, j) for i in range(m + 1) for j in range(m + 1 - i)]
    number = {ij: n for n, ij in enumerate(steps)}
    grid = [(number[i, j], number[i + 1, j], number[i, j + 1]) for i, j in steps if i + j < m] + [
        (number[i + 1, j], number[i + 1, j + 1], number[i, j + 1])
        for i, j in steps
        if i + j < m - 1
    ]
    weight = np.array([(m - i - j, i, j) for i, j in steps]) / m
    points = (weight[None, :, :, None] * tri[:, None]).sum(2)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    every = (np.array(grid)[None] + len(steps) * np.arange(20)[:, None, None]).reshape(-1, 3)
    unit, index = np.unique(points.reshape(-1, 3).round(9), axis=0, return_inverse=True)
    x, y, z = unit.T
    scale = radius_m * (1 + bump * np.sin(5 * x) * np.cos(4 * y + 3 * z))
    return ObjectModel(
        object_id=1,
        name=f"sphere{20 * m * m}",
        vertices=(unit * scale[:, None]).astype(np.float32),
        faces=index.reshape(-1)[every].astype(np.int32),
        colors=(0.5 + 0.5 * np.sin(7 * unit + np.arange(3))).astype(np.float32),
        diameter=2 * radius_m,
    )


def bench_render(
    device: str = "cpu",
    peers: Sequence[str] = (),
    repeats: int = 30,
    cases: Sequence[tuple[int, int, int, int]] | None = None,
    listener: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure the backend that `render` takes on `device`, and `peers` beside it.

    Args:
        device: "cpu" or "cuda".
        peers: other backends' names ("kaolin", "nvdiffrast", "reference"), timed in the same run.
        repeats: timed repetitions of each row.
        cases: (faces, batch, height, width) of each row; the device's own table if None.
        listener: called with each row as it is done.

    Returns:
        Rows with backend, device, faces, batch, height, width, covered (share of pixels),
        forward_ms, forward_backward_ms, graph_ms (forward and backward inside a captured CUDA
        graph, None on the CPU and for peers) and peak_mb (CUDA: most memory allocated by torch;
        CPU: most memory the process ever held).

    Raises:
        MissingDependencyError: a backend cannot run here.
    """
    own = "cuda" if device.startswith("cuda") else "cpu"
    backends = [own, *peers]
    for name in backends:
        get_backend(name)
    rows = []
    for faces, batch, height, width in cases or CASES[own]:
        model = bumpy_sphere(faces)
        packed = pack_models([model], device)
        inputs = scene(packed, batch, height, width)
        for name in backends:
            if name in SLOW_PEERS and len(model.faces) > PEER_FACES:
                continue
            row: dict[str, Any] = {
                "backend": name,
                "device": torch.cuda.get_device_name() if own == "cuda" else "cpu",
                "faces": len(model.faces),
                "batch": batch,
                "height": height,
                "width": width,
            }
            times = repeats if name == own else max(repeats // 3, 5)
            row |= _measure(name, packed, inputs, (height, width), times, graph=name == "cuda")
            rows.append(row)
            if listener is not None:
                listener(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows as a rich table."""
    from rich.table import Table

    out = Table(
        title=f"render: colour + depth + soft mask, {rows[0]['device']}" if rows else None,
        caption=ANTIALIAS if any(r["backend"] == "nvdiffrast" for r in rows) else None,
    )
    for name in ("backend", "faces", "batch", "image", "forward ms", "+ backward ms", "graph ms",
                 "peak MB"):  # fmt: skip
        out.add_column(name, justify="left" if name == "backend" else "right")
    for r in rows:
        graph = "" if r["graph_ms"] is None else f"{r['graph_ms']:.3f}"
        out.add_row(
            r["backend"], str(r["faces"]), str(r["batch"]), f"{r['height']}x{r['width']}",
            f"{r['forward_ms']:.3f}", f"{r['forward_backward_ms']:.3f}", graph,
            f"{r['peak_mb']:.0f}",
        )  # fmt: skip
    return out


def scene(models: PackedModels, batch: int, height: int, width: int) -> dict[str, Tensor]:
    """R, t, K of random views of `bumpy_sphere`, and gradients rgb, depth, mask to send back."""
    device = models.device
    focal = 0.4 * min(height, width) * DISTANCE_M / RADIUS_M
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    R = random_rotations(batch, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.0, 0.0, DISTANCE_M]).repeat(batch, 1)
    generator = torch.Generator().manual_seed(1)
    shapes = {"rgb": (batch, 3, height, width)} | dict.fromkeys(
        ("depth", "mask"), (batch, height, width)
    )
    grads = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    every = {"R": R, "t": t, "K": K.expand(batch, 3, 3).contiguous(), **grads}
    return {name: x.to(device) for name, x in every.items()}


def _measure(
    backend: str,
    models: PackedModels,
    inputs: dict[str, Tensor],
    size: tuple[int, int],
    repeats: int,
    graph: bool,
) -> dict[str, Any]:
    R, t = inputs["R"].clone().requires_grad_(), inputs["t"].clone().requires_grad_()
    seeds = (inputs["rgb"], inputs["depth"], inputs["mask"])

    def forward() -> Any:
        return render(R, t, inputs["K"], models, size, backend=backend)

    def both() -> Any:
        out = forward()
        # in this thread: to wake torch's own costs a small scene more than its kernels do
        with torch.autograd.set_multithreading_enabled(False):
            return torch.autograd.grad((out.rgb, out.depth_m, out.soft_mask), (R, t), seeds)

    on_gpu = models.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    clock = _gpu_times if on_gpu else _cpu_times
    row = {
        "covered": float(forward().covered.float().mean()),
        "forward_ms": clock(forward, repeats),
        "forward_backward_ms": clock(both, repeats),
        "graph_ms": _gpu_times(capture(both)[0], repeats) if graph else None,
    }
    if on_gpu:
        row["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    else:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return row


def _cpu_times(work: Callable[[], Any], repeats: int) -> float:
    """Median milliseconds by the wall clock."""
    times = []
    for n in range(repeats + 3):
        start = time.perf_counter()
        work()
        if n >= 3:
            times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def _gpu_times(work: Callable[[], Any], repeats: int) -> float:
    """Median milliseconds between CUDA events, calls queued back to back (launches included)."""
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)
