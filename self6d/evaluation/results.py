"""What an evaluation says: a record an instance, a row an object, and the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from self6d.evaluation.predictions import Prediction


@dataclass(frozen=True)
class InstanceResult:
    """One labelled instance and the estimate it was compared with.

    Attributes:
        scene_id, image_id, object_id: what it is. score: of the estimate; None if there is none.
        add_m: ADD, or ADD-S for a symmetric object, metres; infinite without an estimate.
        diameter_m: of the object. rotation_deg, translation_m: to the nearest pose that looks the
            same; infinite without an estimate. projection_px: mean distance of projected points.
        mask_iou, mask_f1: of the predicted visible mask; None where there is no mask to compare.
        box_iou: of the detection that fits best.
    """

    scene_id: int
    image_id: int
    object_id: int
    score: float | None
    add_m: float
    diameter_m: float
    rotation_deg: float
    translation_m: float
    projection_px: float
    mask_iou: float | None = None
    mask_f1: float | None = None
    box_iou: float = 0.0

    @property
    def add_share(self) -> float:
        """ADD(-S) over the diameter."""
        return self.add_m / self.diameter_m


@dataclass(frozen=True)
class ObjectResult:
    """Scores of one object, or their mean. Shares are in [0, 1]; None: nothing to measure it on.

    Attributes:
        name: the object's; "mean" for the mean over objects. targets: labelled instances.
        recall_10, recall_5, recall_2: share with ADD(-S) below 10, 5, 2 % of the diameter.
        auc: area under the ADD(-S) curve up to 10 cm.
        rotation_deg, translation_mm: medians over all targets, a miss being infinitely wrong.
        projection_5px: share below 5 pixels of mean 2D projection distance.
        detection_recall: share found with a box IoU of 0.5. ap_50, ap: box average precision at
            IoU 0.5, and the mean over 0.5 to 0.95.
        mask_iou, mask_f1: means over instances, a miss counting 0.
        mask_iou_found: mean over the instances that `detection_recall` counts as found.
        ar_vsd, ar_mssd, ar_mspd, ar: BOP's average recalls.
    """

    object_id: int | None
    name: str
    symmetric: bool
    targets: int
    recall_10: float | None = None
    recall_5: float | None = None
    recall_2: float | None = None
    auc: float | None = None
    rotation_deg: float | None = None
    translation_mm: float | None = None
    projection_5px: float | None = None
    detection_recall: float | None = None
    ap_50: float | None = None
    ap: float | None = None
    mask_iou: float | None = None
    mask_iou_found: float | None = None
    mask_f1: float | None = None
    ar_vsd: float | None = None
    ar_mssd: float | None = None
    ar_mspd: float | None = None
    ar: float | None = None


SCORES = tuple(f.name for f in fields(ObjectResult) if f.default is None)
BOP_RECALLS = ("ar_vsd", "ar_mssd", "ar_mspd", "ar")


@dataclass(frozen=True)
class Results:
    """An evaluation.

    Attributes:
        label: what was evaluated, such as a run's name. dataset, split: on what.
        frames: how many images. objects: a row an object, by object number.
        instances: a record a target.
        seconds_per_image: mean time of a network over all the images, also where it found nothing
            (on a GPU it looks at 16 at once); of given predictions as these state it, so over the
            images that have some. None if unknown.
        predictions: all of them, without their masks; not part of the plain data.
        remark: what a reader of the scores must know, such as a term that was left out.
        step: steps trained of the network that was scored; None for results files.
    """

    label: str
    dataset: str
    split: str
    frames: int
    objects: tuple[ObjectResult, ...]
    instances: tuple[InstanceResult, ...] = field(repr=False)
    seconds_per_image: float | None = None
    predictions: tuple[Prediction, ...] = field(default=(), repr=False)
    remark: str = ""
    step: int | None = None

    @property
    def mean(self) -> ObjectResult:
        """Scores averaged over objects; BOP's recalls and medians over all targets of all."""
        values: dict[str, float | None] = {}
        for name in SCORES:
            weights = [o.targets if name in BOP_RECALLS else 1 for o in self.objects]
            values[name] = mean([getattr(o, name) for o in self.objects], weights)
        values["rotation_deg"] = median([i.rotation_deg for i in self.instances])
        values["translation_mm"] = median([1000 * i.translation_m for i in self.instances])
        return ObjectResult(None, "mean", False, sum(o.targets for o in self.objects), **values)

    def to_dict(self) -> dict:
        """Plain data for JSON; infinite numbers become None."""
        table = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("objects", "instances", "predictions")
        }
        table["objects"] = [asdict(o) for o in self.objects]
        table["mean"] = asdict(self.mean)
        table["instances"] = [asdict(i) for i in self.instances]
        return _finite(table)


def median(values: Sequence[float]) -> float | None:
    """Median; infinite values count; None without any."""
    return float(np.median(values)) if len(values) else None


def mean(values: Sequence[float | None], weights: Sequence[int] | None = None) -> float | None:
    """Mean of the known values, all alike without weights; None without any."""
    weights = [1] * len(values) if weights is None else weights
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    return sum(v * w for v, w in known) / sum(w for _, w in known) if known else None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
