"""Tracking without depth: by colours and the RGB refiner that ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from block_shapes import block
from tracked_block import K, pose_at, write_recording

from self6d.datasets import FrameKey, UnlabelledFrames, open_dataset
from self6d.datasets.pose_track import TrackState, read_pose_track
from self6d.errors import InputError
from self6d.events import Note, Scalars
from self6d.geometry import Pose
from self6d.jobs import track
from self6d.losses.objective import SelfSupervision
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.rgb.evidence import AGREEMENT, CONFIDENCE, ColourEvidence, camera_allows
from self6d.tracking.rgb.fit import ColourFitter
from self6d.tracking.rgb.follow import ColourFollower
from self6d.tracking.rgb.search import places
from self6d.tracking.rgb.still import solve_colours
from self6d.tracking.rgb.told import none_sure, without_start
from self6d.tracking.still.arrangement import Seen, Thing
from self6d.tracking.task import TrackTask
from self6d.tracking.work import Start, Target

CONFIG = build_config("track", stage="track").track
AWAY = (3.0,)
GOOD = ColourEvidence(0.98, 0.9, 0.9, 0.99, 0.97, 1.0, 1.0, 0.25)


def turned(pose: Pose, angle: float) -> Pose:
    """About the camera's vertical."""
    c, s = np.cos(angle), np.sin(angle)
    return Pose(np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ pose.R_m2c, pose.t_m2c)


def apart(a: Pose, b: Pose) -> float:
    """ADD in diameters."""
    points = block().vertices
    off = np.linalg.norm(a.transform(points) - b.transform(points), axis=1).mean()
    return float(off) / block().diameter


def without_depth(folder: Path) -> Path:
    for file in (folder / "test" / "000001" / "depth").iterdir():
        file.unlink()
    return folder


@pytest.fixture(scope="module")
def leaving(tmp_path_factory) -> Path:
    """Five frames without depth; the block is away in one of them."""
    poses = [pose_at(i, AWAY) for i in range(5)]
    return without_depth(write_recording(tmp_path_factory.mktemp("leaving"), poses))


@pytest.fixture(scope="module")
def fitter() -> ColourFitter:
    return ColourFitter(block(), CONFIG, torch.device("cpu"))


@pytest.fixture(scope="module")
def frame(tmp_path_factory) -> FrameBatch:
    data = write_recording(tmp_path_factory.mktemp("frame"), [pose_at(0)])
    return FrameBatch.of([UnlabelledFrames(open_dataset(data)).read(0, depth=False)], "cpu")


def test_followed_lost_and_found_again_stopped_and_resumed(leaving, models, tmp_path):
    said: list[str] = []
    control = Control()

    def listener(event):
        if isinstance(event, Note):
            said.append(event.text)
        if isinstance(event, Scalars) and event.step == 1:
            control.stop()

    exact = {"track.focal_error": 0.0}
    how = {"init": turned(pose_at(0), 0.12), "device": "cpu", "overrides": exact}
    stopped = track(leaving, models, tmp_path / "run", listener=listener, control=control, **how)
    assert stopped.status == "stopped"
    (told,) = (text for text in said if "colours alone" in text)
    assert told.startswith("the recording has no depth: ")
    assert "Distances are less certain" in told
    run = track(leaving, models, tmp_path / "run", resume=True, **how)
    assert run.status == "done"
    rows = list(read_pose_track(run.path / "poses.json"))
    assert [row.state.value for row in rows][3:] == ["lost", "found again"]
    for i, row in enumerate(rows):
        if i not in AWAY:
            assert apart(row.pose, pose_at(i)) < 0.1
            assert row.confidence > CONFIG.found
    assert run.result["objects"]["1"]["lost"] == 1


def test_depth_can_be_left_out_and_backward_is_the_same_way(models, tmp_path):
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(2)])
    said: list[str] = []
    how = {
        "init": turned(pose_at(1), 0.1), "frame": 1, "device": "cpu",
        "overrides": {"track.use_depth": False},
        "listener": lambda e: said.append(e.text) if isinstance(e, Note) else None,
    }  # fmt: skip
    for file in data.rglob("depth/*.png"):
        file.write_bytes(b"no picture")  # nobody looks
    first = track(data, models, tmp_path / "first", **how)
    assert any(text.startswith("depth is left out (track.use_depth)") for text in said)
    second = track(without_depth(data), models, tmp_path / "second", **how)
    poses = [(run.path / "poses.json").read_bytes() for run in (first, second)]
    assert poses[0] == poses[1]
    for row, i in zip(read_pose_track(first.path), range(2), strict=True):
        assert apart(row.pose, pose_at(i)) < 0.1


def test_a_search_is_refused_with_what_to_do_instead(leaving, models, tmp_path):
    with pytest.raises(InputError, match="searching whole images looks at depth") as told:
        track(leaving, models, tmp_path / "run", search=True, device="cpu")
    assert "--init" in told.value.remedy
    assert "--from" in told.value.remedy
    assert told.value.path == leaving
    with pytest.raises(InputError, match="one start is needed") as told:
        track(leaving, models, tmp_path / "run", device="cpu")
    assert "--search" not in told.value.remedy
    with pytest.raises(InputError, match="--steps are the optimiser's"):
        track(leaving, models, tmp_path / "run", init=pose_at(0), steps=9, device="cpu")
    assert not (tmp_path / "run").exists()


def test_where_depth_is_left_out_a_search_is_offered_with_it(models, tmp_path):
    data = write_recording(tmp_path / "block", [pose_at(0)])
    changes = {"track.use_depth": False}
    with pytest.raises(InputError, match=r"left out \(track\.use_depth\)") as told:
        track(data, models, tmp_path / "run", search=True, overrides=changes, device="cpu")
    assert told.value.remedy.startswith("Search with track.use_depth=true")


def test_what_nothing_looks_for_is_said():
    keys = [FrameKey(1, i) for i in range(4)]
    other = replace(block(), object_id=2, name="other")
    starts = [Start(0, Target(0), np.eye(3), np.array([0, 0, 1.0]))]
    (first, second) = without_start(keys, [[0, 1], [2, 3]], [block(), other], starts)
    assert first.startswith("no start pose of other in scene 1 from image 0 on")
    assert second.startswith("no start pose of block, other in scene 1 from image 2 on")


def test_where_no_pose_is_sure_it_is_said_what_to_do():
    (said,) = none_sure([0.5, 0.74], weak=0.8, focal_error=0.02)
    assert "no pose is surer than 0.74" in said
    assert "known to 2 % (track.focal_error)" in said
    assert "--set track.focal_error=0.01" in said
    assert not none_sure([0.5, 0.8], weak=0.8, focal_error=0.02)
    assert not none_sure([], weak=0.8, focal_error=0.02)


def test_where_a_network_sees_an_object_it_is_found(leaving):
    """20 degrees and 12 % of the distance off, as networks are; no start is given."""
    true = pose_at(0)
    seen = turned(true, 0.35)

    def detect(sensor: FrameBatch, index: int, model: int) -> Candidates:
        return Candidates.unscored(seen.R_m2c[None], 1.12 * seen.t_m2c[None])

    config = build_config("track", {"track.focal_error": 0.0}, stage="track")
    frames = UnlabelledFrames(open_dataset(leaving))
    objective = SelfSupervision(config.loss, torch.device("cpu"))
    task = TrackTask(frames, [block()], [], objective, config.track, detect=detect)
    task.step(0)
    first = task.poses()[0]
    assert first.state is TrackState.TRACKED
    assert apart(first.pose, true) < 0.1
    assert not TrackTask(frames, [block()], [], objective, config.track).walks


def test_starts_that_end_together_are_one_pose_at_their_mean_distance(fitter):
    pose = pose_at(0)
    ahead = [0.98, 1.02]
    R = np.stack([pose.R_m2c, pose.R_m2c, turned(pose, 2.0).R_m2c])
    t = np.stack([*(s * pose.t_m2c for s in ahead), pose.t_m2c])
    joined, off = fitter._joined(R, t, np.array([0.5, 0.5, 0.1]))
    assert len(joined) == 2
    np.testing.assert_allclose(joined.t[0], np.sqrt(0.98 * 1.02) * pose.t_m2c, rtol=1e-5)
    expected = 0.02 * np.linalg.norm(pose.t_m2c) / block().diameter
    assert off[0] == pytest.approx(expected, rel=0.01)
    assert off[1] > 0.2  # others ended elsewhere, and it stands alone


def test_evidence_tells_a_right_pose_from_its_back_and_from_nothing(fitter, frame):
    true = pose_at(0)
    poses = [true, turned(true, np.pi), Pose(true.R_m2c, true.t_m2c + np.array([0.12, 0, 0]))]
    starts = Candidates.unscored(*(np.stack(x) for x in zip(*((p.R_m2c, p.t_m2c) for p in poses))))
    found = fitter.as_they_are(frame, starts, None)
    right = found[0]
    np.testing.assert_allclose(right.t, true.t_m2c, atol=1e-6)  # judged where it stands
    assert right.evidence.mask > 0.95
    assert right.evidence.visible > 0.9
    assert right.evidence.far == pytest.approx(
        np.linalg.norm(true.t_m2c) / block().diameter / 10, rel=1e-3
    )
    assert np.isnan(right.evidence.color)
    paint = fitter.learned(right, None)
    again = fitter.as_they_are(frame, starts, paint)
    assert again[0].evidence.color == pytest.approx(1, abs=0.15)
    assert all(e.agreement < CONFIG.lost for e in again[1:])
    assert right.agreement > CONFIG.found


def test_what_a_camera_may_be_off_takes_confidence_with_distance_and_leaves_agreement(
    fitter, frame
):
    assert camera_allows(4.0, 0.02) == pytest.approx(0.683, abs=1e-3)  # one deviation
    assert camera_allows(2.0, 0.02) == pytest.approx(0.954, abs=1e-3)
    assert camera_allows(9.0, 0.0) == 1.0
    true, (exact, unknown) = (
        pose_at(0),
        (
            ColourFitter(block(), replace(CONFIG, focal_error=error), torch.device("cpu"))
            for error in (0.0, 0.05)
        ),
    )
    start = Candidates.unscored(true.R_m2c[None], true.t_m2c[None])
    (sure,), (unsure,) = (f.as_they_are(frame, start, None) for f in (exact, unknown))
    assert sure.agreement == unsure.agreement > CONFIG.found
    allowed = camera_allows(10 * sure.evidence.far, 0.05)
    assert unsure.confidence == pytest.approx(allowed * sure.confidence)
    good = [c.confidence(GOOD) for c in (CONFIDENCE, AGREEMENT)]
    assert min(good) > 0.9


def test_a_lost_object_is_looked_for_by_its_paint(fitter, frame):
    """Last seen 15 cm away and turned a quarter in the image plane."""
    true = pose_at(0)
    (found,) = fitter.as_they_are(
        frame, Candidates.unscored(true.R_m2c[None], true.t_m2c[None]), None
    )
    paint = fitter.learned(found, None)
    c, s = np.cos(np.pi / 2), np.sin(np.pi / 2)
    last = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ true.R_m2c
    there = places(
        frame, fitter.packed, fitter.thing.centre, fitter.diameter, last,
        true.t_m2c + np.array([0.12, 0.02, 0]), paint, 6,
    )  # fmt: skip
    camera = K.double().numpy()
    pixel = lambda t: (camera @ t)[:2] / t[2]  # noqa: E731
    assert np.linalg.norm(pixel(there.t[0].astype(float)) - pixel(true.t_m2c)) < 6
    turn = np.arccos(np.clip((np.trace(there.R[0].T @ true.R_m2c) - 1) / 2, -1, 1))
    assert turn < 0.3
    even = places(
        frame, fitter.packed, fitter.thing.centre, fitter.diameter, last, true.t_m2c, None, 99
    )
    assert 4 <= len(even) < 99
    assert np.allclose(even.t[:, 2], true.t_m2c[2], atol=0.02)


def test_a_leap_is_sideways_or_a_turn_not_a_distance(fitter):
    follower, pose = ColourFollower(fitter), pose_at(0)
    at = pose.R_m2c, pose.t_m2c
    assert not follower.leaps((pose.R_m2c, 1.1 * pose.t_m2c), *at)
    assert follower.leaps((pose.R_m2c, 1.4 * pose.t_m2c), *at)
    assert follower.leaps((pose.R_m2c, pose.t_m2c + np.array([0.1, 0, 0])), *at)
    assert follower.leaps((turned(pose, 1.5).R_m2c, pose.t_m2c), *at)


def test_a_still_scene_takes_two_objects_and_gives_their_distances():
    thing = Thing.of(block())
    places_of = {0: np.array([-0.1, 0, 0.5]), 1: np.array([0.1, 0.05, 0.6])}
    rng, seen, true = np.random.default_rng(0), [], {}
    for f in range(24):  # the camera goes about them
        camera = turned(Pose(np.eye(3), np.zeros(3)), 0.12 * f).R_m2c
        middle = np.array([0.0, 0.02, 0.55])
        t = middle - camera @ middle
        for item, place in places_of.items():
            true[f, item] = camera @ place + t
            far = np.exp(0.03 * rng.normal())
            seen.append(Seen(f, item, camera, far * true[f, item], 0.9))
    both = solve_colours({0: thing, 1: thing}, seen)
    assert not both.unplaced
    off = lambda poses: np.mean(  # noqa: E731
        [np.linalg.norm(poses[key] - t) for key, t in true.items()]
    )
    solved = off({key: both.poses[key][1] for key in true})
    assert solved < 0.8 * off({(s.frame, s.item): s.t for s in seen})
    alone = solve_colours({0: thing}, [s for s in seen if s.item == 0])
    assert alone.unplaced == {0}
    assert not alone.poses
