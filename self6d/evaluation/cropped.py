"""Cropped LineMOD's protocol: one object an image, its class and its rotation (Self6D, Table 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from self6d.datasets.base import Dataset
from self6d.errors import InputError
from self6d.evaluation.metrics import class_accuracy_and_angle
from self6d.evaluation.predictions import Predictor

PAPER_ANGLES_DEG = {"LB": 19.8, "Self6D": 15.8}  # mean angle errors; class accuracy is 100 %


class CroppedResult(NamedTuple):
    """Class accuracy in [0, 1], mean angle error of what was classified right, number of images."""

    accuracy: float
    angle_deg: float
    images: int


def evaluate_cropped(
    dataset: Dataset, predictor: Predictor, split: str | None = None
) -> CroppedResult:
    """Compare the best-scored prediction of every image with its one label.

    An image without a prediction counts as classified wrong.

    Raises:
        InputError: no image is labelled, or the split is unknown.
    """
    if split is not None:
        dataset = dataset.split(split)
    classes, classes_true, q, q_true = [], [], [], []
    for index in range(len(dataset)):
        truth = dataset.truth(index)
        if not truth:
            continue
        best = max(predictor(dataset.frame(index)), key=lambda p: p.score, default=None)
        classes_true.append(truth[0].object_id)
        classes.append(-1 if best is None else best.object_id)
        q_true.append(_wxyz(truth[0].pose.R_m2c))
        q.append(_wxyz(np.eye(3) if best is None else best.R))
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
