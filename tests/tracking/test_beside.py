"""Depth that lies beside the colours: measured, and poses put back where the colours are."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from block_shapes import block
from tracked_block import K, pose_at, write_recording

from self6d.datasets import FrameKey, UnlabelledFrames, open_dataset
from self6d.datasets.pose_track import TrackedPose, TrackState, read_pose_track
from self6d.events import Note, Preparing
from self6d.geometry import Pose
from self6d.geometry.outlines import Gradient, colour_shift, depth_outline, edge_profiles
from self6d.jobs import track
from self6d.runs.control import Control
from self6d.scene.models_copy import save_models
from self6d.tracking.colours.closing import BEFORE_COLOURS
from self6d.tracking.colours.larger import looks_larger, throughout
from self6d.tracking.colours.measure import Beside
from self6d.tracking.colours.place import described, left_on_depth, onto_colours
from self6d.tracking.colours.pooled import pooled

FRAMES = 6
BESIDE = np.array([4.0, -3.0])  # pixels by which the test moves depth


def move_depth(folder: Path, frames, shift=BESIDE) -> None:
    for i in frames:
        path = folder / "test" / "000001" / "depth" / f"{i:06d}.png"
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        way = np.column_stack((np.eye(2), shift))
        size = depth.shape[::-1]
        moved = cv2.warpAffine(
            depth, way, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        cv2.imwrite(str(path), moved)


def with_depth(pose: Pose, shift=BESIDE) -> Pose:
    """Where a tracker that believes the depth has it."""
    focal = np.array([float(K[0, 0]), float(K[1, 1])])
    return Pose(pose.R_m2c, pose.t_m2c + np.array([*(shift * pose.t_m2c[2] / focal), 0]))


def rows(poses) -> list[TrackedPose]:
    return [
        TrackedPose(FrameKey(1, i), 1, 0, TrackState.TRACKED, pose, 0.99)
        for i, pose in enumerate(poses)
    ]


def apart_mm(a: Pose, b: Pose) -> float:
    points = block().vertices
    return 1000 * float(np.linalg.norm(a.transform(points) - b.transform(points), axis=1).mean())


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    return write_recording(folder, [pose_at(i) for i in range(FRAMES)])


@pytest.fixture(scope="module")
def beside(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("beside")
    write_recording(folder, [pose_at(i) for i in range(FRAMES)])
    move_depth(folder, range(FRAMES))
    return folder


@pytest.mark.parametrize("shift", [(0.0, 0.0), (4.0, -3.0), (-6.5, 1.5), (0.0, 8.0)])
def test_an_outline_finds_its_edges(shift):
    depth = np.full((120, 160), 0.9, np.float32)
    cv2.ellipse(depth, (80, 60), (30, 20), 20, 0, 360, 0.5, -1)
    rng = np.random.default_rng(3)
    rgb = cv2.resize(rng.integers(60, 120, (12, 16, 3)).astype(np.uint8), (160, 120))
    rgb[depth < 0.6] = (200, 160, 40)
    rgb = cv2.warpAffine(rgb, np.column_stack((np.eye(2), shift)), (160, 120), borderMode=1)
    outline = depth_outline(depth)
    found = colour_shift(edge_profiles(Gradient.of(rgb), outline), outline)
    np.testing.assert_allclose(found.pixels, shift, atol=0.3)
    assert np.sqrt(np.trace(found.spread)) < 1.0


def test_normals_lead_away_from_what_is_near():
    depth = np.zeros((60, 60), np.float32)
    cv2.circle(depth, (30, 30), 15, 0.5, -1)
    outline = depth_outline(depth)
    outward = outline.pixel - 30
    cosine = (outline.normal * outward).sum(1) / np.linalg.norm(outward, axis=1)
    assert len(outline) > 60
    assert cosine.min() > 0.95


def test_neighbours_outvote_one_that_is_misled():
    sure, unsure = 0.1 * np.eye(2), 25.0 * np.eye(2)
    found = [Beside(np.array([3.0, -2.0]), sure) for _ in range(9)]
    found[3] = Beside(np.array([-7.0, 6.0]), unsure)
    found[5] = None
    moved = pooled(list(range(9)), found)
    assert np.abs(moved - (3.0, -2.0)).max() < 0.2


def test_what_is_hardly_surer_than_none_is_none():
    rng = np.random.default_rng(1)
    found = [Beside(0.4 * rng.normal(size=2), 0.2 * np.eye(2)) for _ in range(12)]
    assert not pooled(list(range(12)), found).any()


def test_shifts_that_leap_from_frame_to_frame_are_not_averaged():
    """A moving camera that took depth at another instant."""
    way = np.array([[4.0, 0], [-4, 1], [5, -2], [-3, 0], [4, 2], [-5, 0]])
    moved = pooled(list(range(6)), [Beside(s, 0.05 * np.eye(2)) for s in way])
    np.testing.assert_allclose(moved, way, atol=0.4)


def test_poses_come_back_to_the_colours_and_keep_their_distance(beside):
    truth = [pose_at(i) for i in range(FRAMES)]
    given = rows(with_depth(pose) for pose in truth)
    frames = UnlabelledFrames(open_dataset(beside))
    placed = onto_colours(frames, given, [block()], sure=0.8)
    assert len(placed) == FRAMES
    for p in placed:
        true = truth[p.row.key.image_id]
        assert apart_mm(p.row.pose, true) > 14
        assert apart_mm(p.pose, true) < 3.5
        assert abs(p.pose.t_m2c[2] - true.t_m2c[2]) < 0.001
        assert abs(p.pixels - 5.0) < 0.7
    (text,) = described(placed, [block()])
    assert text.startswith("block: the colours lie up to")
    assert "(images 0 to 5)" in text


def test_nothing_moves_where_nothing_lies_beside(plain):
    given = rows(pose_at(i) for i in range(FRAMES))
    placed = onto_colours(UnlabelledFrames(open_dataset(plain)), given, [block()], sure=0.8)
    assert placed == []
    assert described(placed, [block()]) == []
    assert left_on_depth(UnlabelledFrames(open_dataset(plain)), given, placed, [block()]) == []


def test_of_every_fifth_frame_of_a_film_neighbours_speak_for_an_unsure_pose(tmp_path):
    truth = [pose_at(i) for i in range(FRAMES)]
    folder = write_recording(tmp_path, truth)
    move_depth(folder, range(FRAMES))
    scene = folder / "test" / "000001"
    for kind in ("rgb", "depth"):
        for i in reversed(range(FRAMES)):
            (scene / kind / f"{i:06d}.png").rename(scene / kind / f"{5 * i:06d}.png")
    cameras = json.loads((scene / "scene_camera.json").read_text())
    numbered = {str(5 * int(i)): camera for i, camera in cameras.items()}
    (scene / "scene_camera.json").write_text(json.dumps(numbered))
    given = [
        replace(row, key=FrameKey(1, 5 * row.key.image_id))
        for row in rows(with_depth(pose) for pose in truth)
    ]
    given[1] = replace(given[1], state=TrackState.WEAK, confidence=0.4)
    placed = onto_colours(UnlabelledFrames(open_dataset(folder)), given, [block()], sure=0.8)
    assert len(placed) == FRAMES
    assert all(apart_mm(p.pose, truth[p.row.key.image_id // 5]) < 5 for p in placed)


def test_poses_that_stay_on_a_depth_beside_the_colours_are_told_of(beside):
    unsure = [
        replace(row, state=TrackState.WEAK, confidence=0.4)
        for row in rows(with_depth(pose_at(i)) for i in range(FRAMES))
    ]
    frames = UnlabelledFrames(open_dataset(beside))
    placed = onto_colours(frames, unsure, [block()], sure=0.8)
    assert placed == []
    (text,) = left_on_depth(frames, unsure, placed, [block()])
    assert text.startswith("block: depth lies")
    assert "its poses follow the depth" in text


def test_what_stands_and_what_is_lost_stay(beside):
    given = rows(with_depth(pose_at(i)) for i in range(FRAMES))
    given[2] = replace(given[2], state=TrackState.LOST, pose=None, confidence=0.0)
    leave = {(given[0].key, 1, 0)}
    frames = UnlabelledFrames(open_dataset(beside))
    placed = onto_colours(frames, given, [block()], sure=0.8, leave=leave)
    assert [p.row.key.image_id for p in placed] == [1, 3, 4, 5]
    assert onto_colours(frames, given, [block()], sure=0.8, stopping=lambda: True) is None


FEW = {
    "track.points": 128, "track.candidates": 200, "track.steps": 12, "track.region": 64,
    "track.hypotheses": 2, "loss.points": 256,
}  # fmt: skip


def test_a_track_stopped_before_the_colours_goes_on_with_them(beside, tmp_path):
    save_models([block()], tmp_path / "cad")
    control, said = Control(patient=False), []

    def stop(event):
        said.append(event)
        if isinstance(event, Preparing) and event.what == "holding poses against the colours":
            control.stop()

    how = {"init": with_depth(pose_at(0)), "device": "cpu", "overrides": FEW}
    run = track(beside, tmp_path / "cad", tmp_path / "run", listener=stop, control=control, **how)
    assert (run.status, run.info["step"]) == ("stopped", FRAMES)
    assert BEFORE_COLOURS in [e.text for e in said if isinstance(e, Note)]
    run = track(beside, tmp_path / "cad", tmp_path / "run", resume=True, **how)
    assert run.status == "done"
    poses = read_pose_track(run.path / "poses.json")
    assert np.median([apart_mm(p.pose, pose_at(p.key.image_id)) for p in poses]) < 3.5


def test_a_track_says_what_it_moved_and_leaves_it_on_demand(beside, tmp_path):
    save_models([block()], tmp_path / "cad")
    said, found = [], {}
    for name, colours in (("colours", True), ("depth", False)):
        run = track(
            beside, tmp_path / "cad", tmp_path / name, init=with_depth(pose_at(0)), device="cpu",
            overrides=FEW | {"track.colours": colours}, listener=said.append,
        )  # fmt: skip
        found[name] = list(read_pose_track(run.path / "poses.json"))
    off = {
        name: np.median([apart_mm(p.pose, pose_at(p.key.image_id)) for p in poses])
        for name, poses in found.items()
    }
    assert off["colours"] < 3.5 < 12 < off["depth"]
    texts = [e.text for e in said if isinstance(e, Note) and "beside the depth" in e.text]
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("scale", "says"), [(1.0, None), (0.93, "wider and"), (1.07, "narrower and")]
)
def test_things_that_look_larger_than_their_models_are_told(plain, scale, says):
    model = block()
    model = replace(model, vertices=model.vertices * scale)
    frames = UnlabelledFrames(open_dataset(plain))
    poses = rows(pose_at(i) for i in range(FRAMES))
    texts = looks_larger(frames, poses, [model], sure=0.8)
    if says is None:
        assert texts == []
    else:
        (text,) = texts
        assert says in text
        percent = float(text.split("looks ")[1].split(" %")[0])
        assert percent == pytest.approx(7.0, abs=2.5)
        assert ("nearer" if scale < 1 else "farther") in text


def test_one_frame_in_two_that_looks_larger_is_not_throughout():
    found = np.zeros((8, 2, 2))
    found[::2, 0], found[::2, 1] = 4.0, 0.08
    assert throughout(found) is None
    found[:, 0], found[:, 1] = [2.0, 0.1], [0.04, 0.002]
    assert throughout(found).tolist() == [0.04, 0.002]
    assert throughout(found[:3]) is None
