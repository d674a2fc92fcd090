"""Recordings after public reports of wrong values: each reads right, or says in a line why not."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as world
import yaml
from variations import NAMES, Shots, Way, camera_table, plain, read, same, sample_shots, write

from self6d.datasets import open_dataset
from self6d.datasets.readers.one_name import images_in
from self6d.errors import InputError


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Shots:
    return sample_shots(tmp_path_factory.mktemp("shots"))


def other_camera(shots: Shots) -> dict:
    """A depth camera's K, as unlike colour's as a RealSense's."""
    table = json.loads(camera_table(shots))
    return {**table, "fx": 0.8 * table["fx"], "fy": 0.8 * table["fy"], "cx": table["cx"] - 4}


# --- intrinsics -----------------------------------------------------------------------------------
def test_colours_intrinsics_of_two_files(tmp_path: Path, shots: Shots, caplog) -> None:
    files = {
        "rgb_intrinsics.json": camera_table(shots),
        "depth_intrinsics.json": json.dumps(other_camera(shots)),
    }
    frames, _ = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)


def test_colours_camera_info_beside_aligned_depths(tmp_path: Path, shots: Shots, caplog) -> None:
    K = {"K": shots.K.reshape(-1).tolist(), "width": 128, "height": 96}
    files = {
        "aligned_depth_camera_info.json": json.dumps({**K, "K": [80, 0, 60, 0, 80, 48, 0, 0, 1]}),
        "color_camera_info.json": json.dumps(K),
    }
    frames, _ = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)


@pytest.mark.parametrize("order", [("depth", "color"), ("color", "depth")])
@pytest.mark.parametrize("inside", ["", "intrinsics"])
def test_colours_intrinsics_of_one_file(tmp_path, shots, caplog, order, inside) -> None:
    cameras = {"color": json.loads(camera_table(shots)), "depth": other_camera(shots)}
    table = {name: cameras[name] for name in order}
    text = json.dumps({inside: table} if inside else table)
    frames, _ = read(write(tmp_path, shots, plain(shots, camera={"camera.json": text})), caplog)
    same(frames, shots)


@pytest.mark.parametrize("inside", [False, True])
def test_colours_camera_of_a_list(tmp_path: Path, shots: Shots, caplog, inside: bool) -> None:
    cameras = [{"id": "depth", **other_camera(shots)},
               {"id": "color", **json.loads(camera_table(shots))}]  # fmt: skip
    files = {"camera.json": json.dumps({"cameras": cameras} if inside else cameras)}
    frames, _ = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)


@pytest.mark.parametrize("text", ["fx: {}\nfy: {}\ncx: {}\ncy: {}\n", "fx={} fy={} cx={} cy={}"])
def test_names_and_numbers_as_text(tmp_path: Path, shots: Shots, caplog, text: str) -> None:
    K = shots.K
    files = {"intrinsics.txt": text.format(K[0, 0], K[1, 1], K[0, 2], K[1, 2])}
    frames, _ = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)


def test_a_camera_file_of_another_name(tmp_path: Path, shots: Shots, caplog) -> None:
    files = {"105322251564.yaml": realsense(shots, [0.0] * 5, "brown_conrady"),
             "notes.json": '{"operator": "A"}'}  # fmt: skip
    frames, notes = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    assert frames[0].camera.K_opencv[0, 0] == pytest.approx(shots.K[0, 0])
    assert "the only intrinsics there are" in notes


def test_depths_intrinsics_alone_are_refused(tmp_path: Path, shots: Shots) -> None:
    files = {"depth_intrinsics.json": json.dumps(other_camera(shots))}
    write(tmp_path, shots, plain(shots, camera=files))
    with pytest.raises(InputError, match="depth camera alone"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("spelling", ["flat", "rows", "4x4", "text"])
def test_k_written_columns_first(tmp_path: Path, shots: Shots, caplog, spelling: str) -> None:
    K4 = np.eye(4)
    K4[:3, :3] = shots.K
    table = {"w": 128, "h": 96, "depth_scale": 1.0}
    files = {
        "flat": {"camera.json": json.dumps({**table, "K": shots.K.T.reshape(-1).tolist()})},
        "rows": {"camera.json": json.dumps({**table, "K": shots.K.T.tolist()})},
        "4x4": {"camera.json": json.dumps({**table, "K": K4.T.reshape(-1).tolist()})},
        "text": {"K.txt": "\n".join(" ".join(map(str, row)) for row in shots.K.T)},
    }[spelling]
    frames, notes = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    same(frames, shots)
    assert "columns first" in notes


def test_bop_k_written_columns_first(tmp_path: Path, shots: Shots, caplog) -> None:
    scene = tmp_path / "test" / "000001"
    write(scene, shots, plain(shots, camera={}))
    entry = {"cam_K": shots.K.T.reshape(-1).tolist(), "depth_scale": 1.0}
    (scene / "scene_camera.json").write_text(json.dumps({int(n): entry for n in NAMES}))
    frames, notes = read(tmp_path, caplog)
    same(frames, shots)
    assert "columns first" in notes


def test_k_of_each_frame(tmp_path: Path, shots: Shots, caplog) -> None:
    zoomed = [shots.K * [[s], [s], [1]] for s in (1.0, 1.25, 1.5)]
    for K in zoomed:
        K[:2, 2] = shots.K[:2, 2]
    texts = ["\n".join(" ".join(map(str, row)) for row in K) for K in zoomed]
    files = {f"intrinsics/{name}.txt": text for name, text in zip(NAMES, texts, strict=True)}
    frames, notes = read(write(tmp_path, shots, plain(shots, camera=files)), caplog)
    for frame, K in zip(frames, zoomed, strict=True):
        np.testing.assert_allclose(frame.camera.K_opencv, K)
    assert "K for each image" in notes
    (tmp_path / "intrinsics" / "000222.txt").unlink()
    with pytest.raises(InputError, match="000222 has no camera file"):
        open_dataset(tmp_path).frame(1)


IMPOSSIBLE = {
    "kubric": ([[0.962, 0, -0.5], [0, -1.2865, -0.5], [0, 0, -1]], "parts of the image's size"),
    "normalised": ([[0.9, 0, 0.5], [0, 1.2, 0.5], [0, 0, 1]], "parts of the image's size"),
    "no centre": ([[120, 0, 0], [0, 120, 0], [0, 0, 1]], "no principal point"),
    "negative": ([[120, 0, 64], [0, -120, 48], [0, 0, 1]], "no valid focal lengths"),
    "millimetres": ([[4.2, 0, 64], [0, 4.2, 48], [0, 0, 1]], "field of view"),
    "metres": ([[120000, 0, 64], [0, 120000, 48], [0, 0, 1]], "field of view"),
    "zero": ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], "camera matrix is not"),
    "skew": ([[120, 60, 64], [0, 120, 48], [0, 0, 1]], "skew"),
    "swapped": ([[64, 0, 120], [0, 48, 1200], [0, 0, 1]], "far outside"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_an_impossible_k_is_refused_on_reading(tmp_path: Path, shots: Shots, case: str) -> None:
    K, says = IMPOSSIBLE[case]
    text = json.dumps({"K": K, "width": 128, "height": 96})
    dataset = open_dataset(write(tmp_path, shots, plain(shots, camera={"camera.json": text})))
    with pytest.raises(InputError, match=says):
        dataset.frame(0)


def test_one_k_without_a_size_for_images_of_two(tmp_path: Path, shots: Shots) -> None:
    table = json.loads(camera_table(shots))
    del table["width"], table["height"]
    root = write(tmp_path, shots, plain(shots, camera={"camera.json": json.dumps(table)}))
    for folder in ("rgb", "depth"):
        path = root / folder / f"{NAMES[1]}.png"
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[::2, ::2])
    dataset = open_dataset(root)
    dataset.frame(0)
    with pytest.raises(InputError, match="K is for images of about 128x96, these are 64x48"):
        dataset.frame(1)
    (root / "camera.json").write_text(camera_table(shots))  # as the error says: with its size
    K = open_dataset(root).frame(1).camera.K
    np.testing.assert_allclose(K[0], open_dataset(root).frame(0).camera.K[0] / 2)


def test_square_images_with_the_k_of_wide_ones_are_said(
    tmp_path: Path, shots: Shots, caplog
) -> None:
    """K is taken as it stands, for a cut at the left needs no other; but not in silence."""
    table = json.loads(camera_table(shots))
    for name, stated in (("silent", False), ("stated", True)):
        table |= {"width": 96, "height": 96}
        camera = (
            table if stated else {k: v for k, v in table.items() if k not in ("width", "height")}
        )
        way = plain(shots, camera={"camera.json": json.dumps(camera)})
        root = write(tmp_path / name, shots, way)
        for path in (*root.glob("rgb/*"), *root.glob("depth/*")):
            cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:, :96])
        frames, notes = read(root, caplog)
        np.testing.assert_allclose(frames[0].camera.K_opencv, shots.K)
        assert ("K has the middle of" in notes) != stated
        assert ("these are 96x96" in notes) != stated
        caplog.clear()


# --- distortion -----------------------------------------------------------------------------------
def ros(shots: Shots, D: list[float], model: str) -> str:
    K = {"rows": 3, "cols": 3, "data": shots.K.reshape(-1).tolist()}
    return yaml.safe_dump({
        "image_width": 128, "image_height": 96, "camera_name": "color", "camera_matrix": K,
        "distortion_model": model,
        "distortion_coefficients": {"rows": 1, "cols": len(D), "data": D},
    })  # fmt: skip


def opencv_yaml(shots: Shots, D: list[float], model: str) -> str:
    def matrix(name: str, rows: int, data: list[float]) -> str:
        return (
            f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {len(data) // rows}\n"
            f"   dt: d\n   data: {data}\n"
        )

    K = matrix("camera_matrix", 3, shots.K.reshape(-1).tolist())
    return f"%YAML:1.0\n---\n{K}{matrix('distortion_coefficients', 1, D)}"


def message(shots: Shots, D: list[float], model: str) -> str:
    return json.dumps({"width": 128, "height": 96, "distortion_model": model, "D": D,
                       "K": shots.K.reshape(-1).tolist()})  # fmt: skip


def realsense(shots: Shots, D: list[float], model: str) -> str:
    K = shots.K
    table = {"fx": K[0, 0], "fy": K[1, 1], "ppx": K[0, 2], "ppy": K[1, 2], "coeffs": D}
    return yaml.safe_dump({
        "serial": "105322251564",
        "color": {"width": 128, "height": 96, "model": model, **{k: float(v) if k != "coeffs" else v
                  for k, v in table.items()}},
        "depth": {"width": 128, "height": 96, "fx": 90.0, "fy": 90.0, "ppx": 60.0, "ppy": 47.0,
                  "coeffs": [0.0] * 5},
    })  # fmt: skip


def kalibr(shots: Shots, D: list[float], model: str) -> str:
    K = shots.K
    return yaml.safe_dump({"cam0": {
        "camera_model": "pinhole", "distortion_coeffs": D, "resolution": [128, 96],
        "distortion_model": model,
        "intrinsics": [float(v) for v in (K[0, 0], K[1, 1], K[0, 2], K[1, 2])],
    }})  # fmt: skip


def named(shots: Shots, D: list[float], model: str) -> str:
    names = ("k1", "k2", "p1", "p2", "k3")
    return camera_table(shots, **dict(zip(names, D, strict=False)))


D5 = [-0.30, 0.10, 0.002, -0.001, 0.01]
DISTORTED = {
    "ros yaml": ("camera_info.yaml", ros, D5, "plumb_bob", "plumb_bob"),
    "ros rational": ("camera_info.yaml", ros, [0.5, 0.1, 0, 0, 0.01, 0.8, 0.2, 0.02],
                     "rational_polynomial", ""),
    "ros equidistant": ("camera_info.yaml", ros, [-0.05, 0.02, -0.01, 0.001], "equidistant",
                        "fisheye"),
    "opencv": ("calibration.yml", opencv_yaml, D5, "", ""),
    "message": ("camera_info.json", message, D5, "plumb_bob", ""),
    "ho-cap": ("camera.yaml", realsense, D5, "brown_conrady", ""),
    "realsense": ("camera.yaml", realsense, D5, "distortion.inverse_brown_conrady", "inverse"),
    "kalibr": ("camera.yaml", kalibr, [-0.3, 0.1, 0.002, -0.001], "radtan", ""),
    "named": ("camera.json", named, D5, "", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", DISTORTED)
def test_distortion_is_undone_on_reading(tmp_path: Path, shots: Shots, caplog, case: str) -> None:
    name, spell, D, model, lens = DISTORTED[case]
    camera = {name: spell(shots, D, model)}
    way = plain(shots, camera=camera, distortion=D, model=lens)
    frames, notes = read(write(tmp_path, shots, way), caplog)
    assert "distortion" in notes
    for frame, rgb, depth in zip(frames, shots.rgb, shots.depth_mm, strict=True):
        np.testing.assert_allclose(frame.camera.K_opencv, shots.K, atol=1e-6)
        inner = (slice(6, -6), slice(6, -6))
        off = np.abs(frame.rgb[inner].astype(float) - rgb[inner]).mean()
        assert off < 3.0, off
        near = np.abs(frame.depth_m * 1000 - depth)[inner]
        assert np.median(near) < 3
        assert np.mean(near > 30) < 0.1  # edges, by the nearest pixel twice


def test_corners_of_a_distorted_image_come_back(tmp_path: Path, shots: Shots, caplog) -> None:
    """The corners of a chessboard, in a picture bent by 30 pixels, to 0.3 of a pixel."""
    size = (640, 480)
    K = np.array([[615.7, 0, 323.0], [0, 617.5, 234.2], [0, 0, 1.0]])
    D = [-0.30, 0.10, 0.0, 0.0, 0.0]
    board = np.kron((np.indices((12, 16)).sum(0) % 2) * 255, np.ones((40, 40))).astype(np.uint8)
    board = cv2.GaussianBlur(np.dstack([board] * 3), (0, 0), 1.0)
    flat = Shots(board[None], np.full((1, 480, 640), 900, np.uint16), K, tmp_path)
    text = json.dumps({"K": K.reshape(-1).tolist(), "D": D, "width": 640, "height": 480})
    way = Way(["0"], ["0"], {"camera.json": text}, distortion=D)
    frame = read(write(tmp_path / "data", flat, way), caplog)[0][0]
    true = np.array([[x, y] for x in range(40, 640, 40) for y in range(40, 480, 40)], np.float32)
    true -= 0.5  # pixel centres at whole numbers
    grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
    term = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    found = cv2.cornerSubPix(grey, true.reshape(-1, 1, 2).copy(), (5, 5), (-1, -1), term)[:, 0]
    bent = cv2.undistortPoints(np.array([[[0.0, 0.0]]]), K, np.array(D), P=K)[0, 0]
    assert np.hypot(*bent) > 25
    assert np.linalg.norm(found - true, axis=1).max() < 0.3
    assert frame.camera.size == size[::-1]


def test_distortion_that_nobody_can_undo_is_refused(tmp_path: Path, shots: Shots) -> None:
    for text, says in (
        (message(shots, [0.1] * 4, "ftheta"), "ftheta"),
        (message(shots, [0.1] * 3, "plumb_bob"), "3 coefficients"),
        (message(shots, [300.0, 10, 0, 0], "plumb_bob"), "move the corners"),
    ):
        root = write(tmp_path, shots, plain(shots, camera={"camera.json": text}))
        with pytest.raises(InputError, match=says):
            open_dataset(root).frame(0)


# --- depth ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("hole", [65535, 4095 << 4, 8191, 32760, 2047 << 5])
def test_the_highest_value_is_unknown(tmp_path: Path, shots: Shots, caplog, hole: int) -> None:
    way = plain(shots, hole=hole)
    frames, notes = read(write(tmp_path, shots, way), caplog)
    same(frames, shots)
    assert f"depth value {hole}" in notes


def test_few_holes_count_by_the_other_frames(tmp_path: Path, shots: Shots, caplog) -> None:
    depth = shots.depth_mm.copy()
    depth[0][depth[0] == 0] = 500
    depth[0, 50, 50:53] = 0  # too few to be evidence
    few = Shots(shots.rgb, depth, shots.K, shots.models)
    frames, _ = read(write(tmp_path, few, plain(few, hole=4095 << 3)), caplog)
    same(frames, few)


def test_a_wall_at_the_top_of_the_range_stays(tmp_path: Path, shots: Shots, caplog) -> None:
    slope = np.linspace(3000, 4095, 96 * 128).reshape(96, 128).round().astype(np.uint16)
    far = Shots(shots.rgb, np.stack([slope] * 3), shots.K, shots.models)
    frames, notes = read(write(tmp_path, far, plain(far)), caplog)
    same(frames, far)
    assert "unknown" not in notes


@pytest.mark.parametrize("hole", [np.nan, np.inf, -1.0, 65.535])
def test_decimals_that_are_no_distance(tmp_path: Path, shots: Shots, caplog, hole: float) -> None:
    way = plain(shots, depth_suffix=".npy", unit_mm=1000, hole=hole)
    frames, notes = read(write(tmp_path, shots, way), caplog)
    same(frames, shots)
    assert "unknown" in notes


def test_depth_of_another_view_is_refused(tmp_path: Path, shots: Shots) -> None:
    root = write(tmp_path, shots, plain(shots))
    for name in NAMES:
        depth = np.full((480, 848), 900, np.uint16)
        cv2.imwrite(str(root / "depth" / f"{name}.png"), depth)
        cv2.imwrite(str(root / "rgb" / f"{name}.png"), np.full((720, 1280, 3), 90, np.uint8))
    K = {"fx": 910.0, "fy": 910.0, "cx": 640.0, "cy": 360.0, "width": 1280, "height": 720}
    (root / "camera.json").write_text(json.dumps(K))
    with pytest.raises(InputError, match=r"848x480 and its colour image 1280x720.*not registered"):
        open_dataset(root).frame(0)


def test_enlarged_depth_says_what_it_takes(tmp_path: Path, shots: Shots, caplog) -> None:
    _, notes = read(write(tmp_path, shots, plain(shots, half_depth=True)), caplog)
    assert "only if it is registered" in notes


def test_aligned_depth_is_preferred(tmp_path: Path, shots: Shots, caplog) -> None:
    write(tmp_path, shots, plain(shots, depth_folder="aligned_depth_to_color"))
    other = Shots(shots.rgb, shots.depth_mm + 300, shots.K, shots.models)
    write(tmp_path, other, plain(shots))
    frames, notes = read(tmp_path, caplog)
    same(frames, shots)
    assert "is used as depth, not depth" in notes


@pytest.mark.parametrize("name", ["Depth_Maps", "raw_depth", "depthPNG"])
def test_depth_folders_of_other_names(tmp_path: Path, shots: Shots, caplog, name: str) -> None:
    frames, _ = read(write(tmp_path, shots, plain(shots, depth_folder=name)), caplog)
    same(frames, shots)


def test_depth_of_a_kind_that_is_not_read_is_said(tmp_path: Path, shots: Shots, caplog) -> None:
    root = write(tmp_path, shots, plain(shots))
    for path in (root / "depth").iterdir():
        path.rename(path.with_suffix(".jpg"))
    frames, notes = read(root, caplog)
    assert frames[0].depth_m is None
    assert "without depth" in notes


def test_shifted_numbers_are_noticed(tmp_path: Path, shots: Shots, caplog) -> None:
    way = plain(shots, rgb_names=("000001", "000002", "000003"),
                depth_names=("000000", "000001", "000002"))  # fmt: skip
    frames, notes = read(write(tmp_path, shots, way), caplog)
    assert len(frames) == 2
    assert "may be shifted by 1" in notes


# --- order ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "names",
    [["1305031102.17", "1305031102.175304", "1305031102.2"],  # as str(time) prints them
     ["5.1", "9.99", "10.003"], ["frame_99.5", "frame_100.04", "frame_100.1"],
     ["1.2", "1.9", "1.10"], ["1.8", "1.9", "1.11"],  # of scene and frame
     ["a", "a (2)", "a (10)"], ["img9", "img10", "img11"]],
)  # fmt: skip
@pytest.mark.parametrize("late", [False, True])
def test_frames_come_in_the_order_of_their_names(tmp_path, shots, caplog, names, late) -> None:
    depth = [f"depth_{name.removeprefix('frame_')}" for name in names] if late else names
    way = Way(names, depth, {"camera.json": camera_table(shots)})
    root = write(tmp_path, shots, way)
    frames, _ = read(root, caplog)
    same(frames, shots)
    assert [p.stem for p in images_in(root / "rgb")] == names


def test_images_in_a_folder_too_deep_are_named(tmp_path: Path, shots: Shots) -> None:
    root = write(tmp_path, shots, plain(shots))
    (root / "rgb").rename(root / "cam0")
    (root / "rgb").mkdir()
    (root / "cam0").rename(root / "rgb" / "cam0")
    with pytest.raises(InputError, match=r"holds no colour images. Put those of rgb.cam0 right"):
        open_dataset(root)


def test_bop_depth_that_no_camera_takes_is_said(tmp_path: Path, caplog) -> None:
    """A depth_scale of 0.001 is a thousandth of a millimetre to BOP, and was that in silence."""
    root = world.bop(tmp_path)
    (path,) = root.glob("*/*/scene_camera.json")
    table = json.loads(path.read_text())
    world.dump(path, {n: {**entry, "depth_scale": 0.001} for n, entry in table.items()})
    frame = open_dataset(root).frame(0)
    assert frame.depth_m is not None
    assert frame.depth_m.max() < 0.002
    assert "nearer than cameras see; check its scale" in caplog.text


def test_bop_tables_whose_numbers_are_padded(tmp_path: Path, caplog) -> None:
    """Labels under "000002" were passed over, in silence, though cameras were not."""
    root = world.bop(tmp_path)
    for name in ("scene_gt", "scene_gt_info", "scene_camera"):
        for path in root.glob(f"*/*/{name}.json"):
            table = json.loads(path.read_text())
            world.dump(path, {f"{int(n):06d}": rows for n, rows in table.items()})
    dataset = open_dataset(root)
    for index, key in enumerate(dataset.keys):
        (truth,) = dataset.truth(index)
        np.testing.assert_allclose(1000 * truth.pose.t_m2c, world.shot(key.image_id).t_mm)
    (scene,) = root.glob("*/*/scene_gt.json")
    info = {"visib_fract": 1.0, "bbox_visib": [1, 2, 3, 4]}
    world.dump(scene.with_name("scene_gt_info.json"), {"0": [info, info]})
    assert open_dataset(root).truth(0)[0].box_visible is None
    assert "describes 2 objects of image 0, which has labels of 1" in caplog.text
