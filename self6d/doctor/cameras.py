"""The doctor's look at cameras: K of every frame against its image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.camera_files import doubt, impossible, size_ratio
from self6d.datasets.intrinsics import Intrinsics
from self6d.datasets.recording import Recording
from self6d.doctor.report import DoctorReport, Finding
from self6d.errors import InputError
from self6d.scene import Frame

At = Callable[[int, int, str], None]


@dataclass(frozen=True)
class _Fault:
    code: str
    severity: str
    what: str
    remedy: str
    ratio: float | None = None


def examine_cameras(
    report: DoctorReport,
    dataset: Recording,
    frames: Sequence[Frame],
    at: At,
    indices: Iterable[int] | None = None,
) -> None:
    """K of every frame (or of some) against its image: possible, in its middle, of its size.

    Args:
        frames: those that were read, whose sizes are known; the others count as of the commonest.
    """
    if not frames:
        return
    sizes = {FrameKey(f.scene_id, f.image_id): f.camera.size for f in frames}
    counts = Counter(sizes.values()).most_common()
    common = counts[0][0]
    if len(counts) > 1:
        told = [f"{n} of {size[1]}x{size[0]}" for size, n in counts[:3]]
        more = ["..."] if len(counts) > 3 else []
        other = next(key for key, size in sizes.items() if size != common)
        what = (
            f"images are of several sizes: of {len(sizes)} read, {', '.join(told + more)}, "
            f"such as image {other.image_id} of scene {other.scene_id}"
        )
        report.findings.append(Finding("sizes", "info", what))
    K = frames[0].camera.K_opencv
    report.camera = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    chosen = list(range(len(dataset)) if indices is None else indices)
    seen: dict[tuple, tuple[str, list[_Fault]]] = {}
    cases: dict[str, list[tuple[FrameKey, str, _Fault]]] = {}
    for number, index in enumerate(chosen):
        if number % 500 == 0:
            at(number, len(chosen), "cameras")
        key = dataset.keys[index]
        try:
            stated = dataset.source(key).intrinsics
        except InputError:
            continue  # a finding of `examine_files`
        size = sizes.get(key, common)
        same = (stated.K.tobytes(), stated.width, stated.height, size)
        if same not in seen:
            seen[same] = (str(stated.source or ""), _faults(stated, *size))
        path, faults = seen[same]
        for fault in faults:
            cases.setdefault(fault.code, []).append((key, path, fault))
    for found in cases.values():
        _report(report, found, len(chosen))


def _report(
    report: DoctorReport, found: list[tuple[FrameKey, str, _Fault]], looked_at: int
) -> None:
    (key, path, fault), count = found[0], len(found)
    what = fault.what
    if count < looked_at:
        what = f"{count} of {looked_at} frames, such as {key.image_id}: {what}"
    correction: dict = {}
    if {f.ratio for _, _, f in found} == {fault.ratio} and fault.ratio and count == looked_at:
        correction = {"k_factor": 1 / fault.ratio}
    report.findings.append(
        Finding(fault.code, fault.severity, what, path, fault.remedy, correction)  # type: ignore[arg-type]
    )


def _faults(stated: Intrinsics, height: int, width: int) -> list[_Fault]:
    w, h = width, height
    if stated.width and stated.height:
        w, h = stated.width, stated.height
    K = stated.K
    if K.shape != (3, 3) or not np.isfinite(K).all():
        return [_Fault("intrinsics", "error", "K is not a finite 3x3 matrix", "Write it again.")]
    what, remedy = impossible(K, w, h)
    if what:
        return [_Fault("intrinsics", "error", what, remedy)]
    faults = []
    ratio = size_ratio(K, w, h)
    off = (K[0, 2] + 0.5) / (w / 2), (K[1, 2] + 0.5) / (h / 2)
    if ratio is not None:
        faults.append(
            _Fault(
                "intrinsics-size",
                "error",
                f"K is for images of about {w * ratio:.0f}x{h * ratio:.0f}, these are {w}x{h}",
                f"Divide fx, fy, cx and cy by {ratio:.3g}, or state beside K the width and height "
                "of the images that it was made for.",
                ratio,
            )
        )
    elif not (0.6 < off[0] < 1.4 and 0.6 < off[1] < 1.4):
        faults.append(
            _Fault(
                "intrinsics-centre",
                "warning",
                f"principal point ({K[0, 2]:.0f}, {K[1, 2]:.0f}) is far from the middle of "
                f"{w}x{h} images",
                "Check that K belongs to these images (cropped images keep such a K).",
            )
        )
    elif why := doubt(K, w, h, stated.width is not None):
        what, _, remedy = why.partition(": ")
        faults.append(_Fault("intrinsics-centre", "warning", what, f"Check it: {remedy}."))
    view = 2 * np.degrees(np.arctan(w / 2 / K[0, 0]))
    if not 8 < view < 130:
        faults.append(
            _Fault(
                "intrinsics-focal",
                "error",
                f"fx {K[0, 0]:.4g} gives a field of view of {view:.0f} degrees",
                "State fx and fy in pixels, not in millimetres.",
            )
        )
    if abs(K[0, 0] / K[1, 1] - 1) > 0.1:
        faults.append(
            _Fault(
                "intrinsics-aspect",
                "info",
                f"fx {K[0, 0]:.1f} and fy {K[1, 1]:.1f} differ: pixels are not square",
                "Right if the images were stretched; else check K.",
            )
        )
    return faults
