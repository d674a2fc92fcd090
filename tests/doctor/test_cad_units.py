"""The doctor and the units of CAD files and depth: what is blamed, and what a copy states."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import recordings as world
import trimesh
from tabletop import codes, recording, tabletop

from self6d import cli
from self6d.doctor import doctor
from self6d.files import forget_notes
from self6d.scene.mesh_io import load_models


def cube_in(root: Path, unit: str, per_mm: float) -> Path:
    """A recording with right depth whose 104 mm cube is in another unit."""
    recording(root)
    shutil.rmtree(root / "models")
    mesh = trimesh.Trimesh(0.6 * per_mm * world.CUBE, world.CUBE_FACES)
    (root / "cad").mkdir()
    mesh.export(root / "cad" / f"{unit}{'.ply' if unit == 'cm' else '.stl'}")
    return root


@pytest.mark.parametrize(("unit", "per_mm"), [("cm", 0.1), ("inch", 1 / 25.4), ("m", 0.001)])
def test_right_depth_is_never_blamed_for_the_cad_unit(
    tmp_path: Path, without_symmetry, unit, per_mm
) -> None:
    root = cube_in(tmp_path / "data", unit, per_mm)
    for named in ("auto", unit):
        report = doctor.examine(root, root / "cad", unit=named)
        assert codes(report) <= {"no-colour", "note"}
        assert report.models[0]["diameter_m"] == pytest.approx(0.104, abs=1e-3)
    wrong = doctor.examine(root, root / "cad", unit="m" if unit != "m" else "inch")
    assert "depth-scale" not in codes(wrong)
    assert not wrong.fixable


def test_a_wrong_guess_of_the_cad_unit_is_found(tmp_path: Path, without_symmetry) -> None:
    """260 mm things in inches: 10.2 units, which by themselves look like centimetres."""
    root = cube_in(tmp_path / "data", "inch", 1 / 25.4)
    for n in range(6):
        raw = np.round(tabletop(n, side=0.15) * 2500).astype(np.uint16)
        world.save(root / "test" / "000001" / "depth" / f"{n:06d}.png", raw)
    mesh = trimesh.load(root / "cad" / "inch.stl").apply_scale(2.5)
    mesh.export(root / "cad" / "inch.ply")
    (root / "cad" / "inch.stl").unlink()
    report = doctor.examine(root, root / "cad")
    assert report.models[0]["diameter_m"] == pytest.approx(0.102, abs=1e-3)
    (finding,) = [f for f in report.findings if f.code == "mesh-unit"]
    assert finding.severity == "error"
    assert "--unit inch" in finding.remedy
    assert finding.remedy.endswith("if the guess is right: the depth scale is wrong then.")
    assert not report.fixable
    assert "mesh-unit" not in codes(doctor.examine(root, root / "cad", unit="inch"))


def test_the_right_unit_is_told_whichever_was_named(tmp_path: Path, without_symmetry) -> None:
    """What was named or stated counted as mm, so that other units were looked for beside mm."""
    root = cube_in(tmp_path / "data", "mm", 1.0)
    report = doctor.examine(root, root / "cad", unit="cm")
    assert report.models[0]["diameter_m"] == pytest.approx(1.04, abs=1e-2)
    (finding,) = [f for f in report.findings if f.code == "mesh-unit"]
    assert "read in cm, as named or stated, measure 1039 mm but look like mm" in finding.what
    assert "name --unit mm" in finding.remedy
    assert "mesh-unit" not in codes(doctor.examine(root, root / "cad", unit="mm"))


@pytest.mark.parametrize("several", [False, True])
def test_a_copy_states_the_unit_that_was_named(tmp_path: Path, capsys, several: bool) -> None:
    root = cube_in(tmp_path / "data", "inch", 1 / 25.4)
    models = ["--models", str(root / "cad" / "inch.stl")]
    if several:
        long = trimesh.creation.box((100 / 25.4, 60 / 25.4, 30 / 25.4))
        long.export(tmp_path / "long.ply")
        models += ["--models", str(tmp_path / "long.ply")]
    words = ["doctor", str(root), *models, "--unit", "inch", "--quiet"]
    assert cli.run([*words, "--fix", str(tmp_path / "copy"), "--json", str(tmp_path / "j")]) == 0
    told = json.loads((tmp_path / "j").read_text())
    sizes = [m["diameter_m"] for m in told["models"]]
    assert sizes == pytest.approx([0.1039, 0.1204][: 1 + several], abs=1e-3)
    assert told["unit"] == "inch"
    copied = load_models(tmp_path / "copy" / "models")
    assert [m.diameter for m in copied] == pytest.approx(sizes, abs=1e-5)
    assert {m.guessed_unit for m in copied} == {None}
    forget_notes()
    again = doctor.examine(tmp_path / "copy")
    assert not [f for f in again.findings if "unit" in f.what]
    symmetric = {f.correction["object_id"] for f in doctor.examine(root, models[1::2], unit="inch")
                 .findings if f.code == "symmetry"}  # fmt: skip
    assert symmetric == {m.object_id for m in copied if m.symmetry} != set()


def test_a_depth_scale_that_labels_support_is_never_blamed(tmp_path, without_symmetry) -> None:
    """models_info states a tenth of the size: the labels say that depth is right."""
    root = recording(tmp_path / "data")
    world.cube(root / "models" / "obj_000001.ply", 0.06)
    world.dump(root / "models" / "models_info.json", {"1": {"diameter": 6 * 3**0.5}})
    truth = {}
    for n in range(6):
        depth = tabletop(n)
        column = int(np.argmin(depth[120]))
        z = float(depth[120, column])
        x = (column + 0.5 - 160) / 280 * z
        label = {"obj_id": 1, "cam_R_m2c": np.eye(3).reshape(-1).tolist(),
                 "cam_t_m2c": [1000 * x, 1.8 * z, 1000 * z]}  # fmt: skip
        truth[str(n)] = [label]
    world.dump(root / "test" / "000001" / "scene_gt.json", truth)
    report = doctor.examine(root)
    assert "depth-scale" not in codes(report)
    assert "mesh-unit" in codes(report)
    assert not report.fixable


def test_the_unit_is_named_on_the_command_line(tmp_path: Path) -> None:
    root = cube_in(tmp_path / "data", "inch", 1 / 25.4)
    for unit, diameter in (("inch", 0.104), ("cm", 0.0409)):
        file = tmp_path / f"{unit}.json"
        cli.run(["doctor", str(root), "--models", str(root / "cad"), "--unit", unit,
                 "--json", str(file), "--quiet"])  # fmt: skip
        table = json.loads(file.read_text())
        assert table["models"][0]["diameter_m"] == pytest.approx(diameter, abs=1e-3)
    command = ["doctor", str(root), "--models", str(root / "cad"), "--unit", "ell"]
    assert cli.run(command) != 0
