"""Folders as other programs leave them, each with its right value, or one line that names it."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as world
from PIL import Image

from self6d.datasets import open_dataset
from self6d.doctor import doctor
from self6d.errors import InputError
from self6d.files import forget_notes

SHOTS = [world.shot(n) for n in range(3)]
CAMERA = {"fx": 60.5, "fy": 61.5, "cx": 31.25, "cy": 23.75}


def put(root: Path, rgb="rgb/{:04d}.png", depth="depth/{:04d}.png", camera=CAMERA, units=1.0):
    for n, s in enumerate(SHOTS):
        world.save(root / rgb.format(n), s.rgb)
        world.save(root / depth.format(n), np.round(s.depth_mm * units).astype(np.uint16))
    if camera is not None:
        world.dump(root / "camera.json", camera)
    return root


def same(root: Path, caplog, *, depth_mm: float = 0.6, K=(world.K,) * 3) -> str:
    """All is as it was shot; the notes."""
    forget_notes()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "self6d"):
        dataset = open_dataset(root)
        frames = [dataset.frame(i) for i in range(len(dataset))]
    for frame, s, k in zip(frames, SHOTS, K, strict=True):
        np.testing.assert_array_equal(frame.rgb, s.rgb)
        np.testing.assert_allclose(1000 * frame.depth_m, s.depth_mm, atol=depth_mm)
        np.testing.assert_allclose(frame.camera.K_opencv, k)
    return caplog.text


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("name", ["associations.txt", "rgbd_assoc.txt"])
def test_lists_of_colour_beside_depth_count_as_tums(tmp_path: Path, caplog, name, swap) -> None:
    """As ORB-SLAM takes them and ICL-NUIM has them; pairs by the list, not by names."""
    put(tmp_path, depth="depth/9{:03d}.png", units=5.0)
    rows = [[f"{n}.1 rgb/{n:04d}.png", f"{n}.2 depth/9{n:03d}.png"] for n in (2, 0, 1)]
    lines = ["# time colour time depth"] + [" ".join(row[::-1] if swap else row) for row in rows]
    (tmp_path / name).write_text("\r\n".join(lines))
    assert "5000 read as units per metre" in same(tmp_path, caplog)
    assert open_dataset(tmp_path).kind == "tum"
    (tmp_path / name).write_text("0 rgb/../../a.png 0 depth/0.png")
    with pytest.raises(InputError, match=r"line 1 .* outside its folder"):
        open_dataset(tmp_path)
    (tmp_path / name).write_text("0 rgb/0000.png 0 depth/9000.png\n1 rgb/0001.png\n")
    with pytest.raises(InputError, match="line 2 of the image list is not two"):
        open_dataset(tmp_path)


def test_a_film_of_nerfstudio_has_a_lens_for_each_image(tmp_path: Path, caplog) -> None:
    """Its image begins at 0, where here the first pixel's centre lies."""
    K = [world.K * [[1 + n / 10], [1], [1]] for n in range(3)]
    frames = [{"file_path": f"./images/{n:04d}.png", "fl_x": k[0, 0], "fl_y": k[1, 1],
               "cx": k[0, 2] + 0.5, "cy": k[1, 2] + 0.5} for n, k in enumerate(K)]  # fmt: skip
    put(tmp_path, "images/{:04d}.png", camera=None)
    world.dump(tmp_path / "transforms.json", {"w": 64, "h": 48, "frames": frames})
    assert "a K for each image" in same(tmp_path, caplog, K=K)
    alike = [frames[0] | {"file_path": frame["file_path"]} for frame in frames]
    world.dump(tmp_path / "transforms.json", {"w": 64, "h": 48, "frames": alike})
    assert "a K for each image" not in same(tmp_path, caplog)


@pytest.mark.parametrize(("unit", "units"), [("mm", 1.0), ("Millimeters", 1.0), ("cm", 0.1)])
def test_the_unit_of_depth_in_words(tmp_path: Path, caplog, unit: str, units: float) -> None:
    put(tmp_path, camera=CAMERA | {"depth_unit": unit}, units=units)
    notes = same(tmp_path, caplog, depth_mm=0.6 / units)
    assert "not stated" not in notes
    assert ("10 read as millimetres per unit" in notes) == (unit == "cm")


ECHO = """header:
  seq: 0
height: 48
width: 64
distortion_model: plumb_bob
D: [0.0, 0.0, 0.0, 0.0, 0.0]
K: [60.5, 0.0, 31.25, 0.0, 61.5, 23.75, 0.0, 0.0, 1.0]
---
"""


@pytest.mark.parametrize("name", ["camera_info.txt", "camera_info.yaml"])
def test_what_rostopic_echoes(tmp_path: Path, caplog, name: str) -> None:
    put(tmp_path, camera=None)
    (tmp_path / name).write_text(ECHO)
    assert "documents of YAML" not in same(tmp_path, caplog)
    (tmp_path / name).write_text(ECHO + ECHO.replace("seq: 0", "seq: 1"))
    assert "2 documents of YAML; the first is read" in same(tmp_path, caplog)


def test_of_several_depth_folders_the_aligned_one(tmp_path: Path, caplog) -> None:
    put(tmp_path, depth="depth_aligned/{:04d}.png")
    for n, s in enumerate(SHOTS):
        world.save(tmp_path / "depth_raw" / f"{n:04d}.png", np.roll(s.depth_mm, 7, 1))
        world.save(tmp_path / "depth_vis" / f"{n:04d}.png", (s.depth_mm // 8).astype(np.uint8))
    assert "is used as depth, not depth_raw, depth_vis" in same(tmp_path, caplog)


def test_two_camera_files_that_disagree_are_said(tmp_path: Path, caplog) -> None:
    put(tmp_path)
    world.dump(tmp_path / "intrinsics.json", CAMERA | {"fx": 60.51})
    assert "another K" not in same(tmp_path, caplog)
    world.dump(tmp_path / "intrinsics.json", CAMERA | {"fx": 70})
    assert "intrinsics.json states another K (fx 70)" in same(tmp_path, caplog)


@pytest.mark.parametrize("stated", [{}, {"width": 64, "height": 48}])
def test_exchanged_cx_and_cy_are_said(tmp_path: Path, caplog, stated: dict) -> None:
    put(tmp_path, camera=CAMERA | {"cx": 23.75, "cy": 31.25} | stated)
    K = world.K[:, :2].tolist()
    notes = same(tmp_path, caplog, K=[np.column_stack((K, [23.75, 31.25, 1]))] * 3)
    assert "seem to be exchanged" in notes
    found = [f for f in doctor.examine(tmp_path).findings if f.code == "intrinsics-centre"]
    assert len(found) == 1
    assert "on their side" in found[0].what


def test_recordings_of_several_units_below_a_folder(tmp_path: Path, caplog) -> None:
    """The folder above names them; each is read by what stands beside it."""
    put(tmp_path / "a", camera=CAMERA | {"depth_scale": 1.0})
    put(tmp_path / "b", camera=CAMERA | {"depth_scale": 0.2}, units=5.0)
    (tmp_path / "first.mp4").write_bytes(b"film")  # beside them: it alone was told of
    with pytest.raises(InputError, match="is no recording, but holds 2: a, b"):
        open_dataset(tmp_path)
    for name in ("a", "b"):
        same(tmp_path / name, caplog)


@pytest.mark.parametrize("inside", ["run", "run/of monday", "run/of monday/take 1"])
def test_recordings_farther_down_are_named(tmp_path: Path, caplog, inside: str) -> None:
    """As archives unpack: a folder in a folder."""
    put(tmp_path / inside / "a")
    put(tmp_path / inside / "b")
    a, b = (re.escape(f"{inside}/{name}") for name in "ab")
    says = "holds no recording" if inside.count("/") == 2 else f"holds 2: {a}, {b}"
    with pytest.raises(InputError, match=says):
        open_dataset(tmp_path)
    same(tmp_path / inside / "a", caplog)


def test_bags_in_a_folder_below_are_named(tmp_path: Path) -> None:
    (tmp_path / "monday").mkdir()
    for name in "ab":
        (tmp_path / "monday" / f"{name}.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(InputError, match=re.escape("holds 2: monday/a.bag, monday/b.bag")):
        open_dataset(tmp_path)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".jp2", ".j2k"])
def test_other_endings_of_jpeg(tmp_path: Path, suffix: str) -> None:
    """Windows saves JPEG as .jfif; JPEG 2000 comes from scans and satellites."""
    (tmp_path / "rgb").mkdir()
    put(tmp_path, rgb="png/{:04d}.png")
    for n, s in enumerate(SHOTS):
        picture = Image.fromarray(s.rgb)
        how = {"format": "JPEG2000"} if "2" in suffix else {"format": "JPEG", "quality": 98}
        if suffix == ".j2k":
            how["no_jp2"] = True
        picture.save(tmp_path / "rgb" / f"{n:04d}{suffix}", **how)
    dataset = open_dataset(tmp_path)
    for frame, s in zip((dataset.frame(i) for i in range(3)), SHOTS, strict=True):
        off = np.abs(frame.rgb.astype(int) - s.rgb)
        assert off.max() == 0 if "2" in suffix else off.mean() < 3
        np.testing.assert_allclose(1000 * frame.depth_m, s.depth_mm, atol=0.6)


def test_images_that_are_left_out_for_their_kind_are_told_of(tmp_path: Path, caplog) -> None:
    put(tmp_path)
    (tmp_path / "rgb" / "0003.heic").write_bytes(b"\0\0\0\x18ftypheic")
    notes = same(tmp_path, caplog)
    assert "1 image of a kind that is not read, left out: 0003.heic" in notes
    with pytest.raises(InputError, match=r"is a \.heic image, which is not read"):
        open_dataset(tmp_path / "rgb" / "0003.heic")


@pytest.mark.parametrize(
    ("name", "says"),
    [("rgb/0000.heic", "0000.heic is of another kind"), ("rgb/a.gif", "a.gif is of another kind"),
     ("rgb/a.jxl", "a.jxl is of another kind"),
     ("take.mp4", "film cannot be read")],
)  # fmt: skip
def test_images_of_kinds_that_are_not_read_are_named(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA))
    with pytest.raises(InputError, match=says):
        open_dataset(tmp_path)


def test_seven_scenes_and_polycam(tmp_path: Path, caplog) -> None:
    scenes = put(tmp_path / "seq", "frame-{:06d}.color.png", "frame-{:06d}.depth.png")
    for n in range(3):
        np.savetxt(scenes / f"frame-{n:06d}.pose.txt", np.eye(4))
    same(scenes, caplog)
    cloud = put(tmp_path / "keyframes", "images/{}.png", "depth/{}.png", camera=None)
    K = [world.K * [[1 + n / 10], [1], [1]] for n in range(3)]
    for n, k in enumerate(K):
        table = {"fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2], "cy": k[1, 2], "t_00": 1.0}
        world.dump(cloud / "cameras" / f"{n}.json", table)
    assert "a K for each image" in same(cloud, caplog, K=K)


def test_depth_of_three_equal_channels_and_pgm(tmp_path: Path, caplog) -> None:
    put(tmp_path)
    for path in (tmp_path / "depth").iterdir():
        cv2.imwrite(str(path), cv2.merge([cv2.imread(str(path), cv2.IMREAD_UNCHANGED)] * 3))
    assert "equal channels" in same(tmp_path, caplog)
    for path in list((tmp_path / "depth").iterdir()):
        world.save(path.with_suffix(".pgm"), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., 0])
        path.unlink()
    same(tmp_path, caplog)
