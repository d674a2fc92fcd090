"""Predictions as plain records, whoever made them, and a network as their source."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from self6d.scene import Frame

if TYPE_CHECKING:
    from self6d.network.net import PoseNetwork
    from self6d.network.outputs import Detections


@dataclass(frozen=True, eq=False)
class Prediction:
    """One estimated instance.

    Attributes:
        scene_id, image_id: the image. object_id: BOP object number.
        score: confidence, higher is better.
        R: (3, 3) float64, t: (3,) float64, metres, model to camera.
        mask: (H, W) bool, predicted visible mask; None if there is none.
        box: (4,) float64, x0 y0 x1 y1, pixels; None: the projected model's.
        seconds: time the whole image took; negative if unknown.
    """

    scene_id: int
    image_id: int
    object_id: int
    score: float
    R: np.ndarray
    t: np.ndarray
    mask: np.ndarray | None = None
    box: np.ndarray | None = None
    seconds: float = -1.0


Predictor = Callable[[Frame], Sequence[Prediction]]


def network_predictor(
    network: PoseNetwork,
    device: torch.device | str = "cpu",
    *,
    score_threshold: float = 0.05,
    masks: bool = True,
    refine: Callable[[Frame, Detections], Detections] | None = None,
) -> Predictor:
    """A predictor that runs a network on a frame's colours and K.

    Args:
        network: in evaluation mode, on `device`.
        score_threshold: low, since recalls look at the best estimate of every object and average
            precision at the order of all.
        masks: whether to attach predicted visible masks (probability above 0.5).
        refine: improves the detections of a frame, such as on its depth; None: RGB alone.
    """
    from self6d.network import masks_in_regions

    def predict(frame: Frame) -> list[Prediction]:
        began = time.perf_counter()
        image = torch.from_numpy(frame.rgb).to(device).permute(2, 0, 1)[None].float() / 255
        K = torch.tensor(frame.camera.K, dtype=torch.float32, device=device)[None]
        found = network.predict(image, K, score_threshold=score_threshold)
        if refine is not None and len(found):
            found = refine(frame, found)
        R, t = found.R.double().cpu().numpy(), found.t.double().cpu().numpy()
        seconds = time.perf_counter() - began
        visible = None
        if masks and len(found):
            h, w = frame.camera.size
            whole = found.box.new_tensor([0, 0, w, h]).expand(len(found), 4)
            visible = (masks_in_regions(found, whole, size=(h, w))[:, 0] > 0.5).cpu().numpy()
        return [
            Prediction(
                frame.scene_id,
                frame.image_id,
                network.object_ids[int(found.object_index[i])],
                float(found.score[i]),
                R[i],
                t[i],
                None if visible is None else visible[i],
                found.box[i].double().cpu().numpy(),
                seconds,
            )
            for i in range(len(found))
        ]

    return predict
