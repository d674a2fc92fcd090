"""Pose errors on cases worked out by hand, and against plain loops over the definitions."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from self6d.errors import InputError
from self6d.evaluation import metrics
from self6d.evaluation.nearest import PointTree
from self6d.scene import Symmetry

EYE = np.eye(3)
SQUARE = np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
FRONT = np.array([0, 0, 10.0])


def shifted(*by):
    return FRONT + np.array(by)


def about_z(degrees):
    return Rotation.from_euler("z", degrees, degrees=True).as_matrix()


def symmetry_of(*turns):
    transforms = np.tile(np.eye(4), (len(turns), 1, 1))
    transforms[:, :3, :3] = turns
    return transforms


def random_pairs(count, seed):
    rng = np.random.default_rng(seed)
    R = Rotation.random(count, random_state=seed).as_matrix()
    R_true = R @ Rotation.from_rotvec(rng.normal(0, 0.3, (count, 3))).as_matrix()
    t = rng.normal((0, 0, 1), 0.1, (count, 3))
    return R, t, R_true, t + rng.normal(0, 0.02, (count, 3)), rng.normal(0, 0.05, (200, 3))


def test_add_of_a_shift_is_its_length():
    error = metrics.add(EYE, shifted(3, 4, 0), EYE, FRONT, SQUARE)
    np.testing.assert_allclose(error, [5.0])


def test_add_of_a_quarter_turn_is_the_chord():
    np.testing.assert_allclose(metrics.add(about_z(90), FRONT, EYE, FRONT, SQUARE), [np.sqrt(2)])


def test_add_s_of_a_quarter_turn_of_a_square_is_nothing():
    np.testing.assert_allclose(
        metrics.add_s(about_z(90), FRONT, EYE, FRONT, SQUARE), [0], atol=1e-12
    )


def test_add_s_by_hand():
    # truth (1,0), (-1,0) on the x axis; estimate shifted by 0.5: nearest are 0.5 and 0.5 away...
    points = np.array([[1.0, 0, 0], [-1, 0, 0]])
    np.testing.assert_allclose(metrics.add_s(EYE, shifted(0.5, 0, 0), EYE, FRONT, points), [0.5])
    # ...shifted by 3, the nearest to 1 is 2 (1 away) and to -1 it is 2 as well (3 away)
    np.testing.assert_allclose(metrics.add_s(EYE, shifted(3, 0, 0), EYE, FRONT, points), [2.0])


def test_add_or_add_s_follows_the_object():
    args = (about_z(90), FRONT, EYE, FRONT, SQUARE)
    assert metrics.add_or_add_s(*args, symmetric=False)[0] > 1
    assert metrics.add_or_add_s(*args, symmetric=True)[0] < 1e-9


def test_mssd_takes_the_worst_point_and_the_best_symmetry():
    points = np.array([[1.0, 0, 0], [2, 0, 0]])
    half = symmetry_of(EYE, about_z(180))
    np.testing.assert_allclose(
        metrics.mssd(about_z(180), FRONT, EYE, FRONT, points, symmetry_of(EYE)), [4.0]
    )
    np.testing.assert_allclose(
        metrics.mssd(about_z(180), FRONT, EYE, FRONT, points, half), [0], atol=1e-12
    )


def test_mspd_and_projection_by_hand():
    # points at depth 10 with focal length 100: a shift of 1 along x moves them by 10 pixels
    K = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
    args = (EYE, shifted(1, 0, 0), EYE, FRONT)
    np.testing.assert_allclose(metrics.mspd(*args, K, SQUARE, symmetry_of(EYE)), [10.0])
    np.testing.assert_allclose(metrics.projection_2d(*args, K, SQUARE), [10.0])
    # along the axis to depth 5, (1, 0) moves from 10 to 20 pixels off centre
    nearer = (EYE, FRONT / 2, EYE, FRONT)
    np.testing.assert_allclose(metrics.mspd(*nearer, K, SQUARE, symmetry_of(EYE)), [10.0])


def test_batches_equal_plain_loops_over_the_definitions():
    R, t, R_true, t_true, points = random_pairs(6, seed=1)
    turns = symmetry_of(EYE, about_z(120), about_z(240))
    K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
    moved = np.einsum("bij,nj->bni", R, points) + t[:, None]
    truth = np.einsum("bij,nj->bni", R_true, points) + t_true[:, None]
    apart = np.linalg.norm(moved - truth, axis=-1)
    np.testing.assert_allclose(metrics.add(R, t, R_true, t_true, points), apart.mean(1))
    nearest = [cdist(g, m).min(1).mean() for g, m in zip(truth, moved, strict=True)]
    np.testing.assert_allclose(metrics.add_s(R, t, R_true, t_true, points), nearest)
    equal = [np.einsum("bij,nj->bni", R_true @ s[:3, :3], points) + t_true[:, None] for s in turns]
    worst = [np.linalg.norm(moved - e, axis=-1).max(1) for e in equal]
    np.testing.assert_allclose(
        metrics.mssd(R, t, R_true, t_true, points, turns), np.min(worst, axis=0)
    )
    pixels = [(p @ K.T)[..., :2] / p[..., 2:] for p in (moved, *equal)]
    worst = [np.linalg.norm(pixels[0] - p, axis=-1).max(1) for p in pixels[1:]]
    np.testing.assert_allclose(
        metrics.mspd(R, t, R_true, t_true, K, points, turns), np.min(worst, axis=0)
    )
    np.testing.assert_allclose(
        metrics.projection_2d(R, t, R_true, t_true, K, points),
        np.linalg.norm(pixels[0] - pixels[1], axis=-1).mean(1),
    )


@pytest.mark.parametrize("count", [1, 3, 9, 1000])
def test_tree_finds_the_nearest_points(count):
    rng = np.random.default_rng(count)
    points = rng.normal(size=(count, 3))
    A = Rotation.random(3, random_state=2).as_matrix()
    b = np.array([[0, 0, 0], [0.3, 0, 0], [20.0, 0, 0]])
    expected = [cdist(points @ a.T + s, points).min(1).mean() for a, s in zip(A, b, strict=True)]
    np.testing.assert_allclose(PointTree(points).mean_nearest(A, b), expected)


def test_rotation_and_translation_without_symmetry():
    angle, distance = metrics.rotation_translation_errors(about_z(30), [0, 3, 4], EYE, [0, 0, 0])
    np.testing.assert_allclose(angle, [30])
    np.testing.assert_allclose(distance, [5])


def test_small_angles_are_exact():
    angle, _ = metrics.rotation_translation_errors(about_z(1e-5), FRONT, EYE, FRONT)
    np.testing.assert_allclose(angle, [1e-5], rtol=1e-6)


def test_turning_about_a_continuous_axis_costs_nothing_and_tilting_does():
    flask = Symmetry(axes=np.array([[0, 0, 1.0]]), offsets=np.zeros((1, 3)))
    tilt = Rotation.from_euler("x", 20, degrees=True).as_matrix()
    R = np.stack([about_z(77.3), tilt @ about_z(200)])
    angle, _ = metrics.rotation_translation_errors(
        R, [FRONT, FRONT], [EYE, EYE], [FRONT, FRONT], flask
    )
    np.testing.assert_allclose(angle, [0, 20], atol=1e-6)


def test_axis_beside_the_origin_moves_the_translation():
    # half a turn about the vertical line through (1, 0) takes the origin to (2, 0)
    disc = Symmetry(axes=np.array([[0, 0, 1.0]]), offsets=np.array([[1.0, 0, 0]]))
    angle, distance = metrics.rotation_translation_errors(
        about_z(180), [2, 0, 0], EYE, [0, 0, 0], disc
    )
    np.testing.assert_allclose(angle, [0], atol=1e-6)
    np.testing.assert_allclose(distance, [0], atol=1e-9)


def test_exact_angle_equals_the_best_of_many_sampled_turns():
    flip = np.diag([1.0, -1, -1, 1])[None]
    symmetry = Symmetry(flip, np.array([[0, 0, 1.0]]), np.zeros((1, 3)))
    R = Rotation.random(20, random_state=0).as_matrix()
    R_true = Rotation.random(20, random_state=1).as_matrix()
    t = np.zeros((20, 3))
    angle, _ = metrics.rotation_translation_errors(R, t, R_true, t, symmetry)
    sampled = [
        Rotation.from_matrix(np.swapaxes(R_true @ s[:3, :3], -1, -2) @ R).magnitude()
        for s in symmetry.transforms(steps=2000)
    ]
    np.testing.assert_allclose(angle, np.degrees(np.min(sampled, axis=0)), atol=0.1)


def test_recall_and_area():
    assert metrics.recall([0.01, 0.02, np.inf], 0.02) == pytest.approx(1 / 3)
    assert metrics.recall([], 0.1) == 0
    # errors 0, 5 cm and a miss: the curve is 1/3 up to 5 cm, 2/3 from there to 10 cm
    assert metrics.area_under_curve([0, 0.05, np.inf]) == pytest.approx(0.5)


def test_class_accuracy_and_angle():
    q = np.array([[1.0, 0, 0, 0], [np.cos(np.pi / 8), np.sin(np.pi / 8), 0, 0], [0, 1, 0, 0]])
    q_true = np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_allclose(metrics.angle_error(q, q_true), [0, 45, 180], atol=1e-6)
    accuracy, angle = metrics.class_accuracy_and_angle([1, 2, 3], [1, 2, 9], q, q_true)
    assert accuracy == pytest.approx(2 / 3)
    assert angle == pytest.approx(22.5)


@pytest.mark.parametrize("error", [metrics.add, metrics.add_s])
def test_errors_have_the_unit_of_their_input(error):
    R, t, R_true, t_true, points = random_pairs(3, seed=5)
    in_mm = (R, 1000 * t, R_true, 1000 * t_true, 1000 * points)
    np.testing.assert_allclose(error(*in_mm), 1000 * error(R, t, R_true, t_true, points))


@pytest.mark.parametrize("name", ["add", "add_s", "mssd", "mspd", "projection_2d", "angle"])
def test_a_pose_that_is_no_number_is_a_miss_and_leaves_the_others(name):
    *poses, points = random_pairs(5, seed=3)
    right = pair_error(name, *poses, points)
    for array, place in ((0, 1), (1, 2), (3, 3)):  # R, t, t_true
        poses[array][place].flat[0] = np.nan if place != 2 else np.inf
    error = pair_error(name, *poses, points)
    np.testing.assert_array_equal(error[[1, 2, 3]], np.inf)
    np.testing.assert_array_equal(error[[0, 4]], right[[0, 4]])


@pytest.mark.parametrize("name", ["add", "add_s", "mssd", "mspd", "projection_2d", "angle"])
def test_one_truth_is_set_against_many_and_other_lengths_are_refused(name):
    R, t, R_true, t_true, points = random_pairs(5, seed=4)
    one = pair_error(name, R, t, R_true[0], t_true[:1], points)
    many = pair_error(name, R, t, R_true[[0] * 5], t_true[[0] * 5], points)
    np.testing.assert_array_equal(one, many)
    with pytest.raises(
        InputError, match="do not pair up: 5 of R, 4 of t, 5 of R_true, 5 of t_true"
    ):
        pair_error(name, R, t[:4], R_true, t_true, points)
    with pytest.raises(InputError, match=r"t has the shape \(3, 5\), not \(B, 3\)"):
        pair_error(name, R, t.T, R_true, t_true, points)


def pair_error(name, R, t, R_true, t_true, points):
    poses = (R, t, R_true, t_true)
    K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    if name == "angle":
        return metrics.rotation_translation_errors(*poses)[0]
    if name == "mssd":
        return metrics.mssd(*poses, points, symmetry_of(EYE, about_z(180)))
    if name == "mspd":
        return metrics.mspd(*poses, K, points, symmetry_of(EYE, about_z(180)))
    if name == "projection_2d":
        return metrics.projection_2d(*poses, K, points)
    return getattr(metrics, name)(*poses, points)
