"""Symmetry found from the surface, on solids whose groups are known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from self6d.scene import ObjectModel, Symmetry, symmetry
from self6d.scene.symmetry import find_symmetry


def model_of(mesh: trimesh.Trimesh, colors: np.ndarray | None = None) -> ObjectModel:
    vertices = np.asarray(mesh.vertices, np.float32)
    if colors is None:
        colors = np.full(vertices.shape, 0.5, np.float32)
    size = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    return ObjectModel(1, "solid", vertices, np.asarray(mesh.faces, np.int32), colors, size)


TILT = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3], [0.01, 0.02, 0])

# solid, order of its rotation group without the identity, round axes
SOLIDS = {
    "brick": (trimesh.creation.box((0.1, 0.07, 0.04)), 3, 0),
    "cube": (trimesh.creation.box((0.1, 0.1, 0.1)), 23, 0),
    "pentagonal prism": (trimesh.creation.cylinder(0.04, 0.1, sections=5), 9, 0),
    "cylinder": (trimesh.creation.cylinder(0.04, 0.1, sections=64), 1, 1),
    "cone": (trimesh.creation.cone(0.04, 0.1, sections=64), 0, 1),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_group_of_a_solid(name: str) -> None:
    mesh, turns, axes = SOLIDS[name]
    mesh = mesh.copy()
    mesh.apply_transform(TILT)
    found = find_symmetry(model_of(mesh))
    assert (len(found.shape.discrete), len(found.shape.axes)) == (turns, axes)
    assert (len(found.looks.discrete), len(found.looks.axes)) == (turns, axes)
    surface = trimesh.proximity.ProximityQuery(mesh)
    for transform in found.shape.transforms(steps=8)[1:]:
        moved = trimesh.transform_points(mesh.sample(50, seed=0), transform)
        assert surface.on_surface(moved)[1].max() < 0.02 * 0.15


def test_no_symmetry() -> None:
    mesh = trimesh.util.concatenate(
        trimesh.creation.box((0.1, 0.04, 0.04)),
        trimesh.creation.box((0.04, 0.06, 0.03), trimesh.transformations.translation_matrix(
            [0.05, 0.03, 0.01])),
    )  # fmt: skip
    found = find_symmetry(model_of(mesh))
    assert not found.shape
    assert not found.looks


def test_colour_breaks_symmetry() -> None:
    mesh = trimesh.creation.box((0.1, 0.07, 0.04)).subdivide().subdivide()
    colors = np.full(mesh.vertices.shape, 0.2, np.float32)
    colors[mesh.vertices[:, 2] > 0.01] = (1, 0.5, 0)  # the top is painted: turns about z remain
    found = find_symmetry(model_of(mesh, colors))
    assert len(found.shape.discrete) == 3
    assert len(found.looks.discrete) == 1
    np.testing.assert_allclose(found.looks.discrete[0][:3, :3], np.diag([-1, -1, 1]), atol=0.02)


def test_the_same_seed_finds_the_same() -> None:
    model = model_of(SOLIDS["brick"][0])
    a = find_symmetry(model, seed=4)
    symmetry._known.clear()
    b = find_symmetry(model, seed=4)
    assert b is not a
    assert find_symmetry(model_of(SOLIDS["brick"][0]), seed=4) is b
    assert find_symmetry(model, seed=5) is not b
    np.testing.assert_array_equal(a.shape.discrete, b.shape.discrete)


@pytest.mark.parametrize("kind", ["half turn", "axis", "axis and half turn", "sphere"])
def test_the_nearest_pose_that_looks_the_same(kind: str) -> None:
    """No sampled one is nearer, every point stays where one that looks like it was, and an exact
    turn about the axis is taken back entirely."""
    offset = np.array([0.02, -0.01, 0.03])
    turn = np.diag([1.0, -1.0, -1.0, 1.0])
    turn[:3, 3] = offset - turn[:3, :3] @ offset
    axes = {"axis": 1, "axis and half turn": 1, "sphere": 2}.get(kind, 0)
    symmetry = Symmetry(
        turn[None] if "half" in kind else np.zeros((0, 4, 4)),
        np.eye(3)[[2, 0]][:axes],
        np.tile(offset, (axes, 1)),
    )
    R_near, R = Rotation.random(2, random_state=3).as_matrix()
    t = np.array([0.1, 0.2, 0.9])
    near, moved = symmetry.nearest(R, t, R_near)
    sampled = R @ symmetry.transforms(90)[:, :3, :3]
    best = np.trace(R_near.T @ sampled, axis1=1, axis2=2).max()
    assert np.trace(R_near.T @ near) >= best - 1e-9
    np.testing.assert_allclose(near @ offset + moved, R @ offset + t, atol=1e-12)
    if axes:
        spun = Rotation.from_rotvec([0, 0, 1.234]).as_matrix()
        back, _ = symmetry.nearest(R @ spun, t, R)
        np.testing.assert_allclose(back, R, atol=1e-9)


def test_without_symmetry_a_pose_stays() -> None:
    R, other = Rotation.random(2, random_state=4).as_matrix()
    same, t = Symmetry().nearest(R, np.ones(3), other)
    assert np.array_equal(same, R)
    assert np.array_equal(t, np.ones(3))
