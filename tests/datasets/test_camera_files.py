"""Camera files of other programs: COLMAP, ORB-SLAM, OpenCV's XML, arrays and tables."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from variations import Shots, camera_table, plain, read, same, sample_shots, write

from self6d.datasets.intrinsics import intrinsics_of, read_intrinsics
from self6d.errors import InputError


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Shots:
    return sample_shots(tmp_path_factory.mktemp("shots"))


COLMAP = "# Camera list\n1 {model} 128 96 {numbers}\n"


@pytest.mark.parametrize("place", ["cameras.txt", "sparse/0/cameras.txt"])
@pytest.mark.parametrize(
    ("model", "focal", "more"),
    [("PINHOLE", 2, ""), ("OPENCV", 2, " 0 0 0 0"), ("FULL_OPENCV", 2, " 0" * 8)],
)
def test_colmap_puts_corners_at_zero(tmp_path, shots, caplog, place, model, focal, more) -> None:
    K = shots.K
    numbers = f"{K[0, 0]} {K[1, 1]} {K[0, 2] + 0.5} {K[1, 2] + 0.5}{more}"
    files = {place: COLMAP.format(model=model, numbers=numbers)}
    frames, notes = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)
    assert "half a pixel" in notes


def test_colmaps_coefficients(tmp_path: Path) -> None:
    for line, model, coefficients, fy in (
        ("SIMPLE_RADIAL 640 480 500 320 240 -0.1", "opencv", (-0.1, 0, 0, 0), 500),
        ("RADIAL 640 480 500 320 240 -0.1 0.02", "opencv", (-0.1, 0.02, 0, 0), 500),
        ("OPENCV 640 480 500 510 320 240 -0.1 0.02 1e-3 2e-3", "opencv",
         (-0.1, 0.02, 1e-3, 2e-3), 510),
        ("OPENCV_FISHEYE 640 480 500 510 320 240 0.1 0.02 1e-3 2e-3", "fisheye",
         (0.1, 0.02, 1e-3, 2e-3), 510),
    ):  # fmt: skip
        (tmp_path / "cameras.txt").write_text(f"3 {line}\n")
        stated = read_intrinsics(tmp_path / "cameras.txt")
        assert (stated.width, stated.height) == (640, 480)
        np.testing.assert_allclose(stated.K, [[500, 0, 319.5], [0, fy, 239.5], [0, 0, 1]])
        assert stated.distortion is not None
        assert (stated.distortion.model, stated.distortion.coefficients) == (model, coefficients)


@pytest.mark.parametrize(
    ("text", "says"),
    [("1 PINHOLE 640 480 500 500 320 240\n2 PINHOLE 640 480 600 600 320 240\n", "2 cameras"),
     ("1 FOV 640 480 500 500 320 240 0.9\n", "model FOV is not read"),
     ("1 PINHOLE 640 480 500 320 240\n", "other numbers")],
)  # fmt: skip
def test_colmap_that_is_not_read(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "cameras.txt").write_text(text)
    with pytest.raises(InputError, match=says):
        read_intrinsics(tmp_path / "cameras.txt")
    (tmp_path / "cameras.txt").rename(tmp_path / "cameras.bin")
    with pytest.raises(InputError, match="model_converter"):
        intrinsics_of(tmp_path)


@pytest.mark.parametrize("form", ["npy", "npy of four", "npz", "csv", "csv names", "csv rows",
                                  "csv semicolons", "xml", "xml fisheye"])  # fmt: skip
def test_arrays_tables_and_xml(tmp_path: Path, shots: Shots, form: str) -> None:
    K, D = shots.K, np.array([0.1, -0.05, 0.001, 0.002])
    four = [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
    path = tmp_path / f"camera_intrinsics.{form.split()[0]}"
    bent = form in ("npz", "xml", "xml fisheye")
    if form == "npz":
        np.savez(path, mtx=K, dist=D[None])
    elif form.startswith("npy"):
        np.save(path, four if "four" in form else K)
    elif form == "csv":
        np.savetxt(path, K, delimiter=",")
    elif form.startswith("csv"):
        names = ["fx", "fy", "cx", "cy"]
        comma = ";" if "semi" in form else ","
        rows = [names, four] if "rows" not in form else list(zip(names, four, strict=True))
        path.write_text("\n".join(comma.join(map(str, row)) for row in rows))
    else:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
        storage.write("image_width", 128)
        storage.write("image_height", 96)
        storage.write("camera_matrix", K)
        storage.write("distortion_coefficients", D[:, None])
        if "fisheye" in form:
            storage.write("distortion_model", "fisheye")
        storage.release()
    stated = intrinsics_of(tmp_path)
    np.testing.assert_allclose(stated.K, K, rtol=1e-9)
    assert (stated.distortion is not None) == bent
    if stated.distortion is not None:
        assert stated.distortion.coefficients == pytest.approx(D)
        assert stated.distortion.model == ("fisheye" if "fisheye" in form else "opencv")
    assert (stated.width == 128) == form.startswith("xml")


@pytest.mark.parametrize(
    ("name", "data"),
    [("camera.npy", b"no array"), ("camera.npz", b"PK\3\4 no archive"), ("camera.xml", b"<a/>"),
     ("camera.xml", b"<?xml version='1.0'?><opencv_storage><K>"), ("camera.csv", b"a,b,c\nd,e,f")],
)  # fmt: skip
def test_damaged_arrays_tables_and_xml(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=name) as error:
        intrinsics_of(tmp_path)
    assert "\n" not in error.value.one_line()


@pytest.mark.parametrize("prefix", ["Camera.", "Camera1."])
def test_orb_slams_names(tmp_path: Path, shots: Shots, caplog, prefix: str) -> None:
    K = shots.K
    lines = ["%YAML:1.0", "", 'Camera.type: "PinHole"', "Camera.width: 128", "Camera.height: 96"]
    values = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "k1": 0.0, "p1": 0.0}
    lines += [f"{prefix}{name}: {value}" for name, value in values.items()]
    lines += ["Camera2.fx: 100.0", "RGBD.DepthMapFactor: 5000.0"]
    files = {"camera.yaml": "\n".join(lines)}
    way = plain(shots, camera=files, unit_mm=0.2)
    frames, notes = read(write(tmp_path, shots, way), caplog)
    same(frames, shots)
    assert "depth scale 5000" in notes


@pytest.mark.parametrize(
    ("key", "value", "unit_mm"),
    [("depthScale", 0.0001, 0.1), ("DepthMapFactor", 5000, 0.2), ("depth_units", 0.001, 1.0),
     ("integer_depth_scale", 1e-4, 0.1), ("depth_scale", "10000", 0.1)],
)  # fmt: skip
def test_depth_scales_under_other_names(tmp_path, shots, caplog, key, value, unit_mm) -> None:
    K = shots.K
    table = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], key: value}
    way = plain(shots, camera={"camera.json": json.dumps(table)}, unit_mm=unit_mm)
    frames, notes = read(write(tmp_path, shots, way), caplog)
    same(frames, shots)
    assert "depth scale" in notes


@pytest.mark.parametrize(
    "size", [{"imageWidth": 256, "imageHeight": 192}, {"image_size": [256, 192]},
             {"Width": "256", "Height": "192"}],
)  # fmt: skip
def test_sizes_under_other_names(tmp_path: Path, shots: Shots, caplog, size: dict) -> None:
    K = shots.K.copy()
    K[:2, 2] += 0.5
    K[:2] *= 2
    K[:2, 2] -= 0.5
    table = {"K": K.tolist(), "depth_scale": 1.0, **size}
    files = {"camera.json": json.dumps(table)}
    frames, notes = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)
    assert "rescaled" in notes


@pytest.mark.parametrize("binning", [1, 2])
def test_a_region_of_a_sensor_as_ros_states_it(tmp_path, shots, caplog, binning: int) -> None:
    """K is of the whole sensor, 400 x 300 before binning; images begin at 60, 40 of it."""
    K = shots.K.copy()
    K[:2, 2] += 0.5
    K[:2] *= binning
    K[:2, 2] += np.array([60, 40]) - 0.5
    roi = {"x_offset": 60, "y_offset": 40, "width": 128 * binning, "height": 96 * binning}
    table = {
        "width": 400,
        "height": 300,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": K.reshape(-1).tolist(),
        "binning_x": binning,
        "roi": {**roi, "do_rectify": False},
    }
    files = {"camera_info.json": json.dumps(table)}
    frames, notes = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)
    assert "states a region of the image, to which K was moved" in notes


@pytest.mark.parametrize("form", ["kalibr", "list"])
def test_one_of_several_cameras_is_taken_and_said(tmp_path, shots, caplog, form: str) -> None:
    fx, fy, cx, cy = shots.K[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    first, second = [fx, fy, cx, cy], [fx / 2, fy / 2, cx + 3, cy]
    if form == "kalibr":
        cams = {f"cam{k}": {"camera_model": "pinhole", "intrinsics": row, "resolution": [128, 96]}
                for k, row in enumerate((first, second))}  # fmt: skip
        files = {"camchain.yaml": json.dumps(cams)}
    else:
        rows = [dict(zip(("fx", "fy", "cx", "cy"), row, strict=True)) for row in (first, second)]
        files = {"camera.json": json.dumps({"cameras": rows})}
    frames, notes = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)
    assert "states 2 cameras" in notes
    assert "not which is colour's" in notes


def test_a_file_of_poses_is_no_camera(tmp_path: Path, shots: Shots, caplog) -> None:
    files = {"camera.json": camera_table(shots), "camera_pose.json": '{"K": [1, 2]}',
             "camera_trajectory.txt": "1 2 3"}  # fmt: skip
    frames, _ = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)
    (tmp_path / "camera.json").rename(tmp_path / "camera_parameters.json")
    frames, _ = read(tmp_path, caplog)
    same(frames, shots)
