"""Predictions as plain records, whoever made them, and a network as their source."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from self6d.scene import Frame, alike_frames

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
        confidence: of a refiner that learned to judge its poses: the probability that this one is
            within a tenth of the diameter; None without one.
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
    confidence: float | None = None


Predictor = Callable[[Frame], Sequence[Prediction]]
# gives the detections with new poses, and how sure it is of each, (N,), if it can say
Refiner = Callable[[Sequence[Frame], "Detections"], tuple["Detections", "torch.Tensor | None"]]

TOGETHER = 16  # frames refined at once: enough detections to fill the optimiser's chunks


class NetworkPredictor:
    """Runs a network on a frame's colours and K.

    Args:
        network: in evaluation mode, on `device`.
        score_threshold: low, since recalls look at the best estimate of every object and average
            precision at the order of all.
        masks: whether to attach predicted visible masks (probability above 0.5).
        refine: improves the detections of frames of one size, such as on their depth; None: RGB
            alone. `image_index` is the position among the frames.

    Attributes:
        together: frames that `with_predictions` hands over at once.
    """

    def __init__(
        self,
        network: PoseNetwork,
        device: torch.device | str = "cpu",
        *,
        score_threshold: float = 0.05,
        masks: bool = True,
        refine: Refiner | None = None,
    ) -> None:
        from self6d.network.captured import CapturedForward

        self.network, self.device, self.score_threshold = network, device, score_threshold
        self._forward = CapturedForward(network)
        self.masks, self.refine = masks, refine
        self.together = 1 if refine is None else TOGETHER

    def __call__(self, frame: Frame) -> list[Prediction]:
        """What is in a frame."""
        return self.on_frames([frame])[0]

    def on_frames(self, frames: Sequence[Frame]) -> list[list[Prediction]]:
        """What is in each of some frames of one size."""
        from self6d.network.outputs import Detections

        began = time.perf_counter()
        parts = [self._detect(frame) for frame in frames]
        sure: list[torch.Tensor | None] = [None] * len(parts)
        if self.refine is not None and any(len(part) for part in parts):
            detections = Detections.cat(
                [replace(p, image_index=p.image_index + i) for i, p in enumerate(parts)]
            )
            refined, confidence = self.refine(frames, detections)
            keep = ~self.network.moved_together(refined)
            of_each = [keep & (refined.image_index == i) for i in range(len(frames))]
            parts = [refined[rows] for rows in of_each]
            if confidence is not None:
                sure = [confidence[rows] for rows in of_each]
        poses = [(f.R.double().cpu().numpy(), f.t.double().cpu().numpy()) for f in parts]
        seconds = (time.perf_counter() - began) / len(frames)
        return [
            self._records(frame, detections, confidence, *pose, seconds)
            for frame, detections, confidence, pose in zip(frames, parts, sure, poses, strict=True)
        ]

    def _detect(self, frame: Frame) -> Detections:
        from self6d.scene.batch import FrameBatch

        batch = FrameBatch.of([frame], self.device)
        return self._forward.predict(batch.images, batch.K, score_threshold=self.score_threshold)

    def _records(
        self,
        frame: Frame,
        detections: Detections,
        confidence: torch.Tensor | None,
        R: np.ndarray,
        t: np.ndarray,
        seconds: float,
    ) -> list[Prediction]:
        from self6d.network import masks_in_regions

        visible = None
        if self.masks and len(detections):
            h, w = frame.camera.size
            whole = detections.box.new_tensor([0, 0, w, h]).expand(len(detections), 4)
            visible = (masks_in_regions(detections, whole, size=(h, w))[:, 0] > 0.5).cpu().numpy()
        return [
            Prediction(
                frame.scene_id,
                frame.image_id,
                self.network.object_ids[int(detections.object_index[i])],
                float(detections.score[i]),
                R[i],
                t[i],
                None if visible is None else visible[i],
                detections.box[i].double().cpu().numpy(),
                seconds,
                None if confidence is None else float(confidence[i]),
            )
            for i in range(len(detections))
        ]


def best_of_each(predictions: Sequence[Prediction], most: int) -> list[Prediction]:
    """At most so many of each object in an image, those of the highest scores, in the order given.

    Args:
        predictions: of one image.
    """
    left: Counter[int] = Counter()
    chosen = set()
    for i in sorted(range(len(predictions)), key=lambda i: -predictions[i].score):
        left[predictions[i].object_id] += 1
        if left[predictions[i].object_id] <= most:
            chosen.add(i)
    return [p for i, p in enumerate(predictions) if i in chosen]


def with_predictions(
    frames: Iterable[Frame], predictor: Predictor
) -> Iterator[tuple[Frame, Sequence[Prediction]]]:
    """Frames, in order, with what is predicted on them; a network that refines takes many at once.

    At most `NetworkPredictor.together` frames are held, all of one size and kind.
    """
    if not isinstance(predictor, NetworkPredictor):
        yield from ((frame, predictor(frame)) for frame in frames)
        return
    for group in alike_frames(frames, predictor.together):
        yield from zip(group, predictor.on_frames(group), strict=True)
