"""Models that are alike are told of, by the doctor and by a track, before hours are spent."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_shapes import block
from tabletop import recording

from self6d.doctor import doctor
from self6d.doctor.twins import twins
from self6d.scene import ObjectModel
from self6d.scene.units import diameter
from self6d.tracking.told import told_of_twins

BRICK = block(n=4)


def other(vertices: np.ndarray = BRICK.vertices, **changes: Any) -> ObjectModel:
    size = diameter(vertices)
    return replace(BRICK, object_id=2, name="other", vertices=vertices, diameter=size, **changes)


def moved(vertices: np.ndarray) -> np.ndarray:
    R = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    R[:, 0] *= np.sign(np.linalg.det(R))
    return (vertices @ R.T + [0.2, 0.1, 0.0]).astype(np.float32)


@pytest.mark.parametrize(
    ("twin", "looks"),
    [
        (other(), True),
        (replace(block(n=7), object_id=2, name="other"), True),  # the same, meshed anew
        (other(vertices=moved(BRICK.vertices)), True),
        (other(colors=np.full_like(BRICK.colors, 0.5)), False),
    ],
)
def test_alike_models_are_told_of(twin: ObjectModel, looks: bool) -> None:
    (pair,) = twins([BRICK, twin])
    assert (pair.first.object_id, pair.second.object_id, pair.looks) == (1, 2, looks)
    said = told_of_twins([BRICK, twin])
    assert [level for level, _ in said] == ["warning"] * looks


def cube(painted: bool) -> ObjectModel:
    sides = BRICK.vertices * 0.1 / np.ptp(BRICK.vertices, axis=0)
    colors = np.clip(sides / 0.1 + 0.5, 0, 1) if painted else np.full_like(sides, 0.5)
    changes = {"vertices": sides.astype(np.float32), "colors": colors.astype(np.float32)}
    return replace(BRICK, diameter=diameter(sides), **changes)


QUARTER = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])


@pytest.mark.parametrize("painted", [True, False])
@pytest.mark.parametrize("turn", ["quarter", "any"])
def test_a_cube_is_found_turned(turn: str, painted: bool) -> None:
    """It has no principal axes to be turned onto, and one of its 24 turns has the colours."""
    one = cube(painted)
    vertices = moved(one.vertices) if turn == "any" else one.vertices @ QUARTER.T
    copy = replace(one, object_id=2, vertices=vertices.astype(np.float32))
    (pair,) = twins([one, copy])
    assert pair.looks
    (pair,) = twins([one, replace(copy, colors=1 - copy.colors * 0.8)])
    assert not pair.looks


def test_cubes_of_other_shape_are_not() -> None:
    """As wide, and as round, but the corners cut."""
    one = cube(False)
    cut = one.vertices.copy()
    cut[np.abs(cut).min(1) > 0.03] *= 0.9
    cut = (cut * one.diameter / diameter(cut)).astype(np.float32)
    assert twins([one, replace(one, object_id=2, vertices=cut)]) == []


def test_others_are_not() -> None:
    longer = other(vertices=(BRICK.vertices * [1.0, 1.1, 1.0]).astype(np.float32))
    smaller = other(vertices=(BRICK.vertices * 0.97).astype(np.float32))
    notched = BRICK.vertices.copy()
    notched[np.abs(notched).max(1) < 0.04, 0] *= 0.5  # of the same diameter
    assert other(notched).diameter == pytest.approx(BRICK.diameter)
    for unlike in (longer, smaller, other(notched)):
        assert twins([BRICK, unlike]) == []


def test_a_mirror_image_is_another_thing() -> None:
    wedge = BRICK.vertices.copy()
    wedge[:, 1] *= np.where(wedge[:, 0] > 0, 0.4, 1.0)  # neither half like the other
    wedge[:, 2] *= np.where(wedge[:, 1] > 0, 0.6, 1.0)
    wedge[:, 0] += 0.5 * wedge[:, 2]
    left, right = wedge, wedge * np.float32([-1, 1, 1])
    pair = [other(vertices=left), other(vertices=right)]
    assert pair[0].diameter == pytest.approx(pair[1].diameter)
    assert twins(pair) == []


@pytest.mark.parametrize("quick", [False, True])
def test_the_doctor_names_a_file_that_is_there_twice(
    tmp_path: Path, without_symmetry, quick: bool
) -> None:
    root = recording(tmp_path)
    shutil.copy(root / "models" / "obj_000001.ply", root / "models" / "obj_000002.ply")
    (finding,) = [f for f in doctor.examine(root, quick=quick).findings if f.code == "twins"]
    assert finding.severity == "warning"
    assert "object 1) and" in finding.what
    assert finding.path.endswith("obj_000002.ply")
