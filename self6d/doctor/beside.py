"""Whether depth lies on the colours: its outlines against the images' edges, frame by frame."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from self6d.doctor.report import DoctorReport, Finding
from self6d.geometry.outlines import (
    REACH,
    Gradient,
    Shift,
    colour_shift,
    depth_outline,
    edge_profiles,
)
from self6d.scene import Frame

WIDTH = 640  # pixels that an image is looked at in, at most
STEP = 0.05  # of the depth, that counts as an outline
POINTS, FEWEST = 1500, 120
GROWN = (-1.0, 0.0, 1.0, 2.0, 3.0)  # pixels that sensors draw things too large or too small by
LEAST = 1.5  # pixels: what is less is how outlines of a sensor are
SURE = 3.0  # standard deviations
GAIN = 0.04  # of the strength of edges under the outlines
MISLED = 0.3  # pixels, that no frame is surer than
_REMEDY = (
    "Record depth aligned to colour, both taken at one instant (synchronised, or the camera held "
    'still), or state "depth_to_color". track puts its poses onto the colours by itself; what else '
    "uses depth takes it as it is."
)


@dataclass(frozen=True)
class FrameShift:
    """One frame's shift.

    Attributes:
        pixels: (2,), of the frame. sure: whether it tells by itself.
    """

    image: int
    shift: Shift
    pixels: np.ndarray
    sure: bool


def examine_registration(report: DoctorReport, frames: Sequence[Frame]) -> bool:
    """Say where depth lies beside the colours: throughout, or in some of the frames.

    Args:
        frames: some of the recording's; those without depth are passed over.

    Returns:
        whether any of them could tell.
    """
    seen = [s for s in map(frame_shift, frames) if s is not None]
    what = lies_beside(seen)
    if what is not None:
        report.findings.append(Finding("depth-beside", "warning", what, remedy=_REMEDY))
    return bool(seen)


def lies_beside(seen: Sequence[FrameShift]) -> str | None:
    """In words, how depth lies beside the colours of the frames looked at; None: it does not.

    Throughout, if the median is surely more than nothing; else where single frames are sure.
    """
    if not seen:
        return None
    pixels = np.array([s.pixels for s in seen])
    across, down = np.median(pixels, axis=0)
    spread = error_of_median(pixels)
    gain = np.median([s.shift.after - s.shift.before for s in seen])
    size = float(np.hypot(across, down))
    surely = size >= max(LEAST, SURE * float(np.hypot(*spread)))
    if len(seen) > 2 and gain >= GAIN and surely:
        return (
            f"depth lies {size:.1f} pixels beside the colours in the {len(seen)} frames looked at: "
            f"it would have to move {abs(across):.1f} to the {'right' if across > 0 else 'left'} "
            f"and {abs(down):.1f} {'down' if down > 0 else 'up'}"
        )
    own = [s for s in seen if s.sure]
    if len(own) < min(2, len(seen)):
        return None
    most = max(float(np.linalg.norm(s.pixels)) for s in own)
    images = ", ".join(str(s.image) for s in own)
    return (
        f"depth lies up to {most:.1f} pixels beside the colours in {len(own)} of "
        f"{len(seen)} frames looked at (images {images})"
    )


def error_of_median(values: np.ndarray) -> np.ndarray:
    """How sure the median over (N, ...) is, (...): its deviation if the values were normal."""
    away = np.abs(values - np.median(values, axis=0))
    return 1.4826 * np.median(away, axis=0) / np.sqrt(len(values))


def frame_shift(frame: Frame) -> FrameShift | None:
    """How far depth lies beside the colours of a frame; None: it does not tell.

    Images that were asked about before are not looked at again: the doctor comes back to a
    recording's frames with every model that is opened, and with every fix.
    """
    if frame.depth_m is None:
        return None
    digest = hashlib.blake2b(repr((frame.rgb.shape, frame.depth_m.dtype)).encode(), digest_size=16)
    for part in (frame.rgb, frame.depth_m):
        digest.update(np.ascontiguousarray(part).data)
    key = digest.digest()
    if key not in _known:
        _known[key] = _look(frame)
    seen = _known[key]
    return None if seen is None else replace(seen, image=frame.image_id)


_known: dict[bytes, FrameShift | None] = {}


def _look(frame: Frame) -> FrameShift | None:
    assert frame.depth_m is not None
    rgb: np.ndarray = frame.rgb
    depth: np.ndarray = frame.depth_m.astype(np.float32)
    scale = min(1.0, WIDTH / max(depth.shape))
    if scale < 1:
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        depth = cv2.resize(depth, rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    outline = depth_outline(cv2.medianBlur(depth, 5), STEP)
    inside = (outline.pixel >= REACH) & (outline.pixel < np.array(depth.shape[::-1]) - REACH)
    outline = outline.chosen(np.flatnonzero(np.all(inside, axis=1)))
    if len(outline) < FEWEST:
        return None
    if len(outline) > POINTS:
        outline = outline.chosen(np.random.default_rng(0).permutation(len(outline))[:POINTS])
    profiles = edge_profiles(Gradient.of(rgb), outline)
    found = [colour_shift(profiles, outline, grown) for grown in GROWN]
    shifts = [s for s in found if s is not None]
    if not shifts:
        return None
    best = max(shifts, key=lambda s: s.after)
    before = max(s.before for s in shifts)
    best = Shift(best.pixels, best.spread, before, best.after)
    far = float(np.linalg.norm(best.pixels))
    unsure = float(np.sqrt(np.trace(best.spread) + MISLED**2))
    sure = far >= max(LEAST, SURE * unsure) and best.after - before >= GAIN
    return FrameShift(frame.image_id, best, best.pixels / scale, sure)
