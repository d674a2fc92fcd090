"""Folders of CAD files as sets and exporters leave them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import trimesh

from self6d.datasets import load_mesh, load_models
from self6d.errors import InputError


def brick() -> trimesh.Trimesh:
    return trimesh.creation.box((120, 80, 60))


def test_one_line_may_name_two_files_of_materials(tmp_path: Path, caplog) -> None:
    (tmp_path / "a.mtl").write_text("newmtl a\nKd 1 0 0\n")
    (tmp_path / "b.mtl").write_text("newmtl b\nKd 0 0 1\n")
    text = brick().export(file_type="obj", include_normals=False, include_color=False)
    (tmp_path / "p.obj").write_text(f"mtllib a.mtl b.mtl\nusemtl b\n{text}")
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(tmp_path / "p.obj")
    np.testing.assert_allclose(model.colors, np.tile([0, 0, 1], (len(model.vertices), 1)))
    assert "missing" not in caplog.text


def test_models_of_whole_sets(tmp_path: Path) -> None:
    """A BOP set has its models twice, YCB's download each a level deeper."""
    for folder in ("bop/models", "bop/models_eval", "ycb/003_cracker_box/google_16k"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("models", "models_eval"):
        brick().export(tmp_path / "bop" / folder / "obj_000005.ply")
    brick().apply_scale(0.001).export(tmp_path / "ycb/003_cracker_box/google_16k/textured.obj")
    (model,) = load_models(tmp_path / "bop")
    assert (model.object_id, model.source) == (5, tmp_path / "bop/models/obj_000005.ply")
    (model,) = load_models(tmp_path / "ycb")
    assert model.name == "003_cracker_box"
    assert model.diameter == pytest.approx(0.1562, abs=1e-4)


def test_strips_of_triangles_are_named(tmp_path: Path) -> None:
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in trimesh.creation.box((120, 80, 60)).vertices)
    head = "ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\n"
    head += "property float z\nelement tristrips 1\nproperty list int int vertex_indices\n"
    (tmp_path / "p.ply").write_text(f"{head}end_header\n{rows}14 3 2 7 6 4 2 0 3 1 7 5 4 1 0\n")
    with pytest.raises(InputError, match="triangle strips"):
        load_mesh(tmp_path / "p.ply")


def put(folder: Path, *names: str) -> None:
    """Bricks, the first the longest."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        trimesh.creation.box((120 - 10 * k, 80, 60)).export(folder / name)


def test_all_models_of_the_only_folder_there_is(tmp_path: Path) -> None:
    """As an archive unpacks; the first alone was read, unsaid."""
    put(tmp_path / "meshes", "bolt.stl", "cap.stl", "nut.ply")
    found = [(m.object_id, m.name) for m in load_models(tmp_path, "mm")]
    assert found == [(1, "bolt"), (2, "cap"), (3, "nut")]


def test_of_an_object_the_mesh_that_is_seen(tmp_path: Path, caplog) -> None:
    """As robot descriptions keep them, not the one for collisions, which came first by name."""
    for name in ("cup", "tray"):
        put(tmp_path / name, "visual.obj", "collision.obj")
    put(tmp_path / "can" / "meshes", "model.obj", "model_vhacd.obj")
    with caplog.at_level(logging.WARNING, "self6d"):
        models = load_models(tmp_path, "mm")
    assert [m.name for m in models] == ["can", "cup", "tray"]
    assert [np.ptp(m.extents[:, 0]) for m in models] == pytest.approx([0.12] * 3)
    assert "meshes, where one" not in caplog.text


def test_what_is_left_out_of_an_objects_folder_is_said(tmp_path: Path, caplog) -> None:
    put(tmp_path / "cup", "body.stl", "handle.stl")
    put(tmp_path / "tray", "tray.stl")
    with caplog.at_level(logging.WARNING, "self6d"):
        models = load_models(tmp_path, "mm")
    assert [m.name for m in models] == ["body", "tray"]
    assert "holds 2 meshes, where one object's is expected; body.stl is used" in caplog.text


def test_models_that_are_called_mesh_keep_their_names(tmp_path: Path) -> None:
    put(tmp_path / "parts", "mesh_a.stl", "mesh_b.stl", "model_1.stl")
    assert [m.name for m in load_models(tmp_path / "parts", "mm")] == [
        "mesh_a", "mesh_b", "model_1",
    ]  # fmt: skip
