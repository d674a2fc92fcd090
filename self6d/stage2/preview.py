"""Pictures of stage 2's state on a frame, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from self6d.events import Preview
from self6d.geometry import backproject
from self6d.network import masks_in_regions
from self6d.network.outputs import Detections
from self6d.rendering import render
from self6d.rendering.models import PackedModels
from self6d.scene.batch import FrameBatch
from self6d.stage2.frame_store import FrameStore

MOST_POINTS = 4000


def frame_previews(
    step: int,
    store: FrameStore,
    frames: Sequence[int],
    detections: Detections,
    models: PackedModels,
) -> list[Preview]:
    """`adaptation_preview` of some frames; `image_index` of the detections is a frame's number."""
    return [
        replace(
            adaptation_preview(
                f"probe/{i}",
                step,
                store.batch([frame]),
                detections[(detections.image_index == frame).nonzero()[:, 0]],
                models,
            ),
            frame=(store.keys[frame].scene_id, store.keys[frame].image_id),
        )
        for i, frame in enumerate(frames)
    ]


@torch.no_grad()
def adaptation_preview(
    name: str, step: int, sensor: FrameBatch, detections: Detections, models: PackedModels
) -> Preview:
    """Sensor image, rendering, masks and point clouds of one frame.

    Args:
        sensor: one frame. detections: its detections; their `image_index` is not used.
    """
    h, w = sensor.images.shape[-2:]
    rgb = _bytes(sensor.images[0].permute(1, 2, 0))
    arrays = {"rgb": rgb}
    if len(detections):
        K = sensor.K.expand(len(detections), 3, 3)
        view = render(
            detections.R,
            detections.t,
            K,
            models,
            (h, w),
            object_index=detections.object_index,
            soft_mask=False,
        )
        depth = torch.where(view.covered, view.depth_m, torch.inf)
        nearest, front = depth.min(0)
        drawn = nearest.isfinite()
        picture = view.rgb.permute(0, 2, 3, 1).gather(0, front[None, ..., None].expand(1, h, w, 3))
        arrays["rendered"] = _bytes(picture[0])
        arrays["rendered_mask"] = _bytes(drawn.float())
        whole = sensor.images.new_tensor([0, 0, w, h]).expand(len(detections), 4)
        mask = masks_in_regions(detections, whole, (h, w))[:, 0].amax(0)
        arrays["mask"] = _bytes(mask)
        arrays["model_points"] = _points(nearest, drawn, sensor.K[0])
        if sensor.depth_m is not None:
            seen = (mask >= 0.5) & (sensor.depth_m[0] > 0)
            arrays["sensor_points"] = _points(sensor.depth_m[0], seen, sensor.K[0])
    poses = [
        {
            "object_id": models.object_ids[int(detections.object_index[n])],
            "R_m2c": detections.R[n].tolist(),
            "t_m2c": detections.t[n].tolist(),
            "score": float(detections.score[n]),
        }
        for n in range(len(detections))
    ]
    return Preview(step, name, arrays, poses)


def _bytes(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _points(depth_m: torch.Tensor, mask: torch.Tensor, K: torch.Tensor) -> np.ndarray:
    points = backproject(torch.where(mask, depth_m, torch.zeros_like(depth_m)), K)[mask]
    return points[:: max(1, len(points) // MOST_POINTS)].float().cpu().numpy()
