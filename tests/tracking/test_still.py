"""A scene in which the camera alone moves: arrangement, camera's path, and what they mend."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from block_shapes import block
from scipy.spatial.transform import Rotation
from tracked_block import WIDTH, pose_at, write_recording

from self6d.datasets import FrameKey
from self6d.datasets.pose_track import PoseTrack, TrackedPose, TrackState, read_pose_track
from self6d.jobs import track
from self6d.runs.control import Control
from self6d.scene.mesh import Symmetry
from self6d.scene.models_copy import save_models
from self6d.tracking.still.arrangement import Seen, Thing, solve
from self6d.tracking.still.odometry import Motion

FRAMES = 14
ROUND = Symmetry(axes=np.array([[0.0, 0, 1]]), offsets=np.zeros((1, 3)))
THINGS = {0: Thing.of(block()), 1: Thing.of(replace(block(), symmetry=ROUND))}
BREAK = 9  # the camera's own way breaks off before it


def turn(rng, degrees: float) -> np.ndarray:
    return Rotation.from_rotvec(np.radians(degrees) * rng.standard_normal(3)).as_matrix()


def scene(moving: bool = False):
    """True poses by (frame, item), what single frames say of them, and the camera's way."""
    rng = np.random.default_rng(4)
    camera, place = [(np.eye(3), np.zeros(3))], {}
    for _ in range(FRAMES - 1):
        R, t = camera[-1]
        camera.append((turn(rng, 4) @ R, t + 0.02 * rng.standard_normal(3)))
    for item, x in ((0, -0.1), (1, 0.1)):
        place[item] = turn(rng, 60), np.array([x, 0.02, 0.6])
    true, seen = {}, []
    for f, (R, t) in enumerate(camera):
        for item, (own, at) in place.items():
            drift = 0.03 * f if moving and item == 0 else 0.0
            true[f, item] = R @ own, R @ (at + np.array([0, 0, drift])) + t
            spin = rng.uniform(-3, 3) if item else 0.0
            own_R = true[f, item][0] @ turn(rng, 1) @ Rotation.from_rotvec([0, 0, spin]).as_matrix()
            off = 0.001 * rng.standard_normal(3)
            if f == 6:  # surely taken for another thing
                off = off + np.array([0.08, 0, 0])
            if f != 3:  # hidden
                seen.append(Seen(f, item, own_R, true[f, item][1] + off, 0.95))

    def between(a: int, b: int) -> Motion | None:
        if a < BREAK <= b:
            return None
        (R0, t0), (R1, t1) = camera[a], camera[b]
        R = turn(rng, 0.1) @ R1 @ R0.T
        return Motion(R, t1 - R @ t0 + 0.001 * rng.standard_normal(3))

    return true, seen, between


def test_camera_and_arrangement_are_solved_together_against_poses_of_other_things():
    true, seen, between = scene()
    solved = solve(FRAMES, THINGS, seen, between, 0.8)
    assert not solved.unplaced
    assert solved.poses.keys() == true.keys()
    for at, (R, t) in solved.poses.items():
        thing = THINGS[at[1]]
        assert np.linalg.norm(t - true[at][1]) < 0.004
        assert np.degrees(np.linalg.norm(thing.turn(R[None], true[at][0][None]))) < 2
        assert thing.apart((R, t), true[at]) < 0.05


def test_what_moves_has_no_place_and_the_rest_keeps_its_own():
    true, seen, between = scene(moving=True)
    solved = solve(FRAMES, THINGS, seen, between, 0.8)
    assert solved.unplaced == {0}
    assert {item for _, item in solved.poses} == {1}
    assert all(THINGS[1].apart(p, true[at]) < 0.1 for at, p in solved.poses.items() if at[0] < 6)


def test_turns_that_do_not_show_count_for_nothing():
    R = Rotation.from_rotvec([[0.3, 0.2, 0.1]]).as_matrix()
    spun = R @ Rotation.from_rotvec([[0, 0, 2.0]]).as_matrix()
    tilted = spun @ Rotation.from_rotvec([[0.2, 0, 0]]).as_matrix()
    assert np.linalg.norm(THINGS[1].turn(R, spun)) == pytest.approx(0, abs=1e-6)
    assert np.linalg.norm(THINGS[1].turn(R, tilted)) == pytest.approx(0.2, abs=1e-6)
    assert np.linalg.norm(THINGS[0].turn(R, spun)) == pytest.approx(2.0)
    half = np.diag([-1.0, -1, 1, 1])[None]
    thing = Thing.of(replace(block(), symmetry=Symmetry(discrete=half)))
    assert np.linalg.norm(thing.turn(R, R @ half[:, :3, :3])) == pytest.approx(0, abs=1e-6)


def hide(data: Path, frames: tuple[int, ...], last: int) -> None:
    """A painted wall around the block, and something before it in some frames."""
    rng = np.random.default_rng(1)
    paint = cv2.resize(rng.integers(0, 255, (30, 40, 3)).astype(np.uint8), (WIDTH, 120))
    for i in range(last):
        for name, wall, near in (("rgb", paint, 30), ("depth", None, 250)):
            file = str(data / "test" / "000001" / name / f"{i:06d}.png")
            image = cv2.imread(file, cv2.IMREAD_UNCHANGED)
            depth = cv2.imread(file.replace("/rgb/", "/depth/"), cv2.IMREAD_UNCHANGED)
            if wall is not None:
                image = np.where((depth == 800)[..., None], wall, image)
            if i in frames:
                image[20:100, 30:110] = near
            cv2.imwrite(file, image)


def test_hidden_objects_are_placed_by_the_rest_and_stay_weak(tmp_path):
    pose = pose_at(0)
    data = write_recording(tmp_path / "data", [pose] * 6)
    hide(data, (2, 5), 6)
    save_models([block()], tmp_path / "cad")
    start = PoseTrack((TrackedPose(FrameKey(1, 0), 1, 0, TrackState.TRACKED, pose, 1.0),))
    how = {
        "track.points": 128, "track.candidates": 200, "track.steps": 8, "track.region": 48,
        "track.views": 24, "track.keep": 2, "track.looked_at": 6, "track.hypotheses": 1,
        "loss.points": 128,
    }  # fmt: skip
    control = Control()
    seen = []

    def stop(event) -> None:  # once the walk is over and the arrangement known
        seen.append(event)
        if type(event).__name__ == "Scalars" and event.step == 6:
            control.stop()

    run = track(
        data, tmp_path / "cad", tmp_path / "run", init=start, still=True, overrides=how,
        device="cpu", listener=stop, control=control,
    )  # fmt: skip
    assert run.status == "stopped"
    assert run.info["provenance"]["overrides"]["track.still"]  # so the run can be made again
    run = track(data, tmp_path / "cad", tmp_path / "run", resume=True, device="cpu")
    assert run.result["objects"]["1"]["settled"] == 2
    assert not run.result["objects"]["1"]["unplaced"]
    for p in read_pose_track(run.path / "poses.json"):
        assert np.linalg.norm(p.pose.t_m2c - pose.t_m2c) < 0.006
        hidden = p.key.image_id in (2, 5)
        assert p.state is (TrackState.WEAK if hidden else TrackState.TRACKED)
