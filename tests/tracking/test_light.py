"""A look learned in one light, and what it says of its own paint in another."""

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
from self6d.tracking.coarse import Candidates
from self6d.tracking.evidence import DEFAULT
from self6d.tracking.fit import LIKE, UNLIKE, Estimate, ObjectFitter
from self6d.tracking.follow import DOUBTS, SAME_PAINT, follow, learn
from self6d.tracking.work import Memory

SIZE = 96
K = torch.tensor([[220.0, 0, 48], [0, 220.0, 48], [0, 0, 1]])
MODEL = block()
R = axis_angle_to_matrix(torch.tensor([[0.5, 0.6, 0.1]]))  # three faces are seen
t = torch.tensor([[0.0, 0.0, 0.35]])
POSE = R[0].numpy(), t[0].numpy()


GRAIN = 0.2
OTHER = (2, 0, 1)  # its channels, to make another paint


def seen(grain: float = 0.0, paint: tuple[int, ...] = (0, 1, 2)) -> FrameBatch:
    """The block before a wall."""
    view = render(R, t, K[None], pack_models([MODEL]), (SIZE, SIZE), soft_mask=False)
    inside = view.covered
    rgb = torch.where(inside[:, None], view.rgb[:, list(paint)], torch.tensor(0.5))
    rgb = rgb + grain * torch.randn(rgb.shape, generator=torch.Generator().manual_seed(0))
    depth = torch.where(inside, view.depth_m, torch.tensor(0.8))
    return FrameBatch(rgb.clamp(0, 1), depth, K[None])


@pytest.fixture(scope="module")
def fitter() -> ObjectFitter:
    config = build_config("track", {"track.points": 256}, stage="track")
    place = torch.device("cpu")
    return ObjectFitter(MODEL, SelfSupervision(config.loss, place), config.track, DEFAULT, place)


@pytest.fixture(scope="module")
def known(fitter) -> list[float]:
    """The look, learned without grain."""
    return fitter.learned(seen(), *POSE, None)


def judged(fitter: ObjectFitter, known: list[float], frame: FrameBatch, turn=None) -> Estimate:
    turned = R if turn is None else R @ turn
    painted = fitter.painted(frame, known, None)
    return fitter.judge(fitter._region(painted, turned, t), turned, t, painted)[0]


def test_colours_that_no_look_makes_more_alike_are_no_objection(fitter, known):
    found = judged(fitter, known, seen(GRAIN))
    assert found.evidence.color < LIKE
    assert found.confidence > 0.9


def test_other_paint_is_one_in_poor_light_too(fitter, known):
    for grain in (0.0, GRAIN):
        found = judged(fitter, known, seen(grain, OTHER))
        assert fitter.calibration.confidence(found.evidence) > 0.5  # by all else
        assert found.confidence == UNLIKE


def test_colours_that_a_look_could_make_alike_are_held_to_what_is_expected(fitter, known):
    frame = seen()
    painted = fitter.painted(frame, known, None)
    assert not fitter.other_light(0.99 * LIKE, painted, *POSE)  # near `LIKE`, in the same light
    assert not fitter.other_light(0.99 * LIKE, fitter.painted(frame, None), *POSE)  # no look yet


def test_a_look_is_learned_anew_in_other_light_and_not_from_other_paint(fitter, known):
    memory = Memory(look=known)
    frame = seen(GRAIN)
    found = judged(fitter, known, frame)
    assert found.evidence.color < SAME_PAINT
    learn(fitter, frame, memory, found)
    assert memory.look == fitter.learned(frame, *POSE, None)  # nothing of the old one
    again = judged(fitter, memory.look, frame)
    assert again.evidence.color == pytest.approx(1, abs=0.05)

    memory = Memory(look=known)
    other = seen(GRAIN, OTHER)
    found = replace(judged(fitter, known, other), confidence=1.0)
    learn(fitter, other, memory, found)
    assert memory.look == known


@pytest.mark.parametrize("network", [True, False])
def test_a_look_is_forgotten_where_a_network_sees_what_paint_alone_speaks_against(
    fitter, known, network
):
    memory, rng = Memory(look=known), np.random.default_rng(0)
    memory.saw(0, *POSE)
    frame = seen()
    frame = FrameBatch(0.5 * frame.images, frame.depth_m, frame.K)  # a lamp is switched off
    there = Candidates.unscored(R.numpy(), t.numpy())
    said = []
    for time in range(1, DOUBTS + 2):
        found = follow(
            fitter, frame, memory, time, rng, (lambda: there) if network else None, search=False
        )
        said.append(found.confidence)
    assert max(said[: DOUBTS - 1]) <= UNLIKE
    if network:
        assert min(said[DOUBTS - 1 :]) > 0.9
        assert memory.look[-1] < known[-1]
    else:
        assert max(said) <= UNLIKE
        assert memory.look == known
