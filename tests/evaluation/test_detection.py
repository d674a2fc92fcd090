"""Masks, boxes, average precision and BOP's matching, by hand."""

import numpy as np
import pytest

from self6d.evaluation.detection import (
    average_precision,
    detection_scores,
    pairwise_box_iou,
    pairwise_mask_scores,
)
from self6d.evaluation.recalls import Group, average_recall, match


def test_masks():
    a, b = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    a[:, :2] = True  # four pixels
    b[:, 1:3] = True  # four pixels, two of them common
    iou, f1 = pairwise_mask_scores([a, ~a & a], [b, ~b & b, a])
    np.testing.assert_allclose(iou, [[2 / 6, 0, 1], [0, 0, 0]])
    np.testing.assert_allclose(f1, [[4 / 8, 0, 1], [0, 0, 0]])
    assert pairwise_mask_scores([], [a])[0].shape == (0, 1)


def test_masks_of_any_size_are_counted_to_the_last_pixel():
    rng = np.random.default_rng(0)
    for size in ((3, 5), (16, 8), (37, 41)):
        a, b = rng.random((2, 3, *size)) < 0.5
        iou, f1 = pairwise_mask_scores(a, b)
        common = (a[:, None] & b).sum((2, 3))
        np.testing.assert_allclose(iou, common / (a[:, None] | b).sum((2, 3)))
        np.testing.assert_allclose(f1, 2 * common / (a.sum((1, 2))[:, None] + b.sum((1, 2))))


def test_boxes():
    iou = pairwise_box_iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])
    np.testing.assert_allclose(iou, [[1, 2 / 6, 0]])
    assert pairwise_box_iou([[0, 0, 1, 1]], []).shape == (1, 0)


def test_average_precision_by_hand():
    assert average_precision([True, True], [0.9, 0.8], 2) == 1
    assert average_precision([], [], 2) == 0
    # a wrong one on top: precision 0, 1/2, 2/3, so 2/3 is reached at every recall up to 1
    assert average_precision([False, True, True], [0.9, 0.8, 0.7], 2) == pytest.approx(2 / 3)
    # one of two found: precision 1 at the 51 recalls 0 to 0.5, then nothing
    assert average_precision([True], [0.9], 2) == pytest.approx(51 / 101)


def test_a_target_is_found_once():
    overlap = [np.array([[0.9], [0.95]]), np.array([[0.6]])]
    recall, precision = detection_scores(
        overlap, [np.array([0.9, 0.8]), np.array([0.7])], [0.5, 0.7]
    )
    np.testing.assert_allclose(recall, [1, 0.5])
    # at 0.5: right, wrong (taken already), right
    assert precision[0] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_thresholds_looked_at_together_are_those_looked_at_one_by_one():
    rng = np.random.default_rng(0)
    overlaps = [rng.random((rng.integers(0, 4), rng.integers(0, 4))) for _ in range(20)]
    scores = [rng.random(len(overlap)) for overlap in overlaps]
    limits = [0.2, 0.5, 0.8]
    together = np.array(detection_scores(overlaps, scores, limits))
    apart = [detection_scores(overlaps, scores, [limit]) for limit in limits]
    np.testing.assert_array_equal(together, np.concatenate(apart, axis=1))
    assert (np.diff(together[0]) < 0).all()
    assert together.min() > 0


def test_match_takes_estimates_by_score_and_targets_by_error():
    errors = np.array([[0.3, 0.2], [0.1, 0.25]])
    assert match(errors, [0.9, 0.8], 0.5).tolist() == [1, 0]
    assert match(errors, [0.9, 0.8], 0.15).tolist() == [1, -1]
    assert match(np.zeros((0, 2)), [], 0.5).tolist() == [-1, -1]
    # the better-scored estimate wins the target although the other fits better
    assert match(np.array([[0.3], [0.1]]), [0.9, 0.8], 0.5).tolist() == [0]


def test_average_recall_by_hand():
    # MSSD of 12 % of the diameter is right at 8 of the thresholds 5, 10, ..., 50 %; 12 pixels too
    hit = Group(np.array([1.0]), np.zeros((1, 1, 10)), np.array([[0.12]]), np.array([[12.0]]))
    miss = Group(np.zeros(0), np.ones((0, 1, 10)), np.zeros((0, 1)), np.zeros((0, 1)))
    ar = average_recall([hit, miss])
    assert (ar.vsd, ar.mssd, ar.mspd) == pytest.approx((0.5, 0.4, 0.4))
    assert ar.mean == pytest.approx(1.3 / 3)
    flat = average_recall([Group(np.array([1.0]), None, np.array([[0.0]]), np.array([[0.0]]))])
    assert (flat.vsd, flat.mssd, flat.mean) == (None, 1, None)
