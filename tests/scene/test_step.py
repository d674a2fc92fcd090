"""STEP files: size, unit, colours, places, how finely they are drawn, and what cannot be read."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import trimesh
from step_files import Writer, step_assembly, step_box, step_cylinder

from self6d.datasets import load_mesh, load_models
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.scene import mesh_names
from self6d.scene.formats import step
from self6d.scene.mesh import ObjectModel

SIDES = (10, 20, 40)


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    forget_notes()
    caplog.set_level(logging.WARNING, "self6d")


@pytest.fixture
def reader() -> None:
    pytest.importorskip("cascadio", reason="STEP is read by the extra [cad]")


@pytest.fixture
def no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed, whether it is here or not."""
    found = mesh_names.find_spec
    monkeypatch.setattr(mesh_names, "find_spec", lambda n: None if n == "cascadio" else found(n))


def bounds_mm(model: ObjectModel) -> np.ndarray:
    return 1000 * np.array([model.vertices.min(0), model.vertices.max(0)])


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("unit", "millimetres"), [("mm", 1), ("cm", 10), ("m", 1000), ("inch", 25.4)]
)
def test_a_box_is_as_large_as_its_unit_says(
    tmp_path: Path, unit: str, millimetres: float, caplog: pytest.LogCaptureFixture
) -> None:
    sides = [s / 10 for s in SIDES] if unit == "inch" else [s / 100 for s in SIDES]
    model = load_mesh(step_box(tmp_path / "part.stp", sides, unit))
    expected = [[0, 0, 0], [s * millimetres for s in sides]]
    np.testing.assert_allclose(bounds_mm(model), expected, atol=1e-4 * millimetres)
    assert len(model.faces) == 12
    assert not model.has_color
    assert model.guessed_unit is None
    assert f"part.stp: is in {unit}, as it states" in caplog.text
    assert ("--unit" in caplog.text) == (unit in ("mm", "cm"))  # below 1 cm is implausible


@pytest.mark.usefixtures("reader")
def test_a_named_unit_overrides_the_stated_one_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_mesh(step_box(tmp_path / "part.step", SIDES, "inch"), unit="mm")
    np.testing.assert_allclose(bounds_mm(model)[1], SIDES, atol=1e-3)
    assert "in mm, as named, it measures 45.83 mm; it states inch" in caplog.text


@pytest.mark.usefixtures("reader")
def test_where_no_unit_is_stated_it_is_guessed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_mesh(step_box(tmp_path / "part.step", (100, 200, 40), ""))
    np.testing.assert_allclose(bounds_mm(model)[1], (100, 200, 40), atol=1e-3)
    assert model.guessed_unit == "mm"
    assert "as it states" not in caplog.text


@pytest.mark.usefixtures("reader")
def test_colours_of_the_solid_and_of_its_faces(tmp_path: Path) -> None:
    blue, red, green = (0.5, 0.25, 1), (1, 0, 0), (0, 0.5, 0)
    path = step_box(tmp_path / "part.step", SIDES, whole=blue, faces={1: red, 4: green})
    model = load_mesh(path)
    assert model.has_color
    corners = 1000 * model.vertices[model.faces]
    for colour, on in (
        (red, (corners[..., 0] > 9.99).all(1)),
        (green, (corners[..., 2] < 0.01).all(1)),
        (blue, (corners[..., 0] < 0.01).all(1)),
    ):
        assert on.sum() == 2
        np.testing.assert_allclose(model.colors[model.faces[on]], [[colour] * 3] * 2, atol=2e-3)


@pytest.mark.usefixtures("reader")
def test_faces_without_a_colour_beside_others_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_mesh(step_box(tmp_path / "part.step", SIDES, faces={1: (1, 0, 0)}))
    assert model.has_color
    assert "10 of its 12 triangles have no colour; they are grey" in caplog.text


@pytest.mark.usefixtures("reader")
def test_parts_of_an_assembly_are_at_their_places(tmp_path: Path) -> None:
    turned = ((100, 0, 0), (0, 0, 1), (0, 1, 0))  # a quarter turn about z
    path = step_assembly(tmp_path / "a.step", SIDES, [((0, 0, 0), (0, 0, 1), (1, 0, 0)), turned])
    (model,) = load_models(path)
    assert len(model.faces) == 24
    np.testing.assert_allclose(bounds_mm(model), [[0, 0, 0], [100, 20, 40]], atol=1e-3)
    second = model.vertices[1000 * model.vertices[:, 0] > 50]
    np.testing.assert_allclose(1000 * second.min(0), (80, 0, 0), atol=1e-3)
    np.testing.assert_allclose(model.colors, [[1, 0, 0]] * len(model.colors), atol=2e-3)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("radius", [5, 50, 400])
def test_curves_are_drawn_as_finely_as_the_size_calls_for(
    tmp_path: Path, radius: float, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_mesh(step_cylinder(tmp_path / "c.step", radius, 2 * radius))
    mesh = trimesh.Trimesh(model.vertices * 1000, model.faces)
    rim = mesh.triangles[(np.ptp(mesh.triangles[..., 2], axis=1) > radius)]
    sag = radius - np.linalg.norm((rim[..., :2] + np.roll(rim[..., :2], 1, 1)) / 2, axis=2).min()
    diagonal = radius * 12**0.5
    assert sag < 1.1e-3 * diagonal
    assert mesh.volume == pytest.approx(np.pi * radius**2 * 2 * radius, rel=0.02)
    assert f"made of {len(model.faces)} triangles, at most" in caplog.text


@pytest.mark.usefixtures("reader")
def test_the_number_of_triangles_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = step_cylinder(tmp_path / "c.step", 50, 100)
    monkeypatch.setattr(step, "_MOST", 100)
    model = load_mesh(path)
    assert 20 < len(model.faces) <= 100
    assert f"made of {len(model.faces)} triangles" in caplog.text
    assert "slow" not in caplog.text
    monkeypatch.setattr(step, "_MOST", 10)
    load_mesh(path)
    assert "slow to draw" in caplog.text


@pytest.mark.usefixtures("reader")
def test_a_file_is_made_into_triangles_once_until_it_changes(tmp_path: Path) -> None:
    step._run.cache_clear()
    path = step_box(tmp_path / "part.step", SIDES)
    for _ in range(3):
        load_mesh(path)
    assert step._run.cache_info().misses == 1
    step_box(path, (50, 60, 70))
    np.testing.assert_allclose(bounds_mm(load_mesh(path))[1], (50, 60, 70), atol=1e-3)


@pytest.mark.usefixtures("reader")
def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = step_box(tmp_path / "whole.step", SIDES).read_bytes()
    path = tmp_path / "part.step"
    for damaged, what in (
        (whole[: len(whole) // 2], "truncated"),
        (b"\0\1" * 500, "not a STEP file"),
        (whole.replace(b"PLANE(", b"NOTHING("), "no solid and no surface"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=what) as caught:
            load_mesh(path)
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("reader")
def test_faces_that_cannot_be_read_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = step_box(tmp_path / "part.step", SIDES)
    path.write_bytes(path.read_bytes().replace(b"PLANE(", b"NOTHING(", 1))
    assert len(load_mesh(path).faces) == 10
    assert "part.step: 1 face could not be read; there are holes instead" in caplog.text


@pytest.mark.usefixtures("reader")
def test_a_file_of_no_shape_is_refused(tmp_path: Path) -> None:
    writer = Writer()
    context = writer.context()
    at = writer.placement((0, 0, 0), (0, 0, 1), (1, 0, 0))
    writer.product("empty", writer.add(f"SHAPE_REPRESENTATION('',({at}),{context})"))
    with pytest.raises(InputError, match="no solid and no surface"):
        load_mesh(writer.save(tmp_path / "part.step"))


@pytest.mark.usefixtures("no_reader")
def test_without_the_extra_the_command_is_named(tmp_path: Path) -> None:
    path = step_box(tmp_path / "part.step", SIDES)
    with pytest.raises(InputError, match=r'Install it: pip install "self6d-studio\[cad\]"$'):
        load_mesh(path)
    with pytest.raises(InputError, match="is STEP, which is read by the package cascadio"):
        load_models(tmp_path)


@pytest.mark.usefixtures("no_reader")
def test_without_the_extra_other_files_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder of STL that was read before holds the STEP it came from as well."""
    step_box(tmp_path / "part.step", SIDES)
    trimesh.creation.box((100, 80, 60)).export(tmp_path / "part.stl")
    (model,) = load_models(tmp_path)
    assert model.source == tmp_path / "part.stl"
    assert "part.step: left out, as cascadio is not installed" in caplog.text
    assert "several files are named" not in caplog.text


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(("twin", "used"), [("stl", "step"), ("off", "step"), ("ply", "ply")])
def test_of_a_step_and_its_mesh_one_is_used(
    tmp_path: Path, twin: str, used: str, caplog: pytest.LogCaptureFixture
) -> None:
    step_box(tmp_path / "part.step", (100, 80, 60))
    trimesh.creation.box((100, 80, 60)).export(tmp_path / f"part.{twin}")
    (model,) = load_models(tmp_path)
    assert model.source == tmp_path / f"part.{used}"
    assert f"several files are named part; part.{used} is used" in caplog.text
