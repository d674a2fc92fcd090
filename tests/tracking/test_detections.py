"""Where a network sees objects, tracking looks in every frame, and once for all of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from block_shapes import block
from tracked_block import pose_at, write_recording

from self6d.datasets import UnlabelledFrames, open_dataset
from self6d.geometry import Pose
from self6d.losses.objective import SelfSupervision
from self6d.paths import resource
from self6d.run_config import build_config
from self6d.runs.load_network import load_network
from self6d.sample.sample import make_sample
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.evidence import DEFAULT
from self6d.tracking.fit import ObjectFitter
from self6d.tracking.locate import locate
from self6d.tracking.look import PaintedFrame
from self6d.tracking.quick.detections import LOWEST_SCORE, NetworkDetections, challenged
from self6d.tracking.task import TrackTask

FEW = {
    "track.points": 128, "track.candidates": 200, "track.steps": 8, "track.region": 64,
    "track.hypotheses": 2,
}  # fmt: skip
TIMES = (0, 25, 4)  # 1.8 radians and 15 cm from one frame to the next


def test_an_object_that_following_loses_is_found_in_every_frame_where_a_network_sees_it(tmp_path):
    poses = [pose_at(time) for time in TIMES]
    recording = open_dataset(write_recording(tmp_path / "data", poses))
    asked = []

    def detect(sensor: FrameBatch, index: int, model: int) -> Candidates:
        """10 degrees and 12 % of the distance off, and something where nothing is."""
        asked.append(index)
        c, s = np.cos(0.17), np.sin(0.17)
        R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ poses[index].R_m2c
        t = 1.12 * poses[index].t_m2c
        return Candidates(
            np.stack((R, np.eye(3))).astype(np.float32),
            np.stack((t, [0.1, 0.05, 0.6])).astype(np.float32),
            np.array([0.9, 0.3]),
        )

    config = build_config("track", FEW, stage="track")
    objective = SelfSupervision(config.loss, torch.device("cpu"))
    task = TrackTask(
        UnlabelledFrames(recording), [block()], [], objective, config.track, detect=detect
    )
    step = 0
    while task.walks:
        task.step(step)
        step += 1
    assert set(asked) == set(range(len(TIMES)))
    points = block().vertices
    for row, true in zip(task.poses(), poses, strict=True):
        assert row.pose is not None
        off = np.linalg.norm(row.pose.transform(points) - true.transform(points), axis=1).mean()
        assert off < 0.05 * block().diameter
        assert row.confidence >= config.track.found


def test_what_was_followed_to_the_wrong_place_goes_on_where_the_network_alone_sees_it(tmp_path):
    true, wrong = pose_at(0), pose_at(20)  # 12 cm apart
    recording = open_dataset(write_recording(tmp_path / "data", [true]))
    config, place = build_config("track", FEW, stage="track"), torch.device("cpu")
    objective = SelfSupervision(config.loss, place)
    fitter = ObjectFitter(block(), objective, config.track, DEFAULT, place)
    frame = UnlabelledFrames(recording)[0]
    sensor = PaintedFrame.seen(FrameBatch.of([frame], place), None)

    def candidates(*poses: Pose) -> Candidates:
        R = np.array([p.R_m2c for p in poses], np.float32)
        t = np.array([p.t_m2c for p in poses], np.float32)
        return Candidates(R, t, np.linspace(0.9, 0.5, len(poses)))

    (found,) = fitter.as_they_are(sensor, candidates(wrong))
    found = replace(found, confidence=0.95)  # as what was followed for long

    def goes_on(*seen: Pose) -> np.ndarray:
        return challenged(fitter, sensor, found, candidates(*seen), np.random.default_rng(0)).t

    near = Pose(true.R_m2c, 1.1 * true.t_m2c)
    assert goes_on(near) == pytest.approx(true.t_m2c, abs=0.003)
    assert goes_on(near, wrong) is found.t  # it is seen there as well: there may be two
    aside = Pose(true.R_m2c, true.t_m2c + np.array([0.3, 0, 0]))
    assert goes_on(aside) is found.t  # nothing is there
    surer = replace(found, confidence=1.0)
    assert challenged(fitter, sensor, surer, candidates(near), np.random.default_rng(0)) is surer


def test_a_search_may_be_ended_between_its_parts(tmp_path):
    """The window's went on to its end, and the next waited for it."""
    recording = open_dataset(write_recording(tmp_path / "data", [pose_at(0)]))
    config = build_config("track", FEW, stage="track")
    objective = SelfSupervision(config.loss, torch.device("cpu"))
    begun = []

    def between() -> None:
        begun.append(1)
        if len(begun) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        locate(recording.frame(0), block(), objective, config.track, between=between)
    assert len(begun) == 2


def test_a_network_looks_at_a_frame_once_for_all_objects(tmp_path, monkeypatch):
    sample = make_sample(tmp_path / "sample", frames=1, eval_frames=1)
    frame = UnlabelledFrames(open_dataset(sample))[0]
    trained = load_network(resource("sample/stage1"), device=torch.device("cpu"))
    sensor = FrameBatch.of([frame], torch.device("cpu"))
    seen = trained.network.predict(sensor.images, sensor.K, score_threshold=LOWEST_SCORE)
    looked, predict = [], trained.network.predict

    def counted(*given, **settings):
        looked.append(1)
        return predict(*given, **settings)

    monkeypatch.setattr(trained.network, "predict", counted)
    places = [2, 0, 1]  # of the models, in an order of their own
    detections = NetworkDetections(trained.network, places)
    found = [detections(sensor, 7, model) for model in (0, 1, 2, 0)]
    assert len(looked) == 1
    assert sum(len(f) for f in found[:3]) > 0
    for place, own in zip(places, found, strict=False):
        of_it = seen.t[seen.object_index == place].numpy()
        best = of_it[np.argsort(-seen.score[seen.object_index == place].numpy(), kind="stable")]
        assert own.t == pytest.approx(best[:4])
