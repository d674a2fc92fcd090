"""A still scene solved from poses of single colour images, which err in distance."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from simulated_views import simulate, turn

from self6d.tracking.still.parallax import solve_still
from self6d.tracking.still.views import Noise, Views, turned_by


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_poses_solved_together_are_far_better_than_those_of_single_images(seed):
    scene = simulate(seed)
    solved = solve_still(scene.things, scene.seen)
    assert not solved.moving
    assert len(solved.poses) >= 0.95 * len(scene.true)  # those missed by single images as well
    before = scene.right(scene.own)
    # what all objects' biases have in common stays: nothing else says how large the scene is
    true = {at: (R, t * np.exp(scene.bias.mean())) for at, (R, t) in scene.true.items()}
    apart = [scene.things[at[1]].apart(pose, true[at]) for at, pose in solved.poses.items()]
    assert before < 0.3
    assert np.mean(np.array(apart) < 0.1) > max(0.7, 3 * before)
    assert scene.right(solved.poses) > 1.5 * before
    bias = np.array([solved.bias[i] for i in scene.things])
    left = (bias - bias.mean()) - (scene.bias - scene.bias.mean())
    assert left.std() < 0.5 * scene.bias.std()
    single = np.array(
        [scene.things[s.item].apart((s.R, s.t), scene.true[s.frame, s.item]) for s in scene.seen]
    )
    assert solved.agrees[single < 0.1].mean() > 0.8
    assert solved.agrees[single > 1].mean() < 0.3


def test_what_moves_is_named_and_the_rest_is_solved():
    scene = simulate(3, moving=(1,))
    solved = solve_still(scene.things, scene.seen)
    assert solved.moving == {(0, 1)}
    assert not any(
        agrees for agrees, s in zip(solved.agrees, scene.seen, strict=True) if s.item == 1
    )
    rest = [at for at in scene.own if at[1] != 1 and at in solved.poses]
    assert scene.right(solved.poses, rest) > 1.5 * scene.right(scene.own, rest)


def test_stretches_between_rearrangements_are_found_and_share_what_distances_have_in_common():
    scene = simulate(4, rearranged=22)
    solved = solve_still(scene.things, scene.seen)
    assert [piece[0] for piece in solved.pieces] == [0, 22]
    assert [piece[-1] for piece in solved.pieces] == [21, 39]
    assert scene.right(solved.poses) > 2 * scene.right(scene.own)


def test_frames_that_show_other_objects_count_as_well():
    scene = simulate(4, items=8, shown=lambda f: range(5) if f < 20 else range(3, 8))
    solved = solve_still(scene.things, scene.seen)
    assert len(solved.moving) <= 1  # of five objects a frame, one may seem to move
    assert scene.right(solved.poses) > 2 * scene.right(scene.own)


def test_too_little_is_said_to_be_too_little():
    scene = simulate(5, items=3)
    alone = [s for s in scene.seen if s.item == 0]
    solved = solve_still(scene.things, alone)
    assert not solved.poses  # one object's poses cannot check each other's cameras
    nothing = solve_still(scene.things, [])
    assert not nothing.poses


def test_derivatives_of_what_is_off():
    scene = simulate(6, frames=6)
    views = Views.of(scene.seen, scene.things)
    rng = np.random.default_rng(0)
    n = len(views)
    R = np.array([turn(rng, 0.5) @ scene.true[s.frame, s.item][0] for s in scene.seen])
    spun = np.array([scene.things[s.item].axis is not None for s in scene.seen])
    R[~spun] = [turn(rng, 0.5) @ r for r in views.R[~spun]]
    middle = views.middle + 0.01 * rng.standard_normal((n, 3))
    off = views.off(R, middle, np.zeros(n))
    near = np.linalg.norm(off.turn, axis=1) < 0.2
    for k in range(3):
        step = 1e-6 * np.eye(3)[k]
        moved = views.off(R, middle + step, np.zeros(n))
        found = np.column_stack((moved.side - off.side, moved.far - off.far)) / 1e-6
        assert np.allclose(found, off.by_middle[:, :, k], atol=1e-3 * np.abs(found).max())
        turned = views.off(turned_by(np.tile(step, (n, 1)), R), middle, np.zeros(n))
        found = (turned.turn - off.turn) / 1e-6
        assert np.allclose(found[near], off.by_turn[near, :, k], atol=0.15)
    assert near.sum() > n / 2


def test_a_half_turn_that_does_not_show_is_not_off():
    scene = simulate(7, frames=4)
    last = len(scene.things) - 1
    views = Views.of([s for s in scene.seen if s.item == last], scene.things)
    half = Rotation.from_rotvec([0, 0, np.pi]).as_matrix()
    off = views.off(views.R @ half, views.middle, np.zeros(len(views)))
    assert np.abs(off.turn).max() < 1e-6
    place, turned = off.believed(Noise(0.02, 0.04, 0.1))
    assert np.allclose(place, 1)
    assert np.allclose(turned, 1)
