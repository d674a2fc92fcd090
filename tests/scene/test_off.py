"""OFF files with colours; CAD of kinds that are not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from self6d.datasets import load_mesh, load_models
from self6d.errors import InputError
from self6d.scene import mesh_names
from self6d.scene.mesh_names import KINDS, MESH_SUFFIXES


@pytest.mark.parametrize("full", [255, 1])
@pytest.mark.parametrize("of", ["vertices", "faces"])
def test_off_with_colours(tmp_path: Path, of: str, full: int) -> None:
    mesh = trimesh.creation.box((120.0, 80, 60)).subdivide()
    low, high = mesh.bounds
    vertex = np.round(40 + 200 * (mesh.vertices - low) / (high - low)).astype(np.uint8)
    face = vertex[mesh.faces].mean(1).astype(int)
    head, v, f = ("COFF", vertex, None) if of == "vertices" else ("OFF", None, face)

    def told(colour) -> str:
        return "" if colour is None else " " + " ".join(f"{c / 255 * full:.6g}" for c in colour)

    lines = [head, "# written by hand", f"{len(mesh.vertices)} {len(mesh.faces)} 0"]
    lines += [
        " ".join(map(str, p))
        + told(None if v is None else v[i])
        + (" 255" if v is not None else "")
        for i, p in enumerate(mesh.vertices)
    ]
    lines += ["3 " + " ".join(map(str, t)) + told(None if f is None else f[i])
              for i, t in enumerate(mesh.faces)]  # fmt: skip
    (tmp_path / "p.off").write_text("\n".join(lines))
    model = load_mesh(tmp_path / "p.off")
    assert model.has_color
    assert 1000 * model.diameter == pytest.approx(156.2, abs=0.1)
    if of == "vertices":
        np.testing.assert_allclose(model.colors, vertex / 255, atol=2e-3)
    else:
        np.testing.assert_allclose(model.colors[model.faces].mean(1), face / 255, atol=2e-3)


def test_cad_of_other_kinds_is_named(tmp_path: Path) -> None:
    (tmp_path / "part.IGS").write_text("")
    (tmp_path / "part.fbx").write_text("")
    with pytest.raises(InputError, match=r"part.IGS and 1 more are of another kind.*glb"):
        load_models(tmp_path)


def test_kinds_told_to_people_are_kinds_that_are_read() -> None:
    kinds = {f".{kind.lower()}" for kind in KINDS.replace(" or ", ", ").split(", ")}
    assert kinds | {".gltf", ".stp", ".off"} == set(MESH_SUFFIXES)
    assert not kinds & set(mesh_names._OTHERS)
