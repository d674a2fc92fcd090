"""live: from image to image, out as JSON, recording, film and bag; lost and found again."""

from __future__ import annotations

import json
import runpy
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import bags
import cv2
import numpy as np
import pytest
import torch
from block_shapes import block
from tracked_block import HEIGHT, WIDTH, K, pose_at, write_recording

from self6d import cli
from self6d.datasets import open_dataset
from self6d.datasets.pose_track import TrackState
from self6d.errors import CheckpointError, InputError
from self6d.geometry import Camera, matrix_to_quaternion
from self6d.jobs import predict
from self6d.live import follow, live, sources
from self6d.live.detection_bag import DetectionBag, message_types
from self6d.live.follow import Follower, Seen
from self6d.network import NetworkConfig, PoseNetwork
from self6d.network.outputs import Detections
from self6d.packaging import export_run, load_package
from self6d.paths import resource
from self6d.scene import Symmetry

CAMERA = Camera(K.double().numpy(), WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The network that is shipped with the program, exported."""
    to = tmp_path_factory.mktemp("live") / "package"
    export_run(resource("sample/stage1"), to, onnx=False)
    return to


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return write_recording(tmp_path_factory.mktemp("seen") / "data", [pose_at(i) for i in range(6)])


class Oracle(PoseNetwork):
    """A network whose answers are given: poses of the block, found at some times only.

    Attributes:
        time: of the next image. blind: times at which the detector finds nothing. gone: times at
            which the block is not there, and the mask of any region is empty.
    """

    def __init__(self) -> None:
        config = NetworkConfig.preset("tiny")
        config.instances = 1
        super().__init__(config, [block()])
        self.eval()
        self.time, self.asked = 0, 0
        self.blind: set[int] = set()
        self.gone: set[int] = set()

    def predict(self, images, K, *, score_threshold=0.3, **more):
        self.asked += 1
        found = self._answer(0.9)
        return found[:0] if self.time in self.blind | self.gone else found

    def poses_for_boxes(self, images, K, box, image_index, object_index):
        return self._answer(1.0)

    def _answer(self, score: float) -> Detections:
        pose, zero = pose_at(self.time), torch.zeros(1, dtype=torch.int64)
        points = block().vertices @ pose.R_m2c.T + pose.t_m2c
        uv = points @ CAMERA.K.T
        uv = uv[:, :2] / uv[:, 2:]
        box = torch.tensor(np.concatenate((uv.min(0), uv.max(0))), dtype=torch.float32)[None]
        logit = -9.0 if self.time in self.gone else 9.0
        R, t = (torch.tensor(x, dtype=torch.float32)[None] for x in (pose.R_m2c, pose.t_m2c))
        mask = torch.full((1, 2, 8, 8), logit)
        return Detections(zero, zero, torch.tensor([score]), box, R, t, mask, box)


def watch(network: Oracle, times: range, every: int) -> list[Seen | None]:
    follower = Follower(network, [block()], every=every)
    rgb, seen = np.zeros((HEIGHT, WIDTH, 3), np.uint8), []
    for time in times:
        network.time = time
        rows = follower(rgb, CAMERA)
        assert len(rows) <= 1
        seen.append(rows[0] if rows else None)
    return seen


def test_lost_and_found_again_and_the_detector_rests_in_between():
    network = Oracle()
    network.blind, network.gone = {8}, {10, 11}
    seen = watch(network, range(16), every=4)
    states = [s.state.value for s in seen]
    # 8: the detector's turn, it finds nothing, but the mask still fits
    assert states == [
        *["tracked"] * 8, "weak", "tracked", "lost", "lost", "found again", *["tracked"] * 3
    ]  # fmt: skip
    assert [i for i, s in enumerate(seen) if s.detected] == [0, 4, 12]
    assert network.asked == 6  # at 0, 4, 8, and at 10, 11, 12 while it is lost
    for time, s in enumerate(seen):
        assert (s.R is None) == (s.state is TrackState.LOST)
        if s.R is not None:
            np.testing.assert_allclose(s.t, pose_at(time).t_m2c, atol=1e-6)
    assert seen[0].confidence == pytest.approx(0.9)
    assert seen[10].confidence == 0.0


def test_what_was_hardly_there_is_not_listed_for_ever():
    network = Oracle()
    network.gone = set(range(2, 6))
    assert [s and s.state.value for s in watch(network, range(6), every=1)] == [
        "tracked", "tracked", "lost", None, None, None,
    ]  # fmt: skip


def test_lines_recording_film_and_bag(package, recording, tmp_path, capsys):
    out = {name: tmp_path / name for name in ("rec", "film.mp4", "bag")}
    words = ["live", str(package), "--source", str(recording), "--score", "0.0", "--every", "1"]
    words += ["--record", str(out["rec"]), "--film", str(out["film.mp4"]), "--bag", str(out["bag"])]
    assert cli.run([*words, "--images", "4", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["image"] for row in rows] == [0, 1, 2, 3]
    assert "4 images" in said.err
    assert "s of processor each" in said.err
    placed = [o for row in rows for o in row["objects"] if "R_m2c" in o]
    assert placed
    for o in placed:
        turn = matrix_to_quaternion(torch.tensor(o["R_m2c"], dtype=torch.float64)).tolist()
        np.testing.assert_allclose(o["quaternion_wxyz"], turn)

    # the same frames, to the pixel
    source, again = open_dataset(recording), open_dataset(out["rec"])
    assert len(again) == 4
    for i in range(4):
        a, b = source.frame(i), again.frame(i)
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_allclose(a.depth_m, b.depth_m, atol=1e-6)
        np.testing.assert_allclose(a.camera.K, b.camera.K)
    film = cv2.VideoCapture(str(out["film.mp4"]))
    pictures = [ok for ok, _ in (film.read() for _ in range(5))]
    assert pictures == [True] * 4 + [False]
    assert cli.run([*words, "--images", "1"]) == 2  # nothing is overwritten
    assert len(open_dataset(out["rec"])) == 4

    # the bag's poses are those of the lines
    from rosbags.highlevel import AnyReader

    with AnyReader([out["bag"]], default_typestore=message_types()) as reader:
        read = [(c.topic, reader.deserialize(raw, c.msgtype)) for c, _, raw in reader.messages()]
    arrays = [m for topic, m in read if topic == "/detections"]
    transforms = [m for topic, m in read if topic == "/tf"]
    assert [len(m.detections) for m in arrays] == [
        sum("R_m2c" in o for o in row["objects"]) for row in rows
    ]
    found = [(d, to) for a, f in zip(arrays, transforms, strict=True)
             for d, to in zip(a.detections, f.transforms, strict=True)]  # fmt: skip
    for o, (d, to) in zip(placed, found, strict=True):
        name = f"{o['object']}_{o['instance']}"
        assert (d.id, to.child_frame_id, to.header.frame_id) == (name, name, "camera")
        assert d.results[0].hypothesis.class_id == o["object"]
        assert d.results[0].hypothesis.score == pytest.approx(o["confidence"], abs=1e-4)
        for place in (d.results[0].pose.pose.position, to.transform.translation):
            np.testing.assert_allclose([place.x, place.y, place.z], o["t_m2c"])
        for q in (d.results[0].pose.pose.orientation, to.transform.rotation):
            np.testing.assert_allclose([q.w, q.x, q.y, q.z], o["quaternion_wxyz"])
        assert min(d.bbox.size.x, d.bbox.size.y, d.bbox.size.z) > 0.01  # metres, of the CAD


@pytest.fixture(scope="module")
def bag(recording, tmp_path_factory) -> Path:
    frames = [open_dataset(recording).frame(i) for i in range(3)]
    depth = [np.round(f.depth_m * 1000).astype(np.uint16) for f in frames]
    path = tmp_path_factory.mktemp("bag") / "take"
    return bags.write(path, "db3", [f.rgb for f in frames], depth, frames[0].camera.K_opencv)


def test_a_bag_keeps_its_times_and_its_camera_s_name(bag, package, tmp_path):
    views = list(live(package, bag, score=0.0, bag=tmp_path / "out", device="cpu"))
    stamps = [view.shot.time_ns for view in views]
    assert stamps == [bags.START_NS + i * bags.STEP_NS for i in range(3)]
    from rosbags.highlevel import AnyReader

    with AnyReader([tmp_path / "out"], default_typestore=message_types()) as reader:
        read = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages()
                if c.topic == "/detections"]  # fmt: skip
    assert [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in read] == stamps
    assert {m.header.frame_id for m in read} == {views[0].shot.frame_id}
    assert views[0].shot.frame_id != "camera"


def test_the_ros_node_reads_recorded_messages_as_the_package_does(bag, package):
    node = runpy.run_path(str(package / "ros2_node.py"))
    predictor = load_package(package)
    frame = open_dataset(bag).frame(0)
    from rosbags.highlevel import AnyReader

    with AnyReader([bag], default_typestore=message_types()) as reader:
        messages = {c.topic: reader.deserialize(raw, c.msgtype) for c, _, raw in
                    reversed(list(reader.messages()))}  # fmt: skip
    image, info = messages[bags.COLOUR], messages["/camera/color/camera_info"]
    found = node["poses"](predictor, image, info)
    expected = predictor(frame.rgb, frame.camera.K_opencv)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.t, b.t)
    # rows with bytes behind them, and the other order of colours
    wide = bags.Bag.image(_Types(), frame.rgb[..., ::-1], "bgr8", 0, "x", pad=8)
    again = node["poses"](lambda rgb, K: rgb, wide, info)
    np.testing.assert_array_equal(again, frame.rgb)


class _Types(bags.Bag):
    """What makes messages, without a bag."""

    def __init__(self) -> None:
        self.one, self.types = False, message_types()


def test_a_video_and_its_camera(package, recording, tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (WIDTH, HEIGHT))
    for i in range(4):
        writer.write(open_dataset(recording).frame(i).rgb[..., ::-1])
    writer.release()
    notes: list = []
    views = list(live(package, path, device="cpu", listener=notes.append))
    assert len(views) == 4
    assert "no --camera is given" in notes[0].text
    assert [round(v.shot.time_ns / 1e6) for v in views] == [0, 50, 100, 150]
    camera = tmp_path / "camera.json"
    camera.write_text(json.dumps({"fx": 150, "fy": 150, "cx": 79.5, "cy": 59.5}))
    for named in (camera, None):
        view = next(live(package, path, camera=named, device="cpu", listener=notes.append))
        assert view.shot.camera == CAMERA
    told = [note.text for note in notes[-2:]]
    assert str(camera) in told[0]  # beside the video: taken, and said
    assert told[1].startswith(f"the images are {HEIGHT} rows high")
    frames = predict(path, package, camera=camera, score_threshold=0.0, device="cpu")
    assert {row["image"] for row in frames} == {f"{i:06d}" for i in range(4)}
    assert np.abs(open_dataset(path).frame(3).rgb.astype(int) - views[3].shot.rgb).max() == 0


def test_a_folder_of_images_and_its_camera(package, recording, tmp_path):
    folder, camera = tmp_path / "bare", tmp_path / "camera.json"
    folder.mkdir()
    for i in range(3):
        image = open_dataset(recording).frame(i).rgb
        cv2.imwrite(str(folder / f"{i}.png"), image[..., ::-1])
    notes = []
    for source in (folder, folder / "1.png"):  # it was refused, and a video was not
        views = list(live(package, source, device="cpu", listener=notes.append))
        assert [v.shot.name for v in views] == (["0", "1", "2"] if source == folder else ["1"])
        assert sum("no --camera is given" in note.text for note in notes) == 1
        notes.clear()
    camera.write_text(json.dumps({"fx": 150, "fy": 150, "cx": 79.5, "cy": 59.5}))
    views = list(live(package, folder, camera=camera, device="cpu"))
    assert [v.shot.name for v in views] == ["0", "1", "2"]
    assert views[2].shot.camera == CAMERA
    assert np.array_equal(views[2].shot.rgb, image)


def test_images_of_another_height_are_said(package, recording, tmp_path):
    frame = open_dataset(recording).frame(0)
    camera = tmp_path / "camera.json"
    camera.write_text(
        json.dumps({"fx": 150, "fy": 150, "cx": 79.5, "cy": 59.5, "width": WIDTH, "height": HEIGHT})
    )
    heard: dict[int, list] = {240: [], 480: []}
    for height, notes in heard.items():
        image = cv2.resize(frame.rgb, (height * WIDTH // HEIGHT, height))
        file = tmp_path / f"{height}.png"
        cv2.imwrite(str(file), image)
        list(live(package, file, camera=camera, device="cpu", listener=notes.append))
    said = {h: [n.text for n in notes if "rows high" in n.text] for h, notes in heard.items()}
    assert not said[240]
    (text,) = said[480]
    assert text.startswith("the images are 480 rows high")


def test_faults_are_named(package, recording, tmp_path):
    with pytest.raises(CheckpointError, match="neither a run nor an exported package"):
        live(recording, "0")
    with pytest.raises(InputError, match="no such video"):
        live(package, tmp_path / "a.mp4")
    with pytest.raises(InputError, match="has its own camera"):
        live(package, recording, camera=tmp_path / "camera.json")
    with pytest.raises(InputError, match="exists already"):
        DetectionBag(tmp_path, [block()])


def test_it_is_said_that_the_refiner_is_left_out(package, recording, tmp_path) -> None:
    """A package of `quick` has one, and its poses here were worse than its own without a word."""
    refined, heard = tmp_path / "refined", []
    export_run(resource("sample/stage1"), refined, onnx=False, refiner="shipped")
    for network in (package, refined):
        live(network, recording, device="cpu", listener=heard.append).close()
    (note,) = heard
    assert note.text.startswith("poses are the network's own")


def test_files_are_read_ahead_in_order_and_let_go_of(recording: Path) -> None:
    """Also where nobody wants all of it, and where reading fails after some images."""
    closed: list[bool] = []

    def source(fails: int) -> Generator[str]:
        try:
            for number in range(9):
                if number == fails:
                    raise InputError("image 5 cannot be read")
                yield f"{number}"
        finally:
            closed.append(True)

    assert list(sources._ahead(source(99))) == [f"{n}" for n in range(9)]
    few = sources._ahead(source(99))
    assert next(few) == "0"
    few.close()
    read: list[str] = []
    with pytest.raises(InputError, match="image 5"):
        read.extend(iter(sources._ahead(source(5)).__next__, ""))
    assert len(closed) == 3
    names = [shot.name for shot in sources.shots(recording)]
    assert names == [frame.name for frame in map(open_dataset(recording).frame, range(6))]


def test_a_thing_is_expected_to_go_on_as_it_did() -> None:
    poses = [pose_at(i) for i in range(2)]
    thing = follow._Thing(0, 0, 0.9, poses[0].R_m2c, poses[0].t_m2c)
    for pose in poses:
        thing.saw(pose.R_m2c, pose.t_m2c)
    R, t = thing.guess()
    turn = poses[1].R_m2c @ poses[0].R_m2c.T
    np.testing.assert_allclose(R, turn @ poses[1].R_m2c, atol=1e-12)
    np.testing.assert_allclose(t, 2 * poses[1].t_m2c - poses[0].t_m2c, atol=1e-12)


def test_a_symmetric_object_does_not_jump_between_poses_that_look_the_same(monkeypatch) -> None:
    """A network may mean any of them in any image."""
    half_turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    half_turn[:2, 3] = 0.02, -0.01  # about an axis beside the origin
    model = replace(block(), symmetry=Symmetry(half_turn[None]))
    network = Oracle()
    answer = network._answer

    def flipping(score: float) -> Detections:
        found = answer(score)
        if network.time % 3 == 1:
            S = torch.tensor(half_turn, dtype=torch.float32)
            found = replace(found, R=found.R @ S[:3, :3], t=found.t + found.R @ S[:3, 3])
        return found

    monkeypatch.setattr(network, "_answer", flipping)
    follower = Follower(network, [model])
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for time in range(6):
        network.time = time
        (seen,) = follower(rgb, CAMERA)
        np.testing.assert_allclose(seen.R, pose_at(time).R_m2c, atol=1e-5)
        np.testing.assert_allclose(seen.t, pose_at(time).t_m2c, atol=1e-5)
