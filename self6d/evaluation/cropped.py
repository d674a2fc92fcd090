"""Cropped LineMOD's protocol: one object an image, its class and its rotation (Self6D, Table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from self6d.datasets.base import Dataset, FrameKey
from self6d.errors import InputError
from self6d.evaluation.metrics import class_accuracy_and_angle
from self6d.evaluation.predictions import Prediction

PAPER_ANGLES_DEG = {"LB": 19.8, "Self6D": 15.8}  # mean angle errors; class accuracy is 100 %


class CroppedResult(NamedTuple):
    """Class accuracy in [0, 1], mean angle error of what was classified right, number of images."""

    accuracy: float
    angle_deg: float
    images: int

    def __str__(self) -> str:
        paper = ", ".join(f"{name} {angle:g}" for name, angle in PAPER_ANGLES_DEG.items())
        return (
            f"class right in {100 * self.accuracy:.1f} % of the crops, and the rotation of these "
            f"{self.angle_deg:.1f} degrees off in the mean (paper: 100 %; {paper})"
        )


def score_crops(dataset: Dataset, predictions: Sequence[Prediction]) -> CroppedResult:
    """Compare the best-scored prediction of every image with its one label.

    An image without a prediction counts as classified wrong.

    Raises:
        InputError: no image is labelled.
    """
    best: dict[FrameKey, Prediction] = {}
    for p in sorted(predictions, key=lambda p: p.score):
        best[FrameKey(p.scene_id, p.image_id)] = p
    classes, classes_true, q, q_true = [], [], [], []
    for index, key in enumerate(dataset.keys):
        truth = dataset.truth(index)
        if not truth:
            continue
        found = best.get(key)
        classes_true.append(truth[0].object_id)
        classes.append(-1 if found is None else found.object_id)
        q_true.append(_wxyz(truth[0].pose.R_m2c))
        q.append(_wxyz(np.eye(3) if found is None else found.R))
    if not classes_true:
        raise InputError(
            "no image is labelled, so there is nothing to score",
            path=dataset.root,
            remedy="Name a split with labels.",
        )
    accuracy, angle = class_accuracy_and_angle(classes, classes_true, q, q_true)
    return CroppedResult(accuracy, angle, len(classes_true))


def _wxyz(R: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(R).as_quat(canonical=True, scalar_first=True)
