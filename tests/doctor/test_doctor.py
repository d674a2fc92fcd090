"""The doctor names each fault, mends what it can in a copy, and never touches the original."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as world
import trimesh
from tabletop import CAMERA, codes, hashes, recording, tabletop

from self6d import cli
from self6d.datasets import open_dataset
from self6d.datasets.readers.bop import BopRecording
from self6d.doctor import doctor
from self6d.doctor.extents import check_scale, extents
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.scene import Frame


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


def test_images_of_several_sizes_are_named(tmp_path: Path, without_symmetry) -> None:
    root = recording(tmp_path / "data")
    scene = root / "test" / "000001"
    for folder in ("rgb", "depth"):
        path = scene / folder / "000002.png"
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        world.save(path, image[:200])
    (what,) = [f.what for f in doctor.examine(root).findings if f.code == "sizes"]
    assert what == (
        "images are of several sizes: of 6 read, 5 of 320x240, 1 of 320x200, such as image 2 of "
        "scene 1"
    )


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


def test_a_mesh_without_colours_is_told_of_once(tmp_path: Path, without_symmetry) -> None:
    root = recording(tmp_path)
    trimesh.Trimesh(world.CUBE, world.CUBE_FACES).export(root / "models" / "obj_000001.ply")
    for quick, code in ((False, "no-colour"), (True, "note")):
        found = doctor.examine(root, quick=quick).findings
        assert [f.code for f in found if "no colour" in f.what] == [code]


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
    assert not report.fixable  # the report promised a copy that --fix then refused to write
    assert "writes a copy" not in report.text()
    assert "--fix has nothing to write: 4 of 4 frames would be left out" in report.text()
    with pytest.raises(InputError, match="4 of 4 frames would be left out"):
        doctor.write_fixed(report, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert cli.run(["doctor", str(root), "--fix", str(tmp_path / "copy"), "--quiet"]) == 2
    assert not (tmp_path / "copy").exists()


def test_no_copy_where_no_frame_looked_at_can_be_read(tmp_path: Path) -> None:
    """Of many frames a few are read: those alone are fewer than half, and promised a copy."""
    root = world.bop(tmp_path / "data")
    path = root / "test" / "000001" / "scene_camera.json"
    table = json.loads(path.read_text())
    for entry in table.values():
        entry["cam_K"][0] = float("nan")
    path.write_text(json.dumps(table))
    report = doctor.examine(root, samples=1)
    assert not report.fixable
    assert [f.fixable for f in report.findings if f.code == "frame"] == [False]
    assert report.no_copy == "none of the frames that were looked at can be read"


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


def test_a_camera_file_that_states_zeros_leaves_no_lens_open(tmp_path: Path) -> None:
    root = world.folder(tmp_path, range(2))
    (file,) = root.glob("camera*.json")
    table = json.loads(file.read_text())
    for coefficients, said in ((None, True), ([0, 0, 0, 0, 0], False), ([], True)):
        world.dump(file, table if coefficients is None else {**table, "dist_coeffs": coefficients})
        left_open = doctor.examine(root, quick=True).unchecked
        assert ("whether the lens distorts: no coefficients are stated" in left_open) is said


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
