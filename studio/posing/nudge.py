"""Moving a pose by hand: pure functions that keys and the mouse call."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent

from studio.engine.compose import box_corners, project, rotate_about
from studio.engine.types import ModelCard, PoseData

FINE_MM, COARSE_MM = 1.0, 10.0
FINE_DEG, COARSE_DEG = 1.0, 10.0
LEAST_PX = 3.0  # an object that is smaller is not seen


def centre_of(pose: PoseData, model: ModelCard) -> np.ndarray:
    """The middle of the model's box in the camera frame, metres."""
    return pose.R @ model.extents.mean(0) + pose.t


def shift(pose: PoseData, delta_m: np.ndarray) -> PoseData:
    """Move by (3,) metres, camera axes."""
    return replace(pose, t=pose.t + np.asarray(delta_m), score=1.0)


def shift_pixels(pose: PoseData, model: ModelCard, K: np.ndarray, dx: float, dy: float) -> PoseData:
    """Move parallel to the image so that the object's centre moves by so many pixels."""
    z = centre_of(pose, model)[2]
    return shift(pose, np.array([dx * z / K[0, 0], dy * z / K[1, 1], 0.0]))


def push(pose: PoseData, model: ModelCard, metres: float) -> PoseData:
    """Farther (or nearer) along the viewing ray: the object keeps its place in the image."""
    centre = centre_of(pose, model)
    if centre[2] <= 0:  # no ray leads to it: back towards the picture, or away
        return shift(pose, np.array([0.0, 0.0, metres]))
    moved = centre * max((centre[2] + metres) / centre[2], 0.05)
    return shift(pose, moved - centre)


def unseen(pose: PoseData, model: ModelCard, K: np.ndarray, size: tuple[int, int]) -> str:
    """Where an object is that the picture does not show, as "is ..."; "" where it shows it.

    By its box, so that a corner of the picture may be called filled that is not.

    Args:
        K: (3, 3), pixels. size: height and width of the picture, pixels.
    """
    middle = centre_of(pose, model)
    if middle[2] <= 0:
        return f"behind the camera ({1000 * middle[2]:.0f} mm)"
    corners = project(box_corners(model), pose, K)
    if not np.isfinite(corners).all():
        return "so near that part of it is behind the camera"
    (left, top), (right, bottom), (high, wide) = corners.min(0), corners.max(0), size
    ways = {
        "to the left": right < 0, "to the right": left > wide, "above": bottom < 0,
        "below": top > high,
    }  # fmt: skip
    outside = [way for way, is_so in ways.items() if is_so]
    if outside:
        return f"outside the picture, {' and '.join(outside)}"
    picture = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    hull = cv2.convexHull(corners.astype(np.float32))
    if max(right - left, bottom - top) < LEAST_PX:
        return f"so far away ({middle[2]:.1f} m) that it is smaller than {LEAST_PX:.0f} pixels"
    if cv2.intersectConvexConvex(hull, picture)[0] <= 0:
        return "outside the picture"
    return ""


def turn(pose: PoseData, model: ModelCard, axis: np.ndarray, degrees: float) -> PoseData:
    """Turn about the object's own centre; the axis is in camera coordinates."""
    A = rotate_about(np.asarray(axis, float), degrees)
    centre = centre_of(pose, model)
    return replace(pose, R=A @ pose.R, t=centre + A @ (pose.t - centre), score=1.0)


def roll(pose: PoseData, model: ModelCard, degrees: float) -> PoseData:
    """Turn about the line of sight: clockwise in the image for positive angles."""
    return turn(pose, model, centre_of(pose, model), degrees)


def to_angles(R: np.ndarray) -> tuple[float, float, float]:
    """Roll, pitch and yaw, degrees: about the camera's fixed axes x, y, z, in this order.

    Where pitch is a right angle only roll and yaw together count, and roll is 0.
    """
    pitch = np.arcsin(np.clip(-R[2, 0], -1, 1))
    if abs(R[2, 0]) > 1 - 1e-9:
        roll_, yaw = 0.0, np.arctan2(-R[0, 1], R[1, 1])
    else:
        roll_, yaw = np.arctan2(R[2, 1], R[2, 2]), np.arctan2(R[1, 0], R[0, 0])
    return float(np.degrees(roll_)), float(np.degrees(pitch)), float(np.degrees(yaw))


def from_angles(roll_: float, pitch: float, yaw: float) -> np.ndarray:
    """Inverse of `to_angles`, (3, 3)."""
    x, y, z = np.eye(3)
    return rotate_about(z, yaw) @ rotate_about(y, pitch) @ rotate_about(x, roll_)


def perturb(
    pose: PoseData, model: ModelCard, degrees: float, mm: float, generator: np.random.Generator
) -> PoseData:
    """A random turn and shift of exactly these sizes."""
    axis, way = generator.normal(size=3), generator.normal(size=3)
    moved = turn(pose, model, axis, degrees)
    return shift(moved, way / np.linalg.norm(way) * mm / 1000)


def key_nudge(pose: PoseData, model: ModelCard, event: QKeyEvent) -> tuple[PoseData, str] | None:
    """Arrows move, with Shift they turn; Page keys change the distance, with Shift they roll.

    With Control the steps are ten times as large. None if the key means nothing here.
    """
    shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
    large = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
    mm = COARSE_MM if large else FINE_MM
    degrees = COARSE_DEG if large else FINE_DEG
    key = Qt.Key(event.key())
    ways = {
        Qt.Key.Key_Left: ((-1, 0, 0), (0, 1, 0)), Qt.Key.Key_Right: ((1, 0, 0), (0, -1, 0)),
        Qt.Key.Key_Up: ((0, -1, 0), (-1, 0, 0)), Qt.Key.Key_Down: ((0, 1, 0), (1, 0, 0)),
    }  # fmt: skip
    if key in ways:
        move, axis = ways[key]
        if shifted:
            return turn(pose, model, np.array(axis), degrees), "Turn pose"
        return shift(pose, np.array(move) * mm / 1000), "Move pose"
    if key in (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
        sign = 1 if key == Qt.Key.Key_PageUp else -1
        if shifted:
            return turn(pose, model, np.array([0, 0, 1]), sign * degrees), "Roll pose"
        return push(pose, model, sign * mm / 1000), "Change distance"
    return None
