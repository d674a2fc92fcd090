"""The paint of a model without colours: learned where it was seen, and told from a half turn's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from block_shapes import block

from self6d.geometry import axis_angle_to_matrix
from self6d.losses.objective import SelfSupervision
from self6d.rendering import pack_models, render
from self6d.run_config import build_config
from self6d.scene.batch import FrameBatch
from self6d.tracking.evidence import DEFAULT, NOTHING
from self6d.tracking.fit import LIKE, UNLIKE, Estimate, ObjectFitter
from self6d.tracking.follow import surest
from self6d.tracking.paint import Paint

SIZE = 96
K = torch.tensor([[220.0, 0, 48], [0, 220.0, 48], [0, 0, 1]])
PAINTED = block()
GREY = replace(PAINTED, has_color=False)
R = axis_angle_to_matrix(torch.tensor([[0.5, 0.6, 0.1]]))  # three faces are seen
t = torch.tensor([[0.0, 0.0, 0.35]])
HALF_TURN = torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None]


def seen(R: torch.Tensor) -> FrameBatch:
    """The painted block before a wall."""
    view = render(R, t, K[None], pack_models([PAINTED]), (SIZE, SIZE), soft_mask=False)
    inside = view.covered
    rgb = torch.where(inside[:, None], view.rgb, torch.tensor(0.5))
    return FrameBatch(rgb, torch.where(inside, view.depth_m, torch.tensor(0.8)), K[None])


def fitter_of(model) -> ObjectFitter:
    config = build_config("track", {"track.points": 256}, stage="track")
    place = torch.device("cpu")
    return ObjectFitter(model, SelfSupervision(config.loss, place), config.track, DEFAULT, place)


@pytest.fixture(scope="module")
def fitter() -> ObjectFitter:
    return fitter_of(GREY)


def test_a_half_turn_shows_other_paint_than_was_learned(fitter):
    frame = seen(R)
    pose, turned = (x[0].numpy() for x in (R, R @ HALF_TURN))
    known = fitter.learned(frame, pose, t[0].numpy(), None)
    known = fitter.learned(seen(R @ HALF_TURN), turned, t[0].numpy(), known)  # its other side
    painted = fitter.painted(frame, known, None)

    def judged(R: torch.Tensor):
        return fitter.judge(fitter._region(painted, R, t), R, t, painted)[0]

    right, wrong = judged(R), judged(R @ HALF_TURN)
    assert right.evidence.explained == pytest.approx(wrong.evidence.explained, abs=0.02)
    assert right.evidence.color > 0.95
    assert right.confidence > 0.8
    assert wrong.evidence.color < LIKE  # one of its three faces is the same
    assert wrong.confidence <= UNLIKE


def test_sides_that_were_not_seen_say_little(fitter):
    frame, turned = seen(R), R @ HALF_TURN
    known = fitter.learned(frame, R[0].numpy(), t[0].numpy(), None)
    painted = fitter.painted(frame, known, None)
    (other,) = fitter.judge(fitter._region(painted, turned, t), turned, t, painted)
    assert 0.6 < other.evidence.color < 0.9  # one of three faces was seen, and agrees
    paint = Paint.from_state(known)
    assert 40 < (paint.weight > 0).sum() < 200
    again = Paint.from_state(paint.state())
    np.testing.assert_allclose(again.ab, paint.ab, atol=1e-5)
    np.testing.assert_array_equal(again.weight, paint.weight)


def test_colours_of_cad_and_turns_without_a_shape_are_not_learned_as_paint(fitter):
    frame, at = seen(R), (R[0].numpy(), t[0].numpy())
    assert len(fitter_of(PAINTED).learned(frame, *at, None)) == 13  # how the camera shows them
    fitter.points, own = (
        replace(fitter.points, same=np.stack((np.eye(3), -np.eye(3)))),
        fitter.points,
    )
    try:
        assert fitter.learned(frame, *at, None) is None
    finally:
        fitter.points = own


def test_of_poses_that_colours_hardly_tell_apart_the_least_turned_is_taken(fitter):
    before, at = R.numpy(), t[0].numpy()

    def estimate(turned: bool, color: float, confidence: float) -> Estimate:
        pose = R @ HALF_TURN if turned else R
        return Estimate(pose[0].numpy(), at, replace(NOTHING, color=color), confidence)

    over, kept = estimate(True, 0.72, 0.9), estimate(False, 0.7, 0.85)
    assert surest([over, kept], fitter, before) is kept
    assert surest([over, kept], fitter, before[:0]) is over
    other = replace(kept, evidence=replace(kept.evidence, color=0.75, explained=-0.3))
    assert surest([over, other], fitter, before) is over  # alike in colour, and less explained
    clear = estimate(True, 1.0, 0.85)
    assert surest([clear, kept], fitter, before) is clear
