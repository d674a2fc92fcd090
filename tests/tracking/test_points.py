"""Points that know from where they are seen, and the coarse searches over them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from block_shapes import block
from host_free import OnDeviceOnly

from self6d.geometry import axis_angle_to_matrix, random_rotations, rotation_angle
from self6d.refinement.regions import RegionCrops
from self6d.rendering import pack_models, render
from self6d.scene.batch import FrameBatch
from self6d.scene.mesh import Symmetry
from self6d.tracking.coarse import Candidates, Home, distinct, search_everywhere, search_near
from self6d.tracking.points import ModelPoints, View, even_directions, looking_along, score_poses
from self6d.tracking.quick.near import NearSearch, NearSettings

SIZE = 128
K = torch.tensor([[200.0, 0, 64], [0, 200.0, 64], [0, 0, 1]])
R0 = axis_angle_to_matrix(torch.tensor([0.5, 0.4, -0.3]))
T0 = torch.tensor([0.03, -0.02, 0.5])
MODEL = block()


@cache  # not on import: every worker would compile the renderer's loops, all at once
def of_block() -> ModelPoints:
    return ModelPoints.of(MODEL, 200)


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Colour and depth of the block before a wall."""
    seen = render(R0[None], T0[None], K, pack_models([MODEL]), (SIZE, SIZE), soft_mask=False)
    covered = seen.covered[0]
    rgb = torch.where(covered[None], seen.rgb[0], torch.full_like(seen.rgb[0], 0.5))
    return rgb, torch.where(covered, seen.depth_m[0], torch.full_like(seen.depth_m[0], 0.8))


def view() -> View:
    return View.of(*pictures(), K)


def errors(R, t):
    """Degrees and millimetres from the truth."""
    angle = rotation_angle(torch.from_numpy(R).float(), R0[None].float()).rad2deg()
    return angle.numpy(), 1000 * np.linalg.norm(t - T0.numpy(), axis=1)


def score(R, t, **settings):
    return score_poses(of_block(), view(), R, t, margin_m=0.006, **settings)


def test_points_are_seen_from_their_own_side_only():
    half = 0.05 * np.array([0.5, 0.75, 1.0])
    for axis, direction in enumerate(np.eye(3)):
        side = (of_block().directions @ direction).argmax()  # at most a few degrees beside it
        seen, beyond = of_block().seen[side], of_block().points @ direction
        assert seen[beyond > 0.999 * half[axis]].mean() > 0.9
        assert not seen[beyond < -0.95 * half[axis]].any()
    sides = [(of_block().directions @ d).argmax() for d in np.eye(3)]
    towards = np.einsum("vi,vi->v", of_block().anchor[sides], np.eye(3))
    assert towards == pytest.approx(half, abs=0.006)
    aside = of_block().anchor[sides] - towards[:, None] * np.eye(3)
    assert np.linalg.norm(aside, axis=1).max() < 0.02


def test_the_true_pose_scores_best_and_flips_score_less_by_colour():
    R, t = R0.numpy()[None], T0.numpy()[None]
    best = score(R, t)[0]
    assert best > 0.6
    rng = np.random.default_rng(0)
    others = random_rotations(50, generator=torch.Generator().manual_seed(0)).numpy()
    assert score(others, np.repeat(t, 50, 0)).max() < best
    moved = t + 0.03 * rng.standard_normal((50, 3)).astype(np.float32)
    assert score(np.repeat(R, 50, 0), moved).max() < best
    flipped = R @ np.diag([1.0, -1, -1]).astype(np.float32)
    assert score(flipped, t)[0] < 0.8 * best


def test_the_score_is_of_points_seen_unmeasured_ones_neutral_seen_through_ones_against():
    R, t = R0.numpy()[None], T0.numpy()[None]
    blind = View(np.zeros((SIZE, SIZE), np.float32), view().ab, view().K)
    assert score_poses(of_block(), blind, R, t, margin_m=0.006)[0] == 0
    assert score(R, t - [[0, 0, 0.2]])[0] < -0.5  # floats before the wall and the block
    assert score(R, t * [[1, 1, -1]])[0] == -1  # behind the camera
    assert score(R, t + np.array([5.0, 0, 0]))[0] == 0  # out of the image


def test_a_search_near_a_rough_pose_comes_close():
    turn = axis_angle_to_matrix(torch.tensor([0.1, -0.1, 0.1])).numpy()
    R, t = (turn @ R0.numpy())[None], T0.numpy()[None] + np.float32(0.008)
    found = search_near(
        of_block(), view(), R, t, np.random.default_rng(0), candidates=400, turn=0.15,
        shift_m=0.01, margin_m=0.006,
    )  # fmt: skip
    angle, apart = errors(found.R, found.t)
    assert angle[0] < 5
    assert apart[0] < 5
    assert list(found.score) == sorted(found.score, reverse=True)


def test_a_search_everywhere_finds_the_pose_among_its_best():
    found = search_everywhere(
        of_block(), view(), np.random.default_rng(0), views=100, margin_m=0.006,
        diameter=MODEL.diameter, keep=8,
    )  # fmt: skip
    angle, apart = errors(found.R, found.t)
    assert ((angle < 15) & (apart < 10)).any()
    assert len(distinct(of_block(), found, 0.35, 0.1 * MODEL.diameter)) == len(found)


def test_turns_about_an_axis_of_symmetry_are_none_and_upside_down_is_one():
    axis = Symmetry(axes=np.array([[0.0, 0, 1]]), offsets=np.zeros((1, 3)))
    points = ModelPoints.of(replace(MODEL, symmetry=axis), 32)
    R = R0.numpy()
    about = axis_angle_to_matrix(torch.tensor([[0, 0, 2.1], [np.pi, 0, 0], [0.3, 0, 0]])).numpy()
    about[2] @= axis_angle_to_matrix(torch.tensor([0, 0, 1.0])).numpy()
    degrees = np.degrees(np.arccos(points.turn_between(R @ about, R).clip(-1, 1)))
    assert degrees[0] < 4
    assert degrees[1] == pytest.approx(180, abs=0.1)
    assert np.degrees(0.3) - 0.1 < degrees[2] < np.degrees(0.3) + 4
    same_place = np.repeat(T0.numpy()[None], 4, 0)
    turned = Candidates(np.stack([R, *(R @ about)]), same_place, np.float32([4, 3, 2, 1]))
    assert distinct(points, turned, 0.2, 0.01).score.tolist() == [4, 2, 1]
    assert distinct(of_block(), turned, 0.2, 0.01).score.tolist() == [4, 3, 2, 1]


def test_an_image_without_depth_has_no_place_to_search():
    blind = View(np.zeros((SIZE, SIZE), np.float32), view().ab, view().K)
    found = search_everywhere(
        of_block(), blind, np.random.default_rng(0), views=12, margin_m=0.006, diameter=0.1, keep=5
    )
    assert len(found) == 0


def test_directions_are_even_and_looked_along():
    directions = even_directions(200)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1)
    assert np.linalg.norm(directions.mean(0)) < 0.01
    R = looking_along(directions)
    assert np.linalg.det(R) == pytest.approx(1)
    towards_camera = np.einsum("nij,nj->ni", R, directions)
    assert towards_camera == pytest.approx(np.tile([0.0, 0, -1], (200, 1)), abs=1e-9)


def test_the_search_on_tensors_is_the_same_and_asks_nothing_of_the_host():
    turn = axis_angle_to_matrix(torch.tensor([0.1, -0.1, 0.1])).numpy()
    R, t = (turn @ R0.numpy())[None], T0.numpy()[None] + np.float32(0.008)
    how = NearSettings(400, 0.15, 0.01, 0.006, MODEL.diameter, 0.3, 2.0, 0.045)
    there, rng = view(), np.random.default_rng(0)
    home = Home(of_block(), R, t, MODEL.diameter, how.pull)
    swept = search_near(
        of_block(), there, R, t, rng, candidates=400, turn=0.045, shift_m=0.02, margin_m=0.012,
        rounds=2, home=home,
    ).best(6)  # fmt: skip
    expected = search_near(
        of_block(), there, np.concatenate((R, swept.R)), np.concatenate((t, swept.t)), rng,
        candidates=400, turn=0.15, shift_m=0.01, margin_m=0.006, home=home,
    )  # fmt: skip
    box = torch.tensor([[0.0, 0, SIZE, SIZE]])

    def whole(images, depth_m, K, R, t, grow_m, size) -> RegionCrops:
        assert (R.shape, t.shape, grow_m, size) == ((1, 3, 3), (1, 3), 0.02, SIZE)
        return RegionCrops(images, depth_m, depth_m > 0, K, box)

    rgb, depth = pictures()
    frame = FrameBatch(rgb[None], depth[None], K[None])
    search = NearSearch(of_block(), "cpu", whole, SIZE)
    found = search(frame, True, R, t, np.random.default_rng(0), how)
    np.testing.assert_allclose(found.score, expected.score, atol=1e-5)
    np.testing.assert_allclose(found.t[0], expected.t[0], atol=1e-5)
    np.testing.assert_allclose(found.R[0], expected.R[0], atol=1e-5)

    nowhere = NearSearch(of_block(), "meta", whole, SIZE)
    shapes = [(1, 3, SIZE, SIZE), (1, SIZE, SIZE), (1, 3, 3), (1, 1, 12), (1, 4800, 6)]
    inputs = [torch.empty(shape, device="meta") for shape in shapes]
    nowhere._searched(how, True, *inputs)  # constants are made once
    with OnDeviceOnly():
        (rows,) = nowhere._searched(how, True, *inputs)
    assert rows.shape == (1, 24, 13)
