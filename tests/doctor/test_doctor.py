"""The doctor names each fault, mends what it can in a copy, and never touches the original."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as world
import trimesh

from self6d import cli
from self6d.datasets import open_dataset
from self6d.datasets.readers.bop import BopRecording
from self6d.doctor import doctor
from self6d.doctor.extents import check_scale, extents
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.geometry import Camera
from self6d.scene import Frame
from self6d.scene.mesh_io import load_models

CAMERA = Camera(np.array([[280.0, 0, 160], [0, 280, 120], [0, 0, 1]]), 320, 240)


def tabletop(seed: int, side: float = 0.1) -> np.ndarray:
    """Depth (H, W), metres: a table seen at an angle and boxes standing on it."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid((np.arange(320) + 0.5 - 160) / 280, (np.arange(240) + 0.5 - 120) / 280)
    depth = 0.75 / (0.8 + 0.6 * y)  # plane 0.6 y + 0.8 z = 0.75
    for _ in range(3):
        cx, cy = rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.15)
        front = 0.75 / (0.8 + 0.6 * cy) - 0.08
        inside = (np.abs(x - cx) * front < side / 2.9) & (np.abs(y - cy) * front < side / 2.9)
        depth = np.where(inside, front, depth)
    return depth


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): hashlib.sha1(p.read_bytes()).hexdigest() for p in files}


def codes(report: doctor.DoctorReport) -> set[str]:
    return {f.code for f in report.findings if f.severity != "info"}


def recording(root: Path, unit_mm: float = 1.0, stated: float = 1.0) -> Path:
    """A tabletop recording whose depth counts `unit_mm` and says it counts `stated`."""
    cameras = {}
    for n in range(6):
        scene = root / "test" / "000001"
        world.save(scene / "rgb" / f"{n:06d}.png", world.shot(n, 240, 320).rgb)
        raw = np.round(tabletop(n) * 1000 / unit_mm).astype(np.uint16)
        world.save(scene / "depth" / f"{n:06d}.png", raw)
        cameras[str(n)] = {
            "cam_K": CAMERA.K_opencv.reshape(-1).tolist(), "depth_scale": stated,
        }  # fmt: skip
    world.dump(root / "test" / "000001" / "scene_camera.json", cameras)
    world.cube(root / "models" / "obj_000001.ply", 0.6)  # 104 mm across
    world.dump(root / "models" / "models_info.json", {"1": {"diameter": 60 * 3**0.5}})
    return root


@pytest.fixture
def without_symmetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for symmetry takes a second; tests of other findings do without."""
    from self6d.doctor import models as doctor_models
    from self6d.scene import Symmetry
    from self6d.scene.symmetry import FoundSymmetry

    none = FoundSymmetry(Symmetry(), Symmetry())
    monkeypatch.setattr(doctor_models, "find_symmetry", lambda model: none)


def test_a_good_recording(tmp_path: Path, without_symmetry) -> None:
    root = recording(tmp_path)
    before = hashes(root)
    report = doctor.examine(root)
    assert codes(report) == set()
    assert report.ok
    assert not report.fixable
    assert (report.kind, report.frames, report.image_size) == ("bop", 6, (240, 320))
    assert report.depth["median_m"] == pytest.approx(0.9, abs=0.1)
    assert report.models[0]["diameter_m"] == pytest.approx(0.06 * 3**0.5)
    assert "nothing wrong" in report.text()
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True
    assert hashes(root) == before
    with pytest.raises(InputError, match="nothing a copy could correct"):
        doctor.write_fixed(report, tmp_path / "copy")


@pytest.mark.parametrize(("unit_mm", "stated"), [(0.1, 1.0), (1.0, 1000.0)])
def test_depth_scale_is_found_and_mended(tmp_path: Path, without_symmetry, unit_mm, stated) -> None:
    root = recording(tmp_path / "data", unit_mm, stated)
    before = hashes(root)
    report = doctor.examine(root)
    (finding,) = [f for f in report.findings if f.code == "depth-scale"]
    assert finding.fixable
    copy = open_dataset(doctor.write_fixed(report, tmp_path / "copy"))
    np.testing.assert_allclose(copy.frame(0).depth_m, tabletop(0), atol=1e-3)
    assert "depth-scale" not in codes(doctor.examine(copy.root))
    assert hashes(root) == before


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_k_of_another_size_is_found_and_mended(tmp_path, without_symmetry, factor) -> None:
    root = recording(tmp_path / "data")
    path = root / "test" / "000001" / "scene_camera.json"
    table = json.loads(path.read_text())
    for entry in table.values():
        K = CAMERA.resized(int(320 * factor), int(240 * factor)).K_opencv
        entry["cam_K"] = K.reshape(-1).tolist()
    world.dump(path, table)
    report = doctor.examine(root)
    assert "intrinsics-size" in codes(report)
    copy = open_dataset(doctor.write_fixed(report, tmp_path / "copy"))
    np.testing.assert_allclose(copy.frame(0).camera.K, CAMERA.K)


def test_damaged_files_are_found_and_left_out(tmp_path: Path, without_symmetry) -> None:
    root = recording(tmp_path / "data")
    scene = root / "test" / "000001"
    whole = (scene / "rgb" / "000002.png").read_bytes()
    (scene / "rgb" / "000002.png").write_bytes(whole[: len(whole) // 2])
    (scene / "depth" / "000004.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    report = doctor.examine(root)
    said = " ".join(f.what for f in report.findings)
    assert "PNG is truncated" in said
    assert "Git-LFS pointer" in said
    copy = open_dataset(doctor.write_fixed(report, tmp_path / "copy"))
    assert [k.image_id for k in copy.keys] == [0, 1, 3, 5]


def test_mended_pixels_are_written_mended(tmp_path: Path, without_symmetry) -> None:
    root = recording(tmp_path / "data")
    for n in range(6):
        path = root / "test" / "000001" / "rgb" / f"{n:06d}.png"
        rgba = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2BGRA)
        cv2.imwrite(str(path), rgba)
    report = doctor.examine(root)
    assert any("four channels" in f.what for f in report.findings)
    copy = doctor.write_fixed(report, tmp_path / "copy")
    image = cv2.imread(str(copy / "test/000001/rgb/000000.png"), cv2.IMREAD_UNCHANGED)
    assert image.shape == (240, 320, 3)


def test_symmetry_is_found_and_stated(tmp_path: Path) -> None:
    root = recording(tmp_path / "data")
    plain = world.CUBE * [1, 0.7, 0.4]
    world.cube(root / "models" / "obj_000001.ply", 1.0, plain)
    text = (root / "models" / "obj_000001.ply").read_text().splitlines()
    grey = [
        " ".join([*t.split()[:3], "90", "90", "90"]) if len(t.split()) == 6 else t for t in text
    ]
    (root / "models" / "obj_000001.ply").write_text("\n".join(grey) + "\n")
    (root / "models" / "models_info.json").unlink()
    report = doctor.examine(root)
    (finding,) = [f for f in report.findings if f.code == "symmetry"]
    assert "3 discrete turns" in finding.what
    copy = open_dataset(doctor.write_fixed(report, tmp_path / "copy"))
    from self6d.datasets import load_models

    assert len(load_models(copy.models_path)[0].symmetry.discrete) == 3


def test_models_are_looked_at(tmp_path: Path, without_symmetry) -> None:
    root = recording(tmp_path)
    world.cube(root / "models" / "obj_000001.ply", 0.6, world.CUBE + 200)
    (finding,) = [f for f in doctor.examine(root).findings if f.code == "off-centre"]
    assert finding.severity == "info"  # it trains as a centred one does
    assert "20.8 cm from its own origin" in finding.what


def test_no_depth_and_no_models(tmp_path: Path) -> None:
    report = doctor.examine(world.folder(tmp_path, depth=False))
    assert "no-depth" in codes(report)
    assert any(f.code == "no-models" for f in report.findings)


def test_what_cannot_be_opened_is_a_report(tmp_path: Path) -> None:
    report = doctor.examine(tmp_path / "gone", tmp_path / "nothing")
    assert not report.ok
    assert {f.severity for f in report.findings} == {"error"}
    assert "no such folder" in report.text()
    json.dumps(report.to_dict())


def test_progress_is_told(tmp_path: Path, without_symmetry) -> None:
    events = []
    doctor.examine(recording(tmp_path), listener=events.append)
    assert {e.phase for e in events} >= {"models", "files", "frames"}


def test_extents_do_not_depend_on_the_scale() -> None:
    frame = Frame(np.zeros((240, 320, 3), np.uint8), tabletop(1).astype(np.float32), CAMERA)
    ten = Frame(frame.rgb, 10 * frame.depth_m, CAMERA)
    a = extents(frame, np.random.default_rng(0))
    b = extents(ten, np.random.default_rng(0))
    assert len(a) >= 1
    np.testing.assert_allclose(10 * a, b, rtol=1e-3)
    assert a.min() > 0.06
    assert a.max() < 0.12


def test_too_little_to_go_by_leaves_the_scale() -> None:
    frame = Frame(np.zeros((240, 320, 3), np.uint8), np.ones((240, 320), np.float32), CAMERA)
    assert check_scale([frame] * 5, [0.1], 1e-3).metres_per_unit == 1e-3


def test_it_says_what_it_did_not_check(tmp_path: Path) -> None:
    report = doctor.examine(world.folder(tmp_path, range(20)))
    text = report.text()
    assert "nothing wrong was found in what was checked" in text
    assert "not checked: pixels of 4 of 20 frames" in text
    assert "not checked: whether depth is registered" in text
    assert "not checked: CAD models" in text
    assert report.to_dict()["unchecked"] == report.unchecked


def test_k_of_every_frame_is_looked_at(tmp_path: Path) -> None:
    root = world.bop(tmp_path, range(60))
    path = root / "test" / "000001" / "scene_camera.json"
    table = json.loads(path.read_text())
    for n in (7, 8):  # not among those whose pixels are read
        table[str(n)]["cam_K"] = [0.9, 0, 0.5, 0, 1.2, 0.5, 0, 0, 1]
    world.dump(path, table)
    (finding,) = [f for f in doctor.examine(root).findings if f.code == "intrinsics"]
    assert finding.severity == "error"
    assert finding.what.startswith("2 of 60 frames, such as 7: K is not in pixels")


def test_an_impossible_k_is_named_as_such(tmp_path: Path) -> None:
    root = world.folder(tmp_path)
    K = [[0.962, 0, -0.5], [0, -1.2865, -0.5], [0, 0, -1]]
    world.dump(root / "camera.json", {"K": K, "width": 64, "height": 48})
    (finding,) = [f for f in doctor.examine(root).findings if f.severity == "error"]
    assert "not in pixels but in parts of the image's size" in finding.what


def test_a_broken_part_does_not_hide_the_rest(tmp_path: Path, without_symmetry) -> None:
    root = world.bop(tmp_path)
    world.bop_scene(root / "train_pbr" / "000000")
    for path in (root / "train_pbr" / "000000" / "rgb").iterdir():
        path.unlink()
    report = doctor.examine(root)
    assert (report.kind, report.frames, report.image_size) == ("bop", 4, (48, 64))
    (finding,) = [f for f in report.findings if f.code == "split"]
    assert "train_pbr" in finding.what
    assert "no images" in finding.what


def test_a_finding_is_said_once_with_its_count(tmp_path: Path) -> None:
    root = world.folder(tmp_path)
    for n in range(4):
        world.save(root / "depth" / f"{n:04d}.png", np.full((48, 48), 900, np.uint16))
    found = [f for f in doctor.examine(root).findings if f.severity == "error"]
    assert [f.what.split(":")[0] for f in found] == ["4 times"]


def test_no_copy_without_frames(tmp_path: Path) -> None:
    root = world.folder(tmp_path / "data")
    for n in range(4):
        world.save(root / "depth" / f"{n:04d}.png", np.full((48, 48), 900, np.uint16))
    report = doctor.examine(root)
    with pytest.raises(InputError, match="4 of 4 frames would be left out"):
        doctor.write_fixed(report, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert cli.run(["doctor", str(root), "--fix", str(tmp_path / "copy"), "--quiet"]) == 2
    assert not (tmp_path / "copy").exists()


def test_a_copy_that_lacks_something_is_no_success(tmp_path, without_symmetry, capsys) -> None:
    root = world.bop(tmp_path / "data")
    world.bop_scene(root / "train_real" / "000002")
    scene = root / "test" / "000001"
    (scene / "rgb" / "000002.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    copy = tmp_path / "copy"
    assert cli.run(["doctor", str(root), "--fix", str(copy), "--quiet"]) == 2
    assert "'train_real' is not in it" in capsys.readouterr().out
    assert [k.image_id for k in open_dataset(copy).keys] == [0, 1, 3]
    shutil.rmtree(root / "train_real")
    assert cli.run(["doctor", str(root), "--fix", str(tmp_path / "two"), "--quiet"]) == 0


def test_a_distorted_recording_is_copied_without_distortion(tmp_path, without_symmetry) -> None:
    root = world.bop(tmp_path / "data")
    path = root / "test" / "000001" / "scene_camera.json"
    table = json.loads(path.read_text())
    for entry in table.values():
        entry["dist_coeffs"] = [-0.1, 0.02, 0, 0, 0]
    world.dump(path, table)
    copy = doctor.write_fixed(doctor.examine(root), tmp_path / "copy")
    forget_notes()
    report = doctor.examine(copy)
    assert not any("distortion" in f.what for f in report.findings)
    before, after = open_dataset(root), open_dataset(copy)
    np.testing.assert_array_equal(after.frame(1).rgb, before.frame(1).rgb)
    np.testing.assert_allclose(after.frame(1).depth_m, before.frame(1).depth_m, atol=1e-4)
    np.testing.assert_array_equal(after.truth(1)[0].mask_visible, before.truth(1)[0].mask_visible)


def test_quick_looks_at_less(tmp_path: Path) -> None:
    root = world.folder(tmp_path, range(20))
    report = doctor.examine(root, quick=True)
    assert report.ok
    assert "pixels of 16 of 20 frames (files seen at both ends only)" in report.unchecked
    (root / "rgb" / "0007.png").write_bytes(b"")
    assert not doctor.examine(root, quick=True).ok


def test_quick_reads_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self, key):
        raise AssertionError("a label was read")

    monkeypatch.setattr(BopRecording, "_truth", read)
    assert doctor.examine(world.bop(tmp_path), quick=True).ok
    with pytest.raises(AssertionError, match="a label was read"):
        doctor.examine(tmp_path)


def test_cad_files_beside_the_images_are_used(tmp_path: Path, without_symmetry, caplog) -> None:
    for root in (world.folder(tmp_path / "plain"), world.single(tmp_path / "single")):
        world.cube(root / "part.ply", 0.6)
        forget_notes()
        report = doctor.examine(root)
        assert [m["name"] for m in report.models] == ["part"]
        assert any("beside the images are used: part.ply" in f.what for f in report.findings)
    rgba = cv2.cvtColor(world.shot(0).rgb, cv2.COLOR_RGB2BGRA)
    world.save(tmp_path / "plain" / "rgb" / "0000.png", rgba)
    copy = doctor.write_fixed(doctor.examine(tmp_path / "plain"), tmp_path / "copy")
    assert (copy / "models" / "part.ply").is_file()
    assert not list((copy / "models").glob("*.png"))


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
    assert not report.fixable
    assert "mesh-unit" not in codes(doctor.examine(root, root / "cad", unit="inch"))


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
