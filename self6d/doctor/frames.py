"""The doctor's look at frames: files, cameras, depth, labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.depth_scale import likely
from self6d.datasets.images import complete, to_metres
from self6d.datasets.recording import Recording
from self6d.doctor.extents import check_scale
from self6d.doctor.report import LEFT_OUT, DoctorReport, Finding
from self6d.doctor.scales import add_scale, weigh_scale
from self6d.errors import InputError
from self6d.files import is_lfs_stub
from self6d.scene import Frame, ObjectModel

At = Callable[[int, int, str], None]

_LOW_VALID = 0.3
_ENDS = ((b"\x89PNG", b"IEND", "PNG"), (b"\xff\xd8", b"\xff\xd9", "JPEG"))
_REPAIRS = ("grey image", "transparency", "16-bit colour", "equal channels", "negative, infinite",
            "enlarged to", "turned upright",
            "read as unknown", "distortion")  # fmt: skip


def is_repair(what: str) -> bool:
    """Whether a reader's note tells of pixels it mended, which a copy would hold mended."""
    return any(words in what for words in _REPAIRS)


def spread(total: int, count: int) -> list[int]:
    """Up to `count` indices spread over `total`."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int)).tolist()


def examine_files(
    report: DoctorReport, dataset: Recording, at: At, indices: Sequence[int] | None = None
) -> None:
    """Look at both ends of image files: missing, empty, truncated, Git-LFS pointers.

    Args:
        indices: of the frames to look at; None: all.
    """
    faults: dict[str, list] = {}
    depthless = 0
    chosen = range(len(dataset)) if indices is None else indices
    for number, index in enumerate(chosen):
        key = dataset.keys[index]
        if number % 500 == 0:
            at(number, len(chosen), "files")
        try:
            source = dataset.source(key)
        except InputError as error:
            faults.setdefault(error.what, []).append((key, error.path))
            continue
        depthless += source.depth is None
        for path in (source.rgb, source.depth):
            if path is not None and (fault := _file_fault(path)):
                faults.setdefault(fault, []).append((key, path))
    for what, cases in faults.items():
        keys = sorted({key for key, _ in cases})
        skip = [[k.scene_id, k.image_id] for k in keys]
        remedy = f"Copy or record them again{LEFT_OUT}"
        if "Git-LFS" in what:
            remedy = "Run `git lfs pull` in their repository."
        correction = {"skip": skip} if len(keys) < len(dataset) else {}
        text = what if len(cases) == 1 else f"{what} (and {len(cases) - 1} more)"
        report.findings.append(
            Finding("files", "error", text, str(cases[0][1]), remedy, correction)
        )
    if depthless == len(chosen):
        report.findings.append(
            Finding(
                "no-depth",
                "warning",
                "no frame has depth, so the geometric term cannot be used",
                remedy="Record depth, or go on without: track follows objects by colours alone, "
                "and adapt takes the visual terms.",
            )
        )


def _file_fault(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1024))
            tail = file.read()
            if not size:
                return "is empty"
            if is_lfs_stub(head):
                return "is a Git-LFS pointer"
            for start, mark, name in _ENDS:
                if head.startswith(start) and mark not in tail:
                    file.seek(0)  # something may follow the end mark
                    return "" if complete(file.read()) else f"{name} is truncated"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def sample(report: DoctorReport, dataset: Recording, count: int, at: At) -> list[Frame]:
    """Read some frames spread over the recording; those that fail become findings."""
    indices = spread(len(dataset), count)
    frames = []
    known = {f.path for f in report.findings if f.code == "files"}
    for number, index in enumerate(indices):
        at(number, len(indices), "frames")
        try:
            frames.append(dataset.frame(int(index)))
        except InputError as error:
            key = dataset.keys[int(index)]
            already = any(
                f.code == "files" and [key.scene_id, key.image_id] in f.correction.get("skip", [])
                for f in report.findings
            )
            if not already and str(error.path) not in known:
                report.findings.append(
                    Finding(
                        "frame",
                        "error",
                        error.what,
                        str(error.path or ""),
                        error.remedy or "",
                        {"skip": [[key.scene_id, key.image_id]]} if len(dataset) > 1 else {},
                    )
                )
    if frames:
        report.image_size = frames[0].camera.size
    return frames


def examine_depth(
    report: DoctorReport,
    dataset: Recording,
    frames: Sequence[Frame],
    models: Sequence[ObjectModel],
    *,
    labels: bool = True,
) -> None:
    """Valid share, range, quantisation, and the scale against the CAD models' size."""
    diameters_m = [model.diameter for model in models]
    with_depth = [f for f in frames if f.depth_m is not None]
    if not with_depth:
        return
    values = [d[d > 0] for d in (f.depth_m for f in with_depth) if d is not None]
    shares = [v.size / (f.camera.width * f.camera.height) for v, f in zip(values, with_depth)]
    path = str(dataset.source(dataset.keys[0]).depth or dataset.root)
    together = np.concatenate([v[::17] for v in values])
    stated = dataset.source(dataset.keys[0]).metres_per_unit
    if not together.size:
        unit, with_depth = _reread(dataset, with_depth)
        if unit is None:
            report.findings.append(
                Finding("depth-empty", "error", "no depth image holds a value", path, "Record it.")
            )
        else:
            unit = check_scale(with_depth, diameters_m, unit).metres_per_unit
            add_scale(report, path, stated, unit, "as it stands, nothing lies within 100 m")
        return
    near, middle, far = (float(v) for v in np.percentile(together, (1, 50, 99)))
    report.depth = {
        "valid": float(np.mean(shares)), "median_m": middle, "near_m": near, "far_m": far,
    }  # fmt: skip
    if np.mean(shares) < _LOW_VALID:
        report.findings.append(
            Finding(
                "depth-sparse",
                "warning",
                f"only {100 * np.mean(shares):.0f} % of the depth pixels are valid",
                path,
                "Move closer, avoid shiny and dark surfaces, or fill holes when recording.",
            )
        )
    if len(np.unique(values[0])) < 64 < values[0].size:
        report.findings.append(
            Finding(
                "depth-coarse",
                "warning",
                f"depth takes only {len(np.unique(values[0]))} different values",
                path,
                "Record 16-bit depth; this looks like 8-bit depth stretched.",
            )
        )
    weigh_scale(report, dataset, stated, with_depth, models, middle, path, labels=labels)


def _reread(dataset: Recording, frames: Sequence[Frame]) -> tuple[float | None, list[Frame]]:
    """Frames read at a guessed scale, where the stated one puts everything out of range."""
    stored = (dataset.raw_depth(FrameKey(f.scene_id, f.image_id)) for f in frames)
    raw = [depth for depth in stored if depth is not None]
    if not any(r.any() for r in raw):
        return None, []
    unit, _ = likely(raw)
    depths = (to_metres(r, unit, dataset.root) for r in raw)
    return unit, [replace(f, depth_m=d) for f, d in zip(frames, depths, strict=True)]
