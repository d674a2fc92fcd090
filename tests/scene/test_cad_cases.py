"""CAD files as people have them: units, stray vertices, colours; each with its right value."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh

from self6d.datasets import load_mesh, load_models
from self6d.files import forget_notes
from self6d.paths import resource
from self6d.scene.mesh_io import is_mesh

SAMPLE = resource("sample/models")
SIZES_MM = (176.5, 143.8, 152.5)
PART_MM = 156.2


@pytest.fixture(autouse=True)
def _fresh_notes() -> None:
    forget_notes()


def brick() -> trimesh.Trimesh:
    """120 x 80 x 60 mm, 156.2 mm across, each face a grid."""
    mesh = trimesh.creation.box((120.0, 80, 60))
    for _ in range(2):
        mesh = mesh.subdivide()
    return mesh


def sample_in(folder: Path, scale: float, suffix: str) -> Path:
    for n in (1, 2, 3):
        mesh = trimesh.load(SAMPLE / f"obj_{n:06d}.ply", process=False)
        mesh.apply_scale(scale)
        folder.mkdir(parents=True, exist_ok=True)
        mesh.export(folder / f"part_{n}{suffix}")
    return folder


def sizes_mm(models) -> list[float]:
    return [1000 * model.diameter for model in models]


@pytest.mark.parametrize(
    ("unit", "per_mm", "suffix"),
    [("inch", 1 / 25.4, ".stl"), ("cm", 0.1, ".stl"), ("cm", 0.1, ".obj"), ("cm", 0.1, ".ply"),
     ("m", 0.001, ".stl"), ("mm", 1.0, ".stl")],
)  # fmt: skip
def test_the_unit_of_a_folder(tmp_path: Path, unit, per_mm, suffix, caplog) -> None:
    folder = sample_in(tmp_path, per_mm, suffix)
    with caplog.at_level(logging.WARNING, "self6d"):
        models = load_models(folder)
    assert sizes_mm(models) == pytest.approx(SIZES_MM, abs=0.1)
    assert {m.guessed_unit for m in models} == {unit}
    said = f"taken as {unit}" in caplog.text and "--unit" in caplog.text
    assert said == (unit in ("inch", "cm"))  # others leave no doubt
    named = load_models(folder, unit)
    assert sizes_mm(named) == pytest.approx(SIZES_MM, abs=0.1)
    assert {m.guessed_unit for m in named} == {None}


def test_files_of_a_folder_have_one_unit(tmp_path: Path, caplog) -> None:
    """14.1 units alone look like centimetres, beside 6.1 like inches."""
    for name, mm in (("part", 1.0), ("big_part", 2.3)):
        mesh = brick()
        mesh.apply_scale(mm / 25.4)
        mesh.export(tmp_path / f"{name}.stl")
    with caplog.at_level(logging.WARNING, "self6d"):
        big, part = load_models(tmp_path)
    assert 1000 * part.diameter == pytest.approx(PART_MM, abs=0.1)
    assert 1000 * big.diameter == pytest.approx(359.3, abs=0.2)
    assert len([r for r in caplog.records if "taken as inch" in r.message]) == 1
    with caplog.at_level(logging.WARNING, "self6d"):
        load_mesh(tmp_path / "big_part.stl")
    assert "inch: 35.9 cm" in caplog.text  # the right one is named
    named = load_mesh(tmp_path / "big_part.stl", unit="inch")
    assert 1000 * named.diameter == pytest.approx(359.3, abs=0.2)


def test_centimetres_as_dope_stores_ycb(tmp_path: Path, caplog) -> None:
    can = trimesh.creation.cylinder(radius=5.1, height=14.0)
    can.export(tmp_path / "can.obj")
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(tmp_path / "can.obj")
    assert 1000 * model.diameter == pytest.approx(173.2, abs=0.3)
    assert "taken as cm" in caplog.text


def test_a_vertex_that_no_face_uses(tmp_path: Path, caplog) -> None:
    mesh = brick()
    stray = np.vstack((mesh.vertices, [1500.0, 0, 0]))
    trimesh.Trimesh(stray, mesh.faces, process=False).export(tmp_path / "part.ply")
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(tmp_path / "part.ply")
    assert 1000 * model.diameter == pytest.approx(PART_MM, abs=0.1)
    assert "1 vertices that no face uses were left out" in caplog.text


def test_what_macos_keeps_beside_files(tmp_path: Path) -> None:
    shutil.copy(SAMPLE / "obj_000002.ply", tmp_path)
    for name in ("._obj_000002.ply", "._models_info.json", "._part.stl"):
        (tmp_path / name).write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    (model,) = load_models(tmp_path)
    assert model.object_id == 2
    assert 1000 * model.diameter == pytest.approx(143.8, abs=0.1)
    assert not is_mesh(tmp_path / "._part.stl")
