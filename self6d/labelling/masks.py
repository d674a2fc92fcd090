"""What posed objects cover in a frame, and what of it can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from self6d.datasets.pose_track import TrackedPose
from self6d.evaluation.masks import DEPTH_TOLERANCE_M
from self6d.geometry import Camera, Pose
from self6d.rendering import PackedModels, render
from self6d.scene import Frame, ObjectModel

_NEAR_M = 1e-3


@dataclass(frozen=True, eq=False)
class DrawnLabel:
    """One accepted pose of a frame, drawn.

    Attributes:
        tracked: the pose, where it is from and how sure it is.
        pose: the same as `tracked.pose`, known to be there.
        mask: (H, W) bool, all of the silhouette that lies in the image.
        mask_visib: (H, W) bool, of it what nothing covers.
        box: (4,) int64, x0 y0 x1 y1, pixels, of the whole silhouette, which may leave the image.
        box_visib: the same of `mask_visib`.
        px_count_all: pixels of the whole silhouette, those outside the image among them.
        px_count_valid: pixels of `mask` with depth; all of them where the frame has none.
    """

    tracked: TrackedPose
    pose: Pose
    mask: np.ndarray
    mask_visib: np.ndarray
    box: np.ndarray | None
    box_visib: np.ndarray | None
    px_count_all: int
    px_count_valid: int

    @property
    def px_count_visib(self) -> int:
        """Pixels of `mask_visib`."""
        return int(self.mask_visib.sum())

    @property
    def visib_fract(self) -> float:
        """Visible share of the whole silhouette, in [0, 1]."""
        return self.px_count_visib / self.px_count_all if self.px_count_all else 0.0


def draw_labels(
    frame: Frame,
    tracked: Sequence[TrackedPose],
    models: Sequence[ObjectModel],
    packed: PackedModels,
) -> list[DrawnLabel]:
    """Silhouettes of posed objects, and what of them the frame shows.

    A pixel is visible if none of the other objects is nearer there and the sensor, where it
    measured, saw nothing more than `DEPTH_TOLERANCE_M` in front (as BOP's masks are made). Without
    depth only the other objects cover.

    Args:
        frame: gives camera and depth.
        tracked: all accepted poses of the frame. models: theirs. packed: the same models.
    """
    known = [(t, t.pose) for t in tracked if t.pose is not None]
    if not known:
        return []
    place = {object_id: i for i, object_id in enumerate(packed.object_ids)}
    rows = [place[t.object_id] for t, _ in known]
    left, top, canvas = _canvas(frame.camera, [(p, models[i]) for i, (_, p) in zip(rows, known)])

    def tensor(values: object) -> torch.Tensor:
        return torch.tensor(np.asarray(values), dtype=packed.dtype, device=packed.device)

    depth = render(
        tensor([pose.R_m2c for _, pose in known]),
        tensor([pose.t_m2c for _, pose in known]),
        tensor(canvas.K),
        packed,
        canvas.size,
        object_index=torch.tensor(rows, device=packed.device),
        soft_mask=False,
    ).depth_m
    whole = depth.cpu().numpy()
    whole = np.where(whole > 0, whole, np.inf)
    h, w = frame.camera.size
    drawn = whole[:, top : top + h, left : left + w]
    nearest = drawn.min(0)
    visible = np.isfinite(drawn) & (drawn <= nearest)
    valid = np.ones((h, w), bool)
    if frame.depth_m is not None:
        valid = frame.depth_m > 0
        visible &= ~valid | (nearest <= frame.depth_m + DEPTH_TOLERANCE_M)
    labels = []
    for (t, pose), silhouette, inside, seen in zip(known, whole, drawn, visible, strict=True):
        mask = np.isfinite(inside)
        box = mask_box(np.isfinite(silhouette))
        labels.append(
            DrawnLabel(
                tracked=t,
                pose=pose,
                mask=mask,
                mask_visib=seen,
                box=None if box is None else box - [left, top, left, top],
                box_visib=mask_box(seen),
                px_count_all=int(np.isfinite(silhouette).sum()),
                px_count_valid=int((mask & valid).sum()),
            )
        )
    return labels


def _canvas(camera: Camera, placed: Sequence[tuple[Pose, ObjectModel]]) -> tuple[int, int, Camera]:
    """The image, grown as far as the objects reach: margins left and above, and its camera.

    It is never more than an image wider to each side, as in BOP's tools.
    """
    low, high = np.zeros(2), np.array([camera.width, camera.height], float)
    limit = high.copy()
    for pose, model in placed:
        xyz = pose.transform(model.vertices.astype(np.float64))
        if (xyz[:, 2] < _NEAR_M).any():  # reaches behind the camera
            low, high = -limit, 2 * limit
            break
        uv = (xyz @ camera.K.T)[:, :2] / xyz[:, 2:]
        low, high = np.minimum(low, uv.min(0)), np.maximum(high, uv.max(0))
    left, top = (int(v) for v in np.ceil(np.minimum(-low, limit)))
    right, bottom = (int(v) for v in np.ceil(np.minimum(high, 2 * limit)))
    K = camera.K.copy()
    K[:2, 2] += (left, top)
    return left, top, Camera(K, left + right, top + bottom)


def mask_box(mask: np.ndarray) -> np.ndarray | None:
    """Smallest box around a mask (H, W) bool: (4,) int64 x0 y0 x1 y1, pixels; None if empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
