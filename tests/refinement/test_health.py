"""Label-free measures: health of poses, flips among neighbours."""

import math

import pytest
import torch

from self6d.errors import DivergenceError
from self6d.geometry import axis_angle_to_matrix
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.refinement.health import (
    HealthMonitor,
    depth_gaps,
    depth_tolerance,
    flipped_against_neighbours,
    judge_poses,
)
from self6d.rendering.result import Rendering

OBJECTIVE = SelfSupervision(LossConfig(perceptual=0.0, ms_ssim=0.0))


def strip(mask, drawn, sensor, depth=1.0):
    """A 1 x n strip: predicted mask, rendered coverage, sensor depth -> target, rendering."""
    mask, drawn = torch.tensor([[mask]]).float(), torch.tensor([[drawn]]).bool()
    depth_m = drawn.float() * depth
    rendering = Rendering(
        drawn[:, None].float().expand(-1, 3, -1, -1), depth_m, drawn.float(), drawn.int() - 1
    )
    rgb = torch.zeros(1, 3, *mask.shape[1:])
    sensor = None if sensor is None else torch.tensor([[sensor]]).float()
    return OBJECTIVE.observe(rgb, sensor, mask, torch.eye(3)[None]), rendering


def judged(mask, drawn, sensor):
    return judge_poses(OBJECTIVE, *strip(mask, drawn, sensor), torch.tensor([0.1]))


class TestHealth:
    def test_by_hand(self):
        health = judged([1, 1, 1, 0], [0, 1, 1, 1], [1.0, 1.003, 1.2, 0])
        assert health.mask_iou.item() == 0.5
        # measured under the mask: three; covered and near: one
        assert health.depth_inliers.item() == pytest.approx(1 / 3)
        assert health.trust.item() == pytest.approx(1 / 6)

    @pytest.mark.parametrize("sensor", [None, [0, 0, 0, 0]])
    def test_without_depth_the_mask_alone(self, sensor):
        health = judged([1, 1, 0, 0], [1, 1, 0, 0], sensor)
        assert health.depth_inliers.isnan().all()
        assert health.trust.item() == 1

    def test_nothing_there_is_no_trust(self):
        assert judged([0, 0], [0, 0], None).trust.item() == 0

    def test_gap_is_the_median_where_both_show_the_object(self):
        both = strip([1, 1, 1, 1, 0], [0, 1, 1, 1, 1], [1.0, 1.003, 1.02, 0.9, 5.0])
        assert depth_gaps(*both).item() == pytest.approx(0.02, abs=1e-6)
        assert depth_gaps(*strip([1, 0], [0, 1], [1.0, 1.0])).isnan().all()
        assert depth_gaps(*strip([1, 1], [1, 1], None)).isnan().all()

    def test_tolerance_follows_the_size(self):
        tolerance = depth_tolerance(torch.tensor([0.05, 0.2, 1.0]))
        assert tolerance.tolist() == pytest.approx([0.004, 0.008, 0.015])


class TestFlips:
    def turn(self, *degrees):
        angle = torch.tensor([math.radians(d) for d in degrees])
        return axis_angle_to_matrix(torch.tensor([0.0, 1, 0]) * angle[:, None])

    def flipped(self, R, scene=None, frame=None, symmetries=None):
        n = len(R)
        scene = torch.zeros(n, dtype=torch.long) if scene is None else torch.tensor(scene)
        frame = torch.arange(n) if frame is None else torch.tensor(frame)
        symmetries = torch.eye(3)[None] if symmetries is None else symmetries
        return flipped_against_neighbours(R, scene, frame, symmetries).tolist()

    def test_one_among_calm_neighbours(self):
        assert self.flipped(self.turn(0, 3, 186, 9, 12)) == [False, False, True, False, False]

    def test_symmetric_turns_are_no_flips(self):
        group = torch.stack((torch.eye(3), self.turn(180)[0]))
        assert not any(self.flipped(self.turn(0, 3, 186, 9, 12), symmetries=group))

    def test_other_recordings_and_gaps_say_nothing(self):
        R = self.turn(0, 3, 186, 9, 12)
        assert not any(self.flipped(R, scene=[0, 0, 1, 2, 2]))
        assert not any(self.flipped(R, frame=[0, 1, 2, 100, 101]))

    def test_real_motion_is_no_flip(self):
        assert not any(self.flipped(self.turn(0, 80, 160, 240)))

    def test_two_frames_are_too_few(self):
        assert self.flipped(self.turn(0, 180)) == [False, False]


class TestHealthMonitor:
    def test_collapse_needs_two_strikes(self):
        monitor = HealthMonitor(collapse=0.5)
        assert not monitor.check(0.8, 0)
        assert not monitor.check(0.1, 10)
        assert not monitor.check(0.7, 20)
        assert not monitor.check(0.1, 30)
        with pytest.raises(DivergenceError, match=r"health fell from 0\.80 to 0\.20 by step 40"):
            monitor.check(0.2, 40)

    def test_a_fall_from_the_best_counts_though_the_start_was_low(self):
        monitor = HealthMonitor(collapse=0.5)
        assert not any(monitor.check(v, 0) for v in (0.1, 0.3, 0.14))
        with pytest.raises(DivergenceError, match=r"from 0\.30 to 0\.12"):
            monitor.check(0.12, 40)

    def test_depth_that_drifts_away_counts_as_a_collapse(self):
        monitor = HealthMonitor()
        assert not any(monitor.check(0.5, 0, gap) for gap in (0.012, 0.010, float("nan"), 0.02))
        with pytest.raises(DivergenceError, match="gap to the depth grew from 10 mm to 21 mm"):
            monitor.check(0.5, 40, 0.021)
        better = HealthMonitor(start={"depth_gap_m": 0.02})
        assert not any(better.check(0.5, 0, gap) for gap in (0.02, 0.006, 0.012, 0.012, 0.02))
        assert not better.check(0.5, 50, 0.021)
        with pytest.raises(DivergenceError, match="from 6 mm to 22 mm by step 60"):
            better.check(0.5, 60, 0.022)
        unknown = HealthMonitor(start={"depth_gap_m": float("nan")})
        assert not unknown.check(0.5, 0, 0.006)
        assert unknown.fallen(0.5, 0.012)
        near = HealthMonitor()
        assert not any(near.check(0.5, 0, gap) for gap in (0.002, 0.006, 0.006))
        off = HealthMonitor(collapse=0.0)
        assert not any(off.check(0.5, 0, gap) for gap in (0.01, 0.1, 0.1))

    def test_patience(self):
        monitor = HealthMonitor(patience=2)
        said = [monitor.check(v, 0) for v in (0.5, 0.6, 0.6, 0.59)]
        assert said == [None, None, None, "health no longer improves (2 checks without a new best)"]

    def test_tells_what_changed_and_warns_where_all_got_worse(self):
        start = {"trust": 0.3, "mask_iou": 0.64, "depth_inliers": 0.08, "depth_gap_m": 0.046}
        monitor = HealthMonitor(start=start)
        level, text = monitor.told(start | {"trust": 0.1, "mask_iou": 0.7, "depth_gap_m": 0.06}, 9)
        assert level == "info"
        assert text == (
            "without labels, from the start to step 9: mask agreement 64 -> 70 %, "
            "depth explained 8 -> 8 %, gap to the depth 46 -> 60 mm"
        )
        worse = start | {"trust": 0.1, "mask_iou": 0.36, "depth_gap_m": 0.06}
        assert monitor.told(worse, 9)[0] == "warning"
        without_depth = {"trust": 0.2, "mask_iou": 0.2}
        assert monitor.told(without_depth, 9)[0] == "warning"
        hardly = {"trust": 0.2995, "mask_iou": 0.639}  # both sides read "64 %": nothing got worse
        assert monitor.told(hardly, 9)[0] == "info"

    def test_worse_than_the_start_needs_mask_and_depth(self):
        start = {"trust": 0.3, "mask_iou": 0.64, "depth_gap_m": 0.046}
        monitor = HealthMonitor(start=start)
        told = monitor.worse({"trust": 0.31, "mask_iou": 0.62, "depth_gap_m": 0.052})
        assert told == (
            "mask agreement fell from 64.0% to 62.0% "
            "and the gap to the depth grew from 46 mm to 52 mm"
        )
        told = monitor.worse({"trust": 0.2, "mask_iou": 0.62, "depth_gap_m": 0.04})
        assert told == "mask agreement fell from 64.0% to 62.0% and trust from 0.300 to 0.200"
        # what L_self does where it helps: masks given up for the depth
        assert not monitor.worse({"trust": 0.4, "mask_iou": 0.5, "depth_gap_m": 0.02})
        assert not monitor.worse({"trust": 0.2, "mask_iou": 0.639, "depth_gap_m": 0.06})
        assert not monitor.worse({"trust": 0.2, "mask_iou": 0.1})
        assert not HealthMonitor().worse(start)

    def test_state_goes_on(self):
        monitor, other = HealthMonitor(patience=3), HealthMonitor()
        monitor.check(0.4, 0)
        other.load(monitor.state())
        assert other == monitor
