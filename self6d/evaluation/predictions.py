"""Predictions as plain records, whoever made them, and a network as their source."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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

TOGETHER = 16  # frames handled at once: detections fill the optimiser's chunks, images a GPU


class NetworkPredictor:
    """Runs a network on a frame's colours and K.

    Args:
        network: in evaluation mode, on `device`.
        score_threshold: low, since recalls look at the best estimate of every object and average
            precision at the order of all.
        masks: whether to attach predicted visible masks (probability above 0.5).
        refine: improves the detections of frames of one size, such as on their depth; None: RGB
            alone. `image_index` is the position among the frames.
        batch: images the network looks at once; None: 16 on a GPU, one on a CPU, where it saves
            nothing.

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
        batch: int | None = None,
    ) -> None:
        from self6d.network.captured import CapturedForward

        self.network, self.device, self.score_threshold = network, device, score_threshold
        self._forward = CapturedForward(network)
        self.masks, self.refine = masks, refine
        on_gpu = torch.device(device).type == "cuda"
        self.batch = batch or (TOGETHER if on_gpu else 1)
        self.together = self.batch if refine is None else max(self.batch, TOGETHER)
        self._looked_at, self._took_s = 0, 0.0

    def __call__(self, frame: Frame) -> list[Prediction]:
        """What is in a frame."""
        return self.on_frames([frame])[0]

    @property
    def seconds_per_image(self) -> float | None:
        """Mean over all images looked at, those where nothing was found included."""
        return self._took_s / self._looked_at if self._looked_at else None

    def on_frames(self, frames: Sequence[Frame]) -> list[list[Prediction]]:
        """What is in each of some frames of one size."""
        from self6d.network.outputs import Detections

        began = time.perf_counter()
        starts = range(0, len(frames), self.batch)
        found = Detections.cat([self._detect(frames[i : i + self.batch], i) for i in starts])
        confidence: list[float | None] = [None] * len(found)
        if self.refine is not None and len(found):
            found, sure = self.refine(frames, found)
            keep = ~self.network.moved_together(found)
            found = found[keep]
            confidence = [None] * len(found) if sure is None else sure[keep].tolist()
        R, t, box = (part.double().cpu().numpy() for part in (found.R, found.t, found.box))
        took = time.perf_counter() - began
        self._took_s, self._looked_at = self._took_s + took, self._looked_at + len(frames)
        seconds = took / len(frames)
        ends = torch.bincount(found.image_index, minlength=len(frames)).cumsum(0).tolist()
        score = found.score.tolist()
        ids = [self.network.object_ids[k] for k in found.object_index.tolist()]
        records: list[list[Prediction]] = [[] for _ in frames]
        for i, (frame, start, end) in enumerate(zip(frames, [0, *ends], ends, strict=False)):
            masks: Any = [None] * (end - start)
            if self.masks and start < end:
                masks = self._visible(found[start:end], frame)
            records[i] = [
                Prediction(
                    frame.scene_id, frame.image_id, ids[n], score[n], R[n], t[n], masks[n - start],
                    box[n], seconds, confidence[n],
                )
                for n in range(start, end)
            ]  # fmt: skip
        return records

    def _detect(self, frames: Sequence[Frame], first: int) -> Detections:
        """What is in some frames, the first of which has this number."""
        from self6d.scene.batch import FrameBatch

        batch = FrameBatch.of([replace(frame, depth_m=None) for frame in frames], self.device)
        found = self._forward.predict(batch.images, batch.K, score_threshold=self.score_threshold)
        return replace(found, image_index=found.image_index + first)

    def _visible(self, found: Detections, frame: Frame) -> np.ndarray:
        """(N, H, W) bool, the visible masks of detections in a frame."""
        from self6d.network import masks_in_regions

        h, w = frame.camera.size
        whole = found.box.new_tensor([0, 0, w, h]).expand(len(found), 4)
        seen = replace(found, mask_logits=found.mask_logits[:, :1])
        return (masks_in_regions(seen, whole, size=(h, w))[:, 0] > 0.5).cpu().numpy()


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
