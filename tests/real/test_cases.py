"""Inputs made after public reports of wrong values, each with the value its README calls right.

The suite makes inputs of the same kinds itself (tests/scene/test_cad_cases.py, tests/datasets);
these are the very files, where they are at hand.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from self6d import cli
from self6d.datasets import load_mesh, load_models, open_dataset
from self6d.doctor import doctor
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.paths import resource
from self6d.scene import ObjectModel
from self6d.scene.surface import texels

pytestmark = pytest.mark.real

SAMPLE_MM = (176.5, 143.8, 152.5)
PART_MM = 156.2
BY_VERTEX = (104.4, 127.3, 156.5)
BY_AREA = (73.7, 121.4, 95.1)
FX, FY, CX, CY = 307.84, 308.76, 161.74, 116.86


@pytest.fixture
def case(real_data: Path, request: pytest.FixtureRequest) -> Path:
    """The folder of a case, named by the test's parameter."""
    forget_notes()
    folder = real_data.parent / "cases" / str(request.node.callspec.params["name"])
    if not folder.is_dir():
        pytest.skip("these files are not at hand")
    return folder


def area_mean(model: ObjectModel) -> np.ndarray:
    """Mean sRGB colour over the surface, 0 to 255."""
    corners = model.vertices[model.faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1)
    if model.texture is None or model.uv is None:
        colours = model.colors[model.faces].mean(1)
    else:
        rng = np.random.default_rng(0)
        shares = rng.dirichlet([1, 1, 1], (64, len(model.faces)))[..., None]
        colours = np.mean([texels(model.texture, (model.uv * s).sum(1)) for s in shares], axis=0)
    return 255 * (colours * area[:, None]).sum(0) / area.sum()


@pytest.mark.parametrize(("name", "unit"), [("m01_models_inch", "inch"), ("m02_models_cm", "cm")])
def test_sample_parts_in_other_units(case: Path, tmp_path: Path, name: str, unit: str) -> None:
    make = [sys.executable, str(case / "make.py"), str(resource("sample/models")), str(tmp_path)]
    subprocess.run(make, check=True, timeout=60)
    for named in ("auto", unit):
        models = load_models(tmp_path, named)
        assert [1000 * m.diameter for m in models] == pytest.approx(SAMPLE_MM, abs=0.1)


MODELS = [  # file, diameter in mm, mean colour of the vertices, of the surface
    ("m02b_dope_centimetres", "can.obj", 173.5, None, None),
    ("m03_ply_rgb_names", "part.ply", PART_MM, BY_VERTEX, None),
    ("m04_ply_double_colours", "part.ply", PART_MM, BY_VERTEX, None),
    ("m04_ply_double_colours", "float255.ply", PART_MM, BY_VERTEX, None),
    ("m05_ply_face_and_vertex", "part.ply", PART_MM, BY_VERTEX, None),
    ("m05_ply_face_and_vertex", "white_vertices.ply", PART_MM, (104, 127, 157), None),
    ("m07_glb_texture_transform", "part.glb", PART_MM, None, BY_AREA),
    ("m07_glb_texture_transform", "plain.glb", PART_MM, None, BY_AREA),
    ("m09_gltf_percent_uri", "part.gltf", PART_MM, None, BY_AREA),
    ("m10_ply_stray_vertex", "part.ply", PART_MM, None, None),
    ("m12_far_origin", "part.ply", PART_MM, None, None),
    ("m12b_origin_300mm", "part.ply", PART_MM, None, None),
    ("m12d_centred", "part.ply", PART_MM, None, None),
    ("m13_glb_vertex_colours", "float.glb", PART_MM, None, BY_AREA),
    ("m13_glb_vertex_colours", "ushort_default_material.glb", PART_MM, None, BY_AREA),
    ("m18_obj_no_usemtl", "part.obj", PART_MM, None, BY_AREA),
    ("m19_obj_backslash", "my part.obj", PART_MM, None, BY_AREA),
    ("m21_obj_vcol_and_mtl", "part.obj", PART_MM, (104, 127, 157), None),
    ("m22_obj_absolute_windows_texture", "part.obj", PART_MM, None, BY_AREA),
]


@pytest.mark.parametrize(("name", "file", "size", "of_vertices", "of_area"), MODELS)
def test_models(case: Path, name, file, size, of_vertices, of_area) -> None:
    model = load_mesh(case / file)
    assert 1000 * model.diameter == pytest.approx(size, abs=0.1)
    assert model.has_color == (of_vertices is not None or of_area is not None
                               or "origin" in name or name in ("m10_ply_stray_vertex",
                                                               "m12d_centred"))  # fmt: skip
    if of_vertices is not None:
        np.testing.assert_allclose(255 * model.colors.mean(0), of_vertices, atol=2)
    if of_area is not None:
        np.testing.assert_allclose(area_mean(model), of_area, atol=1)


@pytest.mark.parametrize("name", ["m01_stl_inch"])
def test_two_parts_in_inches(case: Path, name: str) -> None:
    big, part = load_models(case)
    assert 1000 * big.diameter == pytest.approx(359.3, abs=0.1)
    assert 1000 * part.diameter == pytest.approx(PART_MM, abs=0.1)


@pytest.mark.parametrize("name", ["m26_obj_16bit_texture"])
def test_a_grey_texture(case: Path, name: str) -> None:
    """Mid grey, half as bright on one side as it is on the other."""
    model = load_mesh(case / "part.obj")
    assert model.has_color
    assert 100 < area_mean(model).mean() < 155


@pytest.mark.parametrize("name", ["m27_macos_forks"])
def test_macos_forks(case: Path, name: str) -> None:
    (model,) = load_models(case)
    assert (model.object_id, round(1000 * model.diameter, 1)) == (2, PART_MM)


RECORDINGS = [  # frames; fx of each; words of a note
    ("r01_distortion", 3, [FX] * 3, "lens distortion"),
    ("r02_depth_65535", 3, [FX] * 3, "65535"),
    ("r03_nanosecond_names", 3, [FX] * 3, "nanoseconds"),
    ("r04_scannet", 3, [FX] * 3, ""),
    ("r05a_two_files", 2, [FX] * 2, "depth has a camera of its own"),
    ("r05d_camera_info_pair", 2, [FX] * 2, ""),
    ("r06_record3d", 3, [FX] * 3, "enlarged"),
    ("r06b_record3d_renamed", 3, [FX] * 3, "columns first"),
    ("r09_k_per_frame", 3, [307.84, 384.80, 461.76], "K for each image"),
    ("r11_jpeg_tail", 2, [FX] * 2, ""),
    ("r12_exif", 2, [FX] * 2, "EXIF orientation (6)"),
    ("r12b_exif_180", 2, [FX] * 2, "EXIF orientation (3)"),
    ("r20_off_by_one", 2, [FX] * 2, "may be shifted by 1"),
    ("r23_bop_train_without_images", 2, [FX] * 2, ""),
]


@pytest.mark.parametrize(("name", "frames", "fx", "says"), RECORDINGS)
def test_recordings(case: Path, caplog, name, frames, fx, says) -> None:
    with caplog.at_level(logging.WARNING, "self6d"):
        dataset = open_dataset(case)
        found = [dataset.frame(i) for i in range(len(dataset))]
    assert len(found) == frames
    for frame, focal in zip(found, fx, strict=True):
        K = frame.camera.K_opencv
        np.testing.assert_allclose([K[0, 0], K[0, 2], K[1, 2]], [focal, CX, CY], atol=0.01)
        assert frame.depth_m is not None
        assert frame.rgb.shape[:2] == frame.depth_m.shape
        assert 0.2 < frame.depth_m[frame.depth_m > 0].min() < frame.depth_m.max() < 4
    assert says in caplog.text
    if name == "r02_depth_65535":
        assert (found[0].depth_m > 0).mean() == pytest.approx(0.83, abs=0.01)
        assert not found[0].depth_m[:, :40].any()


ERRORS = [
    ("r15_848x480_with_1280x720", "depth is not registered to colour"),
    ("r24a_k_kubric", "not in pixels"),
    ("r27_two_resolutions", "320x240, these are 160x120"),
]


@pytest.mark.parametrize(("name", "says"), ERRORS)
def test_what_is_refused(case: Path, tmp_path: Path, capsys, name: str, says: str) -> None:
    """By the reader, by the doctor and by a command, in the same words."""
    dataset = open_dataset(case)
    with pytest.raises(InputError, match=says) as error:
        [dataset.frame(i) for i in range(len(dataset))]
    assert "\n" not in error.value.one_line()
    report = doctor.examine(case)
    assert any(says in f.what for f in report.findings if f.severity == "error")
    assert cli.run(["doctor", str(case), "--quiet"]) == 2
    assert says in capsys.readouterr().out


@pytest.mark.parametrize("name", ["r23_bop_train_without_images"])
def test_a_broken_part_leaves_a_report_of_the_rest(case: Path, name: str) -> None:
    report = doctor.examine(case)
    assert report.frames == 2
    assert any("train_pbr" in f.what or "train_pbr" in f.path for f in report.findings)


@pytest.mark.parametrize("name", ["r22_gaps_two_instances"])
def test_two_of_one_object_in_an_image(case: Path, name: str) -> None:
    dataset = open_dataset(case)
    for index in range(2):
        assert sorted(t.object_id for t in dataset.truth(index)).count(7) == 2


@pytest.mark.parametrize("name", ["r12b_exif_180"])
def test_a_copy_is_whole_and_upright(case: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(case, tmp_path / "data")
    code = cli.run(["doctor", str(tmp_path / "data"), "--quiet", "--fix", str(tmp_path / "copy"),
                    "--json", str(tmp_path / "report")])  # fmt: skip
    fixable = any(f["fixable"] for f in json.loads((tmp_path / "report").read_text())["findings"])
    assert code == (0 if fixable else 2)
    if fixable:
        before, after = open_dataset(case), open_dataset(tmp_path / "copy")
        assert len(after) == len(before)
        np.testing.assert_allclose(
            after.frame(0).rgb.astype(int), before.frame(0).rgb.astype(int), atol=1
        )
