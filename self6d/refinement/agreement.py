"""How well a network's poses agree with what the sensor saw, frame by frame and without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.network import PoseNetwork
from self6d.refinement.health import depth_gaps, judge_poses
from self6d.refinement.refine import observe_detections
from self6d.rendering import pack_models, render
from self6d.scene import Frame, ObjectModel
from self6d.scene.batch import FrameBatch

REGION, PADDING = 128, 1.3
# colour says little across a domain gap, and what another thing hides is no fault of a pose
FORM = LossConfig(
    ab=0.0, ms_ssim=0.0, perceptual=0.0, like_with_like=True, edge_step_m=0.02, reach=1.0
)


@dataclass(frozen=True, eq=False)
class AgreeingPose:
    """A detection and how it agrees with the frame.

    Attributes:
        object_id: BOP object number. score: the network's confidence.
        R: (3, 3) float64, t: (3,) float64, metres, model to camera.
        mask_iou: the network's visible mask against the rendered one, [0, 1].
        depth_inliers: share of the depth under the mask that the rendering explains; NaN without.
        depth_gap_m: median distance of rendering and sensor along the ray, metres; NaN without.
    """

    object_id: int
    score: float
    R: np.ndarray
    t: np.ndarray
    mask_iou: float
    depth_inliers: float
    depth_gap_m: float

    @property
    def trust(self) -> float:
        """Mask agreement times share of depth explained, as `PoseHealth.trust`."""
        return self.mask_iou * (1.0 if math.isnan(self.depth_inliers) else self.depth_inliers)


class AgreementJudge:
    """Looks at frames with a network and holds its poses against mask and depth.

    Args:
        network: in evaluation mode, on `device`. models: its objects, in its order.
        score_threshold: detections less sure than this do not count.
    """

    def __init__(
        self,
        network: PoseNetwork,
        models: Sequence[ObjectModel],
        *,
        score_threshold: float = 0.3,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network, self.device = network, torch.device(device)
        self.score_threshold = score_threshold
        self._models = pack_models(models, self.device)
        self._objective = SelfSupervision(replace(FORM), self.device)

    @torch.no_grad()
    def __call__(self, frame: Frame) -> list[AgreeingPose]:
        """What the network finds in a frame, from its colours and K; judged with its depth."""
        sensor = FrameBatch.of([frame], self.device)
        found = self.network.predict(sensor.images, sensor.K, score_threshold=self.score_threshold)
        if not len(found):
            return []
        target = observe_detections(sensor, found, self._models, self._objective, REGION, PADDING)
        view = render(
            found.R, found.t, target.K, self._models, (REGION, REGION),
            object_index=found.object_index, soft_mask=False,
        )  # fmt: skip
        diameter = self.network.objects.diameter[found.object_index]
        health = judge_poses(self._objective, target, view, diameter)
        gaps = depth_gaps(target, view)
        return [
            AgreeingPose(
                self.network.object_ids[int(found.object_index[i])],
                float(found.score[i]),
                found.R[i].double().cpu().numpy(),
                found.t[i].double().cpu().numpy(),
                float(health.mask_iou[i]),
                float(health.depth_inliers[i]),
                float(gaps[i]),
            )
            for i in range(len(found))
        ]
