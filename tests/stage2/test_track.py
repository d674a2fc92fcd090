"""Learning from a track: its poses alone, those it is sure of, and no label in reach."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import stage2_scene as stage2
import torch
from stage2_scene import track

from self6d.datasets import UnlabelledFrames
from self6d.datasets.base import FrameKey
from self6d.datasets.pose_track import PoseTrack
from self6d.errors import InputError
from self6d.geometry import Pose, transform
from self6d.network import PoseNetwork
from self6d.refinement.regions import ModelBoxes
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.weights import load_refiner, save_refiner
from self6d.rendering import pack_models
from self6d.stage2 import refiner_learning
from self6d.stage2.config import AdaptConfig
from self6d.stage2.track_task import TrackTask, helped_in_words
from self6d.synthesis import SynthesisConfig

CONFIG = AdaptConfig(
    steps=4, batch=2, scope="all", warmup=0, lr=1e-3, augment=0.3, roll_deg=20, zoom=0.1, cover=0.5
)
SMALL = SynthesisConfig(background_pool=2, instances_min=1, instances_max=2, faces_max=300)


def network() -> PoseNetwork:
    """Always the same, untrained."""
    torch.manual_seed(0)
    return PoseNetwork(stage2.config(), [stage2.MODEL]).eval()


def task(poses=None, config=CONFIG, seed=0) -> TrackTask:
    frames = UnlabelledFrames(stage2.Recording())
    return TrackTask(
        network(),
        [stage2.MODEL],
        frames,
        poses or track(),
        config,
        SMALL,
        seed=seed,
    )


def test_only_sure_poses_of_these_frames_are_learned_from():
    one = task(track(lambda i: 0.9 if i % 2 else 0.5))
    assert sorted(one.posed.poses) == [1, 3, 5, 7]
    assert one.result() == {"frames": 4, "poses": 4, "left_out": 4}
    far = PoseTrack(tuple(replace(p, key=FrameKey(9, i)) for i, p in enumerate(track())))
    with pytest.raises(InputError, match="no pose to learn from"):
        task(far)
    with pytest.raises(InputError, match=r"Its surest here has 0\.50"):
        task(track(lambda i: 0.5))
    others = PoseTrack(tuple(replace(p, object_id=99) for p in track()))
    with pytest.raises(InputError, match=r"Its surest here has 0\.00"):
        task(others)


def test_it_learns_from_the_track_and_not_from_the_truth():
    """A track that is 8 mm off teaches 8 mm off: nothing else is known of the frames."""
    shift = np.array([0.008, 0, 0])
    moved = PoseTrack(
        tuple(replace(p, pose=Pose(p.pose.R_m2c, p.pose.t_m2c + shift)) for p in track() if p.pose)
    )
    still = replace(CONFIG, roll_deg=0, zoom=0, cover=0)
    batch, known = task(moved, still).posed.labelled([0, 3], torch.Generator().manual_seed(0))
    _, t = stage2.poses()
    np.testing.assert_allclose(batch.t - t[[0, 3]], np.tile(shift, (2, 1)), atol=1e-6)
    assert known is not None
    assert known.all()


def test_at_its_end_it_says_whether_it_helped():
    """As every adaptation does, and from the same start if it was resumed in between."""
    knows = stage2.network()
    seen = stage2.sensor(real=True)
    found = knows.predict((seen.images * 255).round() / 255, seen.K)
    poses = list(track())
    for i, R, t in zip(found.image_index.tolist(), found.R, found.t, strict=True):
        seen_so = Pose(R.double().numpy(), t.double().numpy())
        poses[i] = replace(poses[i], pose=seen_so, confidence=0.95)
    config = replace(CONFIG, track_confidence=0.92)  # of those that it finds
    one, said = task(PoseTrack(tuple(poses)), config), []
    one.on_note = lambda level, text: said.append((level, text))
    one.result()
    assert not said  # no step was made
    one.step(0)
    assert one.start == {"track_found": 0.0, "track_near": 0.0}
    again = task(PoseTrack(tuple(poses)), config)
    again.on_note = one.on_note
    again.load_state_dict(deepcopy(one.state_dict()))
    again.average.network.load_state_dict(knows.state_dict())
    result = again.result()
    assert (result["track_found"], result["track_near"]) == (1.0, 1.0)
    ((level, text),) = said
    assert level == "info"
    assert text.startswith("without labels, from the start: of the track's poses 0% -> 100% are")
    assert "0% -> 100% within a tenth of the diameter" in text
    again.start, again.ended = {}, True  # a checkpoint of an earlier version
    again.result()
    assert said[-1][1].startswith("whether it helped cannot be said")


def test_what_got_no_better_is_a_warning():
    start = {"track_found": 0.5, "track_near": 0.25}
    assert helped_in_words(start, start)[0] == "info"
    level, text = helped_in_words(start, start | {"track_near": 0.1})
    assert level == "warning"
    assert "25% -> 10%" in text
    assert "compare it with stage 1" in text


def test_of_objects_without_a_pose_nothing_is_learned():
    poses = track()
    frames = UnlabelledFrames(stage2.Recording())
    two = [stage2.MODEL, replace(stage2.MODEL, object_id=7)]
    one = TrackTask(network(), [stage2.MODEL], frames, poses, CONFIG, SMALL)
    one.posed.models = pack_models(two)
    _, known = one.posed.labelled([0], torch.Generator().manual_seed(0))
    assert known.tolist() == [[True, False]]


def test_resumes_exactly():
    config = replace(CONFIG, synthetic=0.5, synthetic_batch=1)
    whole = task(config=config)
    assert {"loss/total", "loss/synthetic", "lr"} <= whole.step(0).keys()
    kept = deepcopy(whole.state_dict())
    whole.step(1)
    again = task(config=config)
    again.load_state_dict(kept)
    again.step(1)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name
    (probe, *_) = whole.previews(2)
    assert probe.arrays["rgb"].shape == (stage2.HEIGHT, stage2.WIDTH, 3)


def test_a_refiner_learns_from_the_poses_too_and_goes_on_exactly(tmp_path):
    small = RefinerConfig(backbone="resnet10-w8", size=32, head_channels=4, instances=3)
    torch.manual_seed(0)
    save_refiner(tmp_path / "any.safetensors", RefinerNetwork(small, 1), [])
    config = replace(CONFIG, refiner=str(tmp_path / "any.safetensors"), refiner_every=2)
    config = replace(config, refiner_lr=1e-3, synthetic=0.5, synthetic_batch=1)
    whole = task(config=config)
    plain = task(config=replace(config, refiner=""))
    assert plain.refiner is None
    said = [whole.step(step) for step in range(2)]
    kept = deepcopy(whole.state_dict())
    said.append(whole.step(2))
    assert ["loss/refiner" in values for values in said] == [True, False, True]
    for step in range(3):
        plain.step(step)
    for name, tensor in plain.network.state_dict().items():
        assert torch.equal(tensor, whole.network.state_dict()[name]), f"the network too: {name}"

    again = task(config=config)
    again.load_state_dict(kept)
    again.step(2)
    assert whole.refiner is not None
    assert again.refiner is not None
    assert whole.refiner.config.instances == 1  # an object a frame: no places for more
    untrained = load_refiner(tmp_path / "any.safetensors")[0].state_dict()
    learned = whole.refiner.average.network.state_dict()
    assert not torch.equal(learned["out.weight"], untrained["out.weight"])
    for name, tensor in learned.items():
        assert torch.equal(tensor, again.refiner.average.network.state_dict()[name]), name


def test_at_the_end_it_says_how_far_the_refiner_moves_right_poses(tmp_path):
    small = RefinerConfig(backbone="resnet10-w8", size=32, head_channels=4, looks=2)
    farther = RefinerNetwork(small, 1)
    torch.nn.init.zeros_(farther.out.weight)
    with torch.no_grad():
        farther.out.bias[:, 8] = 0.05  # of log-distance, each look
    save_refiner(tmp_path / "any.safetensors", farther, [])
    config = replace(CONFIG, refiner=str(tmp_path / "any.safetensors"), refiner_lr=1e-12)
    one, said = task(config=config), []
    one.on_note = lambda level, text: said.append((level, text))
    for step in range(3):
        one.step(step)
    assert "refiner_off" not in one.result()
    one.step(3)
    R, t = stage2.poses()
    centre = ModelBoxes.of(pack_models([stage2.MODEL])).centre
    middle = transform(centre.expand(len(R), 1, 3), R, t)[:, 0]
    off = (np.exp(0.1) - 1) * middle.norm(dim=1) / stage2.MODEL.diameter  # along the ray
    assert one.result()["refiner_off"] == pytest.approx(float(off.median()), rel=1e-3)
    again = task(config=config)
    again.load_state_dict(one.state_dict())
    assert again.result() == one.result()  # stopped between the last step and its result
    assert said[-1][0] == "warning"
    assert "export with --refiner none" in said[-1][1]


def test_at_the_end_the_refiners_distances_count_as_far_as_the_track_bears_them_out(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(refiner_learning, "FEWEST", 4)
    small = RefinerConfig(backbone="resnet10-w8", size=32, head_channels=4, looks=1)
    farther = RefinerNetwork(small, 1)
    torch.nn.init.zeros_(farther.out.weight)
    with torch.no_grad():
        farther.out.bias[:, 8] = 0.01  # of log-distance
    save_refiner(tmp_path / "any.safetensors", farther, [])
    config = replace(CONFIG, refiner=str(tmp_path / "any.safetensors"), refiner_lr=1e-12, lr=1e-12)
    knows = stage2.network()
    seen = stage2.sensor(real=True)
    found = knows.predict((seen.images * 255).round() / 255, seen.K)
    assert len(found.image_index) > 4
    # the track's poses are what the network sees, only farther: by 0.4 and 0.8 % in turns
    off = torch.where(found.image_index % 2 == 0, 0.004, 0.008)
    middle = found.R @ ModelBoxes.of(pack_models([stage2.MODEL])).centre[0] + found.t
    R, t = (part.clone() for part in stage2.poses())
    R[found.image_index] = found.R
    t[found.image_index] = found.t + (off.exp() - 1)[:, None] * middle
    farther_track = PoseTrack(
        tuple(
            replace(p, pose=Pose(R[i].double().numpy(), t[i].double().numpy()))
            for i, p in enumerate(track())
        )
    )
    frames = UnlabelledFrames(stage2.Recording())
    one = TrackTask(knows, [stage2.MODEL], frames, farther_track, config, SMALL)
    for step in range(3):
        one.step(step)
        one.state_dict()
        assert one.refiner is not None
        assert one.refiner.share == 1.0
    said: list[str] = []
    one.on_note = lambda level, text: said.append(text)
    one.step(3)
    state = one.state_dict()
    (judged,) = said  # what it was judged by: not every pose of a long track
    assert judged.startswith(f"by {len(found.image_index)} sound poses in 8 frames the refiner's")
    expected = float(off.mean() / 0.01)
    assert one.result()["refiner_share"] == pytest.approx(expected, abs=0.02)
    # and what it moves the track's poses is judged by as much
    middle = transform(ModelBoxes.of(pack_models([stage2.MODEL])).centre.expand(len(R), 1, 3), R, t)
    way = (np.exp(0.01 * one.refiner.share) - 1) * middle[:, 0].norm(dim=1)
    moved = float(way.median()) / stage2.MODEL.diameter
    assert one.result()["refiner_off"] == pytest.approx(moved, rel=1e-2)
    again = task(config=config)
    again.load_state_dict(state)
    assert again.result()["refiner_share"] == one.result()["refiner_share"]


def test_the_share_is_the_best_in_the_mean_square():
    g = torch.Generator().manual_seed(0)
    common, a, b = torch.randn(3, 4000, generator=g) * torch.tensor([[0.004], [0.01], [0.005]])
    network, looks = common + a, common + b
    share = refiner_learning.least_squares_share(network, looks)
    assert share == pytest.approx(0.01**2 / (0.01**2 + 0.005**2), abs=0.03)
    worse = torch.full((40,), 0.3)  # of another thing altogether
    with_wrong = torch.cat((network, worse)), torch.cat((looks, -worse))
    assert refiner_learning.least_squares_share(*with_wrong) == share
    assert refiner_learning.least_squares_share(network[:10], looks[:10]) == 1.0
    assert refiner_learning.least_squares_share(network, network) == 1.0
    assert refiner_learning.least_squares_share(0 * network, looks) == 0.0


def test_labels_cannot_be_reached():
    recording = stage2.Recording()
    with pytest.raises(TypeError, match="UnlabelledFrames"):
        TrackTask(
            network(),
            [stage2.MODEL],
            recording,
            track(),
            CONFIG,
            SMALL,
        )
    with pytest.raises(TypeError, match="PoseTrack"):
        TrackTask(
            network(),
            [stage2.MODEL],
            UnlabelledFrames(recording),
            recording,
            CONFIG,
            SMALL,
        )
    one = TrackTask(
        network(),
        [stage2.MODEL],
        UnlabelledFrames(recording),
        track(),
        CONFIG,
        SMALL,
    )
    one.step(0)  # Recording.truth raises
    assert recording not in vars(one).values()
