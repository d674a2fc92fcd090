"""Large planes are left out of a search, an object's own sides are not."""

import numpy as np

from self6d.tracking.planes import before_planes

NORMAL = np.array([0.0, 0.6, 0.8])  # of a table seen at a slant, away from the camera
RNG = np.random.default_rng


def on_table(x, y, height=0.0):
    """Points (N, 3) on a table 0.8 m away, or so high above it."""
    along, across = np.array([1.0, 0, 0]), np.array([0.0, 0.8, -0.6])
    return (0.8 - height) * NORMAL + np.outer(x, along) + np.outer(y, across)


def table(rng, noise=0.001):
    x, y = rng.uniform(-0.4, 0.4, (2, 6000))
    return on_table(x, y) + noise * rng.standard_normal((6000, 1)) * NORMAL


def test_what_stands_on_a_table_is_before_it():
    rng = RNG(0)
    x, y = rng.uniform(-0.05, 0.05, (2, 800))
    lid = on_table(x, y, 0.06)
    wall = np.concatenate([on_table([-0.05], [0.02], h) for h in np.linspace(0.01, 0.06, 60)])
    before = before_planes(np.concatenate((table(rng), lid, wall)), 0.15, RNG(1))
    assert before[6000:].all()
    assert not before[:6000].any()


def test_a_box_before_nothing_keeps_its_sides():
    rng = RNG(0)
    x, y = rng.uniform(-0.05, 0.05, (2, 3000))
    assert before_planes(on_table(x, y), 0.15, RNG(1)) is None


def test_table_and_wall_both_go_and_what_is_behind_them():
    rng = RNG(0)
    x, y = rng.uniform(-0.4, 0.4, (2, 4000))
    wall = np.stack((x, y, np.full(4000, 1.4)), 1)
    thing = rng.uniform(-0.03, 0.03, (500, 3)) + on_table([0.1], [0.0], 0.1)
    before = before_planes(
        np.concatenate((table(rng), wall, thing, thing + np.array([0, 0, 2]))), 0.1, RNG(1)
    )
    assert before[10000:10500].all()
    assert not before[:10000].any()
    assert not before[10500:].any()


def test_few_points_are_no_plane():
    assert before_planes(np.zeros((0, 3)), 0.1, RNG(0)) is None
    assert before_planes(np.eye(3), 0.1, RNG(0)) is None
