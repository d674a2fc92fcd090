"""How the camera moved between two frames, from what stands still in both: RGB-D odometry.

Points that look alike (SIFT, Lowe, IJCV 2004) have places in the first frame's depth and pixels in
the second; PnP with RANSAC keeps those that agree on one rigid motion. What moves by itself is in
the minority of a scene, or the answer is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from self6d.scene import Frame
from self6d.tracking.quick.ahead import Ahead

WIDTH = 400  # pixels at most that features are looked for in
FEATURES = 800
RATIO = 0.8  # of the distance to the second most alike
REPROJECTION = 2.0  # pixels of that image
FEWEST = 15  # points that agree
SHARE = 0.3  # of those with depth, at least
SPREAD = (
    0.15  # of the image's diagonal, standard deviation of their places: else they are one thing
)
DEPTH = (0.01, 0.02)  # metres, and of the distance, within which the second depth confirms a point
CONFIRMED = 0.6  # of them


@dataclass(frozen=True)
class Motion:
    """From camera to camera: a point x of the first is R x + t in the second; metres.

    Attributes:
        R: (3, 3). t: (3,). float64.
    """

    R: np.ndarray
    t: np.ndarray

    def of(self, R: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A pose in the first camera, as it is in the second."""
        return self.R @ R, self.R @ t + self.t

    def inverse(self) -> Motion:
        """The way back."""
        return Motion(self.R.T, -self.R.T @ self.t)


KEPT = 12  # frames whose features are not looked for again
COMING = 6  # ways at most that are looked for before they are asked for
STILL = Motion(np.eye(3), np.zeros(3))


@dataclass(frozen=True)
class Features:
    """What a frame offers to be found again.

    Attributes:
        pixel: (N, 2), of the image as looked at. points: (N, 3), metres, z = 0 without depth.
        descriptor: (N, 128). K: (3, 3), depth_m: (h, w): of that image.
    """

    pixel: np.ndarray
    points: np.ndarray
    descriptor: np.ndarray
    K: np.ndarray
    depth_m: np.ndarray

    @classmethod
    def of(cls, frame: Frame) -> Features:
        """Of a frame with depth."""
        assert frame.depth_m is not None
        height, width = frame.depth_m.shape
        scale = min(WIDTH / width, 1.0)
        size = (round(scale * width), round(scale * height))
        gray = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        depth = cv2.resize(frame.depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT)
        K = np.diag([size[0] / width, size[1] / height, 1]) @ frame.camera.K
        found, descriptor = cv2.SIFT.create(FEATURES).detectAndCompute(gray, None)
        if not found:
            empty = np.zeros((0, 3))
            return cls(empty[:, :2], empty, np.zeros((0, 128), np.float32), K, depth)
        pixel = np.array([k.pt for k in found]) + 0.5  # OpenCV counts from pixel centres
        z = depth[tuple(np.clip(pixel.astype(int), 0, np.array(size) - 1).T[::-1])]
        ray = np.linalg.solve(K, np.column_stack((pixel, np.ones(len(pixel)))).T).T
        return cls(pixel, ray * z[:, None], descriptor, K, depth)


def camera_motion(before: Features, after: Features, spread: float = SPREAD) -> Motion | None:
    """What most of the scene says of the camera's way; None: too little, or it disagrees.

    Args:
        spread: see `SPREAD`; less where each pose that is moved so is checked by itself.
    """
    if min(len(before.pixel), len(after.pixel)) < FEWEST:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(before.descriptor, after.descriptor, 2)
    good = [p[0] for p in pairs if len(p) == 2 and p[0].distance < RATIO * p[1].distance]
    first, second = [m.queryIdx for m in good], [m.trainIdx for m in good]
    known = before.points[first, 2] > 0
    points, pixels = before.points[first][known], after.pixel[second][known]
    if len(points) < FEWEST:
        return None
    cv2.setRNGSeed(0)
    ok, turn, shift, inside = cv2.solvePnPRansac(
        points, pixels, after.K, None, iterationsCount=300, reprojectionError=REPROJECTION,
        confidence=0.999, flags=cv2.SOLVEPNP_EPNP,
    )  # fmt: skip
    if not ok or inside is None or len(inside) < max(FEWEST, SHARE * len(points)):
        return None
    points, pixels = points[inside[:, 0]], pixels[inside[:, 0]]
    if np.hypot(*pixels.std(0)) < spread * np.hypot(*after.depth_m.shape):
        return None
    turn, shift = cv2.solvePnPRefineLM(points, pixels, after.K, None, turn, shift)
    motion = Motion(cv2.Rodrigues(turn)[0], shift[:, 0])
    moved = points @ motion.R.T + motion.t
    row, column = np.clip(pixels.astype(int).T[::-1], 0, np.array(after.depth_m.shape)[:, None] - 1)
    sensor = after.depth_m[row, column]
    seen = sensor > 0
    near = np.abs(moved[:, 2] - sensor)[seen] < DEPTH[0] + DEPTH[1] * sensor[seen]
    return motion if near.sum() >= FEWEST // 2 and near.mean() >= CONFIRMED else None


class CameraPath:
    """How the camera moved between frames of a recording, asked for by their indices.

    Args:
        frame: a frame by its index, with depth. spread: as of `camera_motion`.
    """

    def __init__(self, frame: Callable[[int], Frame], spread: float = SPREAD) -> None:
        self._frame, self._spread = frame, spread
        self._features = Ahead(self._of, KEPT)
        self._coming = Ahead(self._motion, COMING)
        self._motions: dict[tuple[int, int], Motion | None] = {}

    def between(self, before: int, after: int) -> Motion | None:
        """See `camera_motion`; the way back is the inverse."""
        if before == after:
            return STILL
        if before > after:
            back = self.between(after, before)
            return None if back is None else back.inverse()
        if (before, after) not in self._motions:
            self._motions[before, after] = self._coming[before, after]
        return self._motions[before, after]

    def expect(self, before: int, after: int) -> None:
        """Begin in threads with what will be asked soon; an error of it is raised then."""
        pair = min(before, after), max(before, after)
        if before == after or pair in self._motions:
            return
        for index in (before, after):
            self._features.expect(index)
        self._coming.expect(pair)

    def _motion(self, pair: tuple[int, int]) -> Motion | None:
        first, second = self._features[pair[0]], self._features[pair[1]]
        if first is None or second is None:
            return None
        return camera_motion(first, second, self._spread)

    def _of(self, index: int) -> Features | None:
        frame = self._frame(index)
        return None if frame.depth_m is None else Features.of(frame)
