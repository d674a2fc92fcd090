"""Diameters, and the unit a mesh was written in."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import recordings as world
from scipy.spatial.distance import pdist

from self6d.datasets import load_mesh
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.scene import of_one_size
from self6d.scene.models_info import ModelInfo
from self6d.scene.units import Measured, diameter, metres_per_units, other_units, unit_name

RNG = np.random.default_rng(3)
SHAPES = {
    "cloud": RNG.standard_normal((500, 3)),
    "sphere": (lambda p: p / np.linalg.norm(p, axis=1, keepdims=True))(
        RNG.standard_normal((6000, 3))
    ),
    "flat": np.c_[RNG.random((300, 2)), np.zeros(300)],
    "tilted": np.c_[RNG.random((300, 2)), np.zeros(300)]
    @ np.linalg.qr(RNG.standard_normal((3, 3)))[0],
    "line": np.outer(RNG.random(200), [1, 2, 3]),
    "doubles": np.repeat(RNG.random((20, 3)), 50, axis=0),
    "triangle": np.eye(3),
}


@pytest.mark.parametrize("name", SHAPES)
def test_diameter_is_the_largest_distance(name: str) -> None:
    points = SHAPES[name]
    assert diameter(points) == pytest.approx(pdist(points).max(), rel=1e-9)


def test_diameter_of_nothing() -> None:
    assert diameter(np.zeros((4, 3))) == 0


@pytest.fixture(autouse=True)
def _fresh_notes() -> None:
    forget_notes()


# the cube is 100 units a side, its diameter 173.2 times the scale
@pytest.mark.parametrize(
    ("scale", "side_m", "noted"),
    [
        (1.0, 0.1, False),  # 173 mm
        (10.0, 1.0, False),  # 1.7 m in mm
        (0.1, 0.1, True),  # 17: centimetres, since a thing of 17 mm is rare
        (0.001, 0.1, False),  # 0.17 m
        (0.0003, 0.03, False),  # 5 cm in m
        (0.02, 0.02, True),  # 3.5: cm, the only plausible reading but unusual
        (0.01, 1.0, True),  # 1.7: metres, but centimetres would do as well
    ],
)
def test_auto_unit(tmp_path: Path, scale, side_m, noted, caplog) -> None:
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(world.cube(tmp_path / "c.ply", scale))
    assert np.ptp(model.vertices) == pytest.approx(side_m, rel=1e-4)
    assert ("ambiguous" in caplog.text) == noted


@pytest.mark.parametrize("scale", [1e-6, 1e-5, 100.0, 1e5])
def test_implausible_sizes_are_refused(tmp_path: Path, scale: float) -> None:
    with pytest.raises(InputError, match="implausible"):
        load_mesh(world.cube(tmp_path / "c.ply", scale))


@pytest.mark.parametrize(("unit", "side_m"), [("m", 100), ("cm", 1), ("mm", 0.1), ("inch", 2.54)])
def test_named_unit(tmp_path: Path, unit: str, side_m: float) -> None:
    model = load_mesh(world.cube(tmp_path / "c.ply"), unit=unit)
    assert np.ptp(model.vertices) == pytest.approx(side_m, rel=1e-6)
    with pytest.raises(InputError, match="unknown"):
        load_mesh(tmp_path / "c.ply", unit="ell")


@pytest.mark.parametrize("scale", [1.0, 0.001, 0.1])
def test_models_info_decides(tmp_path: Path, scale: float) -> None:
    info = ModelInfo(diameter_mm=100 * 3**0.5)
    model = load_mesh(world.cube(tmp_path / "c.ply", scale), info=info)
    assert np.ptp(model.vertices) == pytest.approx(0.1, rel=1e-5)


def test_disagreement_with_models_info_is_noted(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(world.cube(tmp_path / "c.ply"), info=ModelInfo(diameter_mm=300.0))
    assert "does not agree with models_info" in caplog.text
    assert model.diameter == pytest.approx(0.1 * 3**0.5)


def test_a_named_unit_leaves_alone_what_states_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Choosing metres for a scan made an object of 196 mm beside it 196 m large."""
    bop, scan = Path("obj_000001.ply"), Path("scan.ply")
    with caplog.at_level(logging.INFO, "self6d"):
        units = metres_per_units([Measured(bop, 196.0, 196.0), Measured(scan, 0.15)], "m")
    assert units == [(0.001, None), (1.0, None)]
    assert "so it stays in mm; m is for models that state none" in caplog.text


def test_where_all_state_theirs_the_named_unit_is_for_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "self6d"):
        assert metres_per_units([Measured(Path("a.ply"), 196.0, 196.0)], "cm") == [(0.01, None)]
    assert "in cm, as named, it measures 1960 mm; its models_info states" in caplog.text


def test_models_of_one_size_for_every_command(tmp_path: Path) -> None:
    """Training on from a network allowed 1 % where a track's CAD file was allowed 5 %."""
    one = load_mesh(world.cube(tmp_path / "a.ply"), unit="mm")

    def fits(scale: float = 1.0, by: float = 0.0) -> bool:
        other = world.cube(tmp_path / "b.ply", scale, world.CUBE + np.array([by, 0, 0]))
        return of_one_size(one, load_mesh(other, unit="mm"))

    assert fits()
    assert fits(0.97)  # simplified
    assert fits(by=5.0)  # 3 % of the diameter
    assert not fits(0.9)
    assert not fits(by=15.0)  # another origin
    assert not fits(25.4)  # another unit


def test_units_that_files_state_have_names() -> None:
    for metres, name in ((0.001, "mm"), (0.0254, "inch"), (0.3048, "foot"), (0.1, "0.1 m")):
        assert unit_name(metres) == name
        in_cm = other_units(name, 0.5).get("cm")
        assert in_cm == pytest.approx(0.01 / metres) or not 0.01 < 0.005 / metres < 2
