"""How `experiment track` disturbs starts and scores what comes."""

import numpy as np
import pytest
from block_shapes import block
from tracked_block import pose_at

from self6d.experiments.confidence import Cases, fit_calibration, worth
from self6d.experiments.track import Score, disturbed, reliability
from self6d.geometry import Pose
from self6d.scene import GroundTruth
from self6d.tracking.evidence import NOTHING, Evidence


def test_starts_are_off_by_what_is_asked_about_the_models_middle():
    pose, centre = pose_at(3), np.array([0.01, 0.02, -0.03])
    for seed in range(3):
        off = disturbed(pose, centre, 10, 20, seed)
        turn = (np.trace(pose.R_m2c.T @ off.R_m2c) - 1) / 2
        assert np.degrees(np.arccos(turn)) == pytest.approx(10)
        moved = off.transform(centre[None]) - pose.transform(centre[None])
        assert np.linalg.norm(moved) == pytest.approx(0.02)


def test_lost_frames_count_against_recall_and_only_sure_poses_against_confidence():
    model, truth = block(), GroundTruth(1, pose_at(0))
    near = Pose(truth.pose.R_m2c, truth.pose.t_m2c + np.array([0.003, 0, 0]))
    far = Pose(truth.pose.R_m2c, truth.pose.t_m2c + np.array([0.1, 0, 0]))
    score = Score()
    score.add(model, truth, near, 0.9)
    score.add(model, truth, far, 0.8)
    score.add(model, truth, far, 0.3)
    score.add(model, truth, None, 0.0)
    row = score.summary(0.6)
    assert (row["recall_10"], row["recall_5"], row["recall_2"]) == (25, 25, 0)
    assert (row["lost"], row["sure"], row["sure_right"]) == (1, 2, 50)
    assert row["translation_mm"] == pytest.approx(100)


def test_reliability_leaves_lost_ones_out():
    rows = reliability(np.array([True, False, False]), np.array([0.92, 0.94, 0.0]))
    assert rows == [
        {"from": 0.9, "to": 0.95, "poses": 2, "confidence": pytest.approx(0.93), "right": 0.5}
    ]


def test_the_calibration_learns_which_measures_tell_right_from_wrong():
    rng = np.random.default_rng(0)
    cases = Cases()
    for i in range(200):
        right = i % 2 == 0
        close = rng.normal(0.85 if right else 0.6, 0.05)
        color = float("nan") if i % 5 == 0 else rng.uniform(0.5, 1)
        cases.evidence.append(Evidence(0.9, rng.uniform(0.3, 1), 0.9, color, close, 0.9, 0.5))
        cases.error.append(0.02 if right else 0.5)
    fitted = fit_calibration(cases.evidence, cases.right)
    table = worth(fitted, cases.evidence, cases.right, 0.8)
    assert table["sure_right"] > 97
    assert table["right_sure"] > 80
    assert fitted.weights["close"] > 10 * abs(fitted.weights["visible"])
    assert fitted.confidence(Evidence(0.9, 0.6, 0.9, float("nan"), 0.86, 0.9, 0.5)) > 0.8
    assert worth(fitted, [NOTHING], np.array([False]), 0.8)["sure_right"] is None


def test_a_measure_that_is_unknown_where_most_are_wrong_counts_for_less():
    rng = np.random.default_rng(0)
    cases = Cases()
    for i in range(400):
        unknown = i % 2 == 0
        right = rng.random() < (0.2 if unknown else 0.6)
        color = float("nan") if unknown else rng.normal(0.9 if right else 0.6, 0.1)
        cases.evidence.append(Evidence(0.9, 0.6, 0.9, color, rng.uniform(0.5, 1), 0.9, 0.5))
        cases.error.append(0.02 if right else 0.5)
    fitted = fit_calibration(cases.evidence, cases.right)
    unknown = [fitted.confidence(e) for e in cases.evidence if e.color != e.color]
    assert np.mean(unknown) == pytest.approx(0.2, abs=0.06)
