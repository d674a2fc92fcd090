"""Images and file names as people have them: each reads right, or says in a line why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from variations import NAMES, Shots, camera_table, plain, read, same, sample_shots, write

from self6d.datasets import open_dataset
from self6d.datasets.images import read_rgb, size_of_rgb
from self6d.datasets.readers.bop_scene import numbered_images
from self6d.datasets.readers.one_name import images_in
from self6d.errors import InputError


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Shots:
    return sample_shots(tmp_path_factory.mktemp("shots"))


# --- images ---------------------------------------------------------------------------------------
def test_bytes_behind_a_jpegs_end(tmp_path: Path, shots: Shots, caplog) -> None:
    frames, _ = read(write(tmp_path, shots, plain(shots, suffix=".jpg", tail=9000)), caplog)
    same(frames, shots, colour=2.0)


def test_a_jpeg_cut_short_behind_its_thumbnail(tmp_path: Path, shots: Shots) -> None:
    root = write(tmp_path, shots, plain(shots, suffix=".jpg"))
    path = root / "rgb" / f"{NAMES[0]}.jpg"
    data = path.read_bytes()
    thumb = b"\xff\xe2" + (6).to_bytes(2, "big") + b"\xff\xd9ab"  # a table that holds an end mark
    path.write_bytes(data[:2] + thumb + data[2:])
    open_dataset(root).frame(0)
    path.write_bytes((data[:2] + thumb + data[2:])[:-300])
    with pytest.raises(InputError, match="truncated"):
        open_dataset(root).frame(0)


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_exif_orientation_is_followed(tmp_path, shots, caplog, orientation: int) -> None:
    way = plain(shots, suffix=".jpg", exif=orientation)
    frames, notes = read(write(tmp_path, shots, way), caplog)
    same(frames, shots, colour=2.0)
    assert f"EXIF orientation ({orientation})" in notes
    path = tmp_path / "rgb" / f"{NAMES[0]}.jpg"
    viewer = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)  # turns as viewers do
    np.testing.assert_array_equal(read_rgb(path), viewer)
    assert size_of_rgb(path) == viewer.shape[:2]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_exif_orientation_of_other_files(tmp_path: Path, shots: Shots, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = np.ascontiguousarray(np.rot90(shots.rgb[0]))
    Image.fromarray(lying).save(tmp_path / f"a{suffix}", exif=exif, lossless=True)
    np.testing.assert_array_equal(read_rgb(tmp_path / f"a{suffix}"), shots.rgb[0])
    assert size_of_rgb(tmp_path / f"a{suffix}") == shots.rgb[0].shape[:2]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_the_size_of_an_image(tmp_path: Path, shots: Shots, suffix: str, monkeypatch) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(shots.rgb[0]).save(path)
    if suffix != ".bmp":  # it is in the header
        monkeypatch.setattr(cv2, "imdecode", None)
    assert size_of_rgb(path) == shots.rgb[0].shape[:2]
    path.write_bytes(path.read_bytes()[:10])
    monkeypatch.undo()
    with pytest.raises(InputError):
        size_of_rgb(path)


def test_depth_on_its_side_names_exif(tmp_path: Path, shots: Shots) -> None:
    lying = np.ascontiguousarray(shots.depth_mm.transpose(0, 2, 1))
    root = write(tmp_path, shots, plain(shots, suffix=".jpg", exif=6))
    for name, depth in zip(NAMES, lying, strict=True):
        cv2.imwrite(str(root / "depth" / f"{name}.png"), depth)
    with pytest.raises(InputError, match=r"lies on its side.*EXIF"):
        open_dataset(root).frame(0)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colour_of_more_bits(tmp_path: Path, shots: Shots, caplog, bits: int) -> None:
    bright = shots.rgb.copy()
    bright[:, :2] = 255
    bright[1] //= 9  # a dark frame among them
    lit = Shots(bright, shots.depth_mm, shots.K, shots.models)
    frames, notes = read(write(tmp_path, lit, plain(lit, bits=bits)), caplog)
    same(frames, lit)
    assert "16-bit colour" in notes
    assert (f"uses {bits}" in notes) == (bits < 16)


@pytest.mark.parametrize("extra", ["grey", "alpha"])
def test_grey_and_alpha(tmp_path: Path, shots: Shots, caplog, extra: str) -> None:
    frames, notes = read(write(tmp_path, shots, plain(shots, extra=extra)), caplog)
    rgb = shots.rgb
    if extra == "grey":
        rgb = np.stack([cv2.cvtColor(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
                        for i in rgb])  # fmt: skip
    same(frames, Shots(rgb, shots.depth_mm, shots.K, shots.models))
    assert ("grey" if extra == "grey" else "transparency") in notes


def test_macos_forks_are_no_images(tmp_path: Path, shots: Shots, caplog) -> None:
    frames, notes = read(write(tmp_path, shots, plain(shots, macos=True)), caplog)
    same(frames, shots)
    assert not notes


# --- names ----------------------------------------------------------------------------------------
TIMES = {"s": lambda t: f"{t / 1e9:.6f}", "ms": lambda t: str(t // 10**6),
         "us": lambda t: str(t // 10**3), "ns": str,
         "s_ns": lambda t: f"{t // 10**9}_{t % 10**9:09d}"}  # fmt: skip
START = 1663251800013000000


@pytest.mark.parametrize("unit", TIMES)
@pytest.mark.parametrize("start", [START, 83_013_000_000])
def test_time_stamps(tmp_path: Path, shots: Shots, caplog, unit: str, start: int) -> None:
    if start < START and unit in ("ms", "s_ns"):
        pytest.skip("a number of so few digits counts images as well")
    spell: Callable[[int], str] = TIMES[unit]
    rgb = [spell(start + i * 33_333_333) for i in range(3)]
    depth = [spell(start + i * 33_333_333 + 4_711_003) for i in range(3)]
    frames, _ = read(write(tmp_path, shots, plain(shots, rgb_names=rgb, depth_names=depth)), caplog)
    same(frames, shots)


def test_time_stamps_of_two_units(tmp_path: Path, shots: Shots, caplog) -> None:
    rgb = [f"{(START + i * 33_333_333) / 1e9:.6f}" for i in range(3)]
    depth = [str(START + i * 33_333_333 + 4_711_003) for i in range(3)]
    frames, _ = read(write(tmp_path, shots, plain(shots, rgb_names=rgb, depth_names=depth)), caplog)
    same(frames, shots)


def test_tum_lists_in_nanoseconds(tmp_path: Path, shots: Shots, caplog) -> None:
    way = plain(shots, unit_mm=0.2)
    for name, shift in (("rgb", 0), ("depth", 4_711_003)):
        times = [START + i * 33_333_333 + shift for i in range(3)]
        lines = [f"{t} {name}/{n}.png" for t, n in zip(times, NAMES, strict=True)]
        way.camera[f"{name}.txt"] = "\n".join(lines)
    way.camera["camera.json"] = way.camera["camera.json"].replace('"depth_scale": 1.0', '"z": 1.0')
    frames, notes = read(write(tmp_path, shots, way), caplog)
    same(frames, shots)
    assert "time stamps read as ns" in notes


def test_time_stamps_of_two_clocks(tmp_path: Path, shots: Shots) -> None:
    rgb = [str(START + i * 33_333_333) for i in range(3)]
    depth = [str(START + i * 33_333_333 + 5_000_000_000) for i in range(3)]
    write(tmp_path, shots, plain(shots, rgb_names=rgb, depth_names=depth))
    with pytest.raises(InputError, match="nanoseconds: no depth image lies within 20 ms"):
        open_dataset(tmp_path)


def test_the_one_image_turned_on_its_side_is_named(tmp_path: Path, shots: Shots) -> None:
    """The camera file, which is right, was named alone."""
    root = write(tmp_path, shots, plain(shots))
    table = json.loads((root / "camera.json").read_text())
    height, width = shots.size
    (root / "camera.json").write_text(json.dumps({**table, "width": width, "height": height}))
    turned = root / "rgb" / f"{NAMES[1]}.png"
    Image.open(turned).transpose(Image.Transpose.ROTATE_90).save(turned)
    dataset = open_dataset(root)
    dataset.frame(0, depth=False)
    with pytest.raises(InputError) as raised:
        dataset.frame(1, depth=False)
    assert raised.value.path == turned
    assert f"{height}x{width}, {root / 'camera.json'} is for {width}x{height}" in raised.value.what


def test_an_image_in_two_formats_is_one_frame(tmp_path: Path, shots: Shots, caplog) -> None:
    """It was two frames of one depth image, and "-1 of 3 depth images" had no colour image."""
    root = write(tmp_path, shots, plain(shots))
    name = root / "rgb" / NAMES[0]
    Image.open(f"{name}.png").save(f"{name}.jpg", quality=95)
    frames, notes = read(root, caplog)
    same(frames, shots)
    assert "1 of 4 colour images lie there in another format too; left out" in notes
    assert "no colour image" not in notes


def test_depth_in_two_formats_is_one_image(tmp_path: Path, shots: Shots, caplog) -> None:
    """It was said to have no colour image; of a BOP scene, one was taken as the disk listed it."""
    root = write(tmp_path, shots, plain(shots))
    np.save(root / "depth" / f"{NAMES[0]}.npy", np.full(shots.size, 7.0))
    frames, notes = read(root, caplog)
    same(frames, shots)
    left_out = "1 of 4 depth images lie there in another format too; left out: depth/"
    assert f"{left_out}{NAMES[0]}.npy" in notes
    assert "no colour image" not in notes
    scene = tmp_path / "scene" / "depth"
    scene.mkdir(parents=True)
    for name in ("000001.npy", "000001.png", "000002.png"):
        (scene / name).touch()
    found = numbered_images(scene.parent, "depth", (".png", ".npy"))
    assert found == {1: "depth/000001.png", 2: "depth/000002.png"}
    assert "1 of 3 depth images lie there in another format too" in caplog.text


def one_folder(root: Path, shots: Shots) -> Path:
    """Colour as 0.jpg, 1.jpg, ... without any depth."""
    for number, rgb in enumerate(shots.rgb):
        Image.fromarray(rgb).save(root / f"{number}.jpg", quality=95)
    (root / "camera.json").write_text(camera_table(shots))
    return root


@pytest.mark.parametrize("folder", ["", "rgb"])
def test_colour_and_depth_under_one_name(tmp_path: Path, shots: Shots, caplog, folder) -> None:
    """Depth was taken for colour and 0.jpg left out as "in another format too"; then each frame
    was refused: "colour and depth may be swapped".
    """
    (inside := tmp_path / folder).mkdir(exist_ok=True)
    one_folder(inside, shots)
    (inside / "camera.json").replace(tmp_path / "camera.json")
    for number, depth in enumerate(shots.depth_mm):
        cv2.imwrite(str(inside / f"{number}.png"), depth)
    frames, notes = read(tmp_path, caplog)
    same(frames, shots, colour=2.0)
    few = ", ".join(str(Path(folder) / f"{number}.png") for number in range(3))
    assert f"beside colour images of the same name are taken as depth: {few}" in notes
    assert "another format" not in notes
    assert [path.name for path in images_in(inside)] == ["0.jpg", "1.jpg", "2.jpg"]  # of predict


def test_floats_under_the_name_of_a_colour_image_are_depth(tmp_path: Path, shots, caplog) -> None:
    """They were left out unsaid."""
    root = one_folder(tmp_path, shots)
    for number, depth in enumerate(shots.depth_mm):
        np.save(root / f"{number}.npy", depth / np.float32(1000))
    same(read(root, caplog)[0], shots, colour=2.0)


def test_eight_bits_under_the_name_of_a_colour_image_are_left_out(tmp_path, shots, caplog) -> None:
    """A mask, or a picture of depth, was taken for colour, and the colour image left out."""
    root = one_folder(tmp_path, shots)
    for number in range(len(shots.rgb)):
        cv2.imwrite(str(root / f"{number}.png"), np.full(shots.size, 80, np.uint8))
    frames, notes = read(root, caplog)
    assert all(frame.depth_m is None for frame in frames)
    assert np.abs(frames[0].rgb.astype(int) - shots.rgb[0]).mean() < 2
    assert "are left out: 0.png, 1.png, 2.png. If they are depth, write it as 16-bit PNG" in notes


def test_images_without_a_partner_are_named(tmp_path: Path, shots: Shots, caplog) -> None:
    root = write(tmp_path, shots, plain(shots))
    (root / "depth" / f"{NAMES[0]}.png").unlink()
    (root / "rgb" / f"{NAMES[2]}.png").unlink()
    frames, notes = read(root, caplog)
    assert len(frames) == 1
    assert f"1 of 2 colour images have no depth of theirs; left out: rgb/{NAMES[0]}.png" in notes
    assert f"1 of 2 depth images have no colour image; left out: depth/{NAMES[2]}.png" in notes
