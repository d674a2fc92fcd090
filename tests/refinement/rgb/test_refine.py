"""A refiner on poses: looks that count, poses that cannot be seen, files and runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from self6d.errors import InputError
from self6d.geometry import random_rotations
from self6d.network.outputs import Detections
from self6d.refinement.regions import ModelBoxes
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.look import position_of
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.refinement.rgb.weights import load_refiner, save_refiner
from self6d.synthesis.shapes.generated import generated_models

CONFIG = RefinerConfig(backbone="resnet18-w8", size=64, head_channels=8, looks=2)
K = torch.tensor([[[300.0, 0, 160], [0, 300, 120], [0, 0, 1]]])


def network(objects: int = 1) -> RefinerNetwork:
    torch.manual_seed(0)
    made = RefinerNetwork(CONFIG, objects)
    torch.nn.init.normal_(made.out.weight, std=0.05)  # it moves what it sees
    return made


@pytest.fixture(scope="module")
def models() -> list:
    return generated_models(2, seed=3)


def poses(n: int) -> tuple:
    g = torch.Generator().manual_seed(1)
    t = torch.tensor([0.0, 0, 0.8]) + 0.1 * torch.randn(n, 3, generator=g)
    index = torch.arange(n)
    return torch.rand(2, 3, 240, 320), K.expand(2, 3, 3), index % 2, index // 2 % 2, \
        random_rotations(n, generator=g), t  # fmt: skip


def test_looks_follow_each_other_and_chunks_change_nothing(models: list) -> None:
    *seen, R, t = poses(5)
    refiner = RgbRefiner(network(), models)
    once = refiner.refine(*seen, R, t, looks=1)
    twice = refiner.refine(*seen, once.R, once.t, looks=1)
    both = refiner.refine(*seen, R, t)
    torch.testing.assert_close(both.R, twice.R)
    torch.testing.assert_close(both.t, twice.t)
    torch.testing.assert_close(both.confidence, twice.confidence)
    assert (once.t - t).norm(dim=1).min() > 1e-4
    assert ((both.confidence > 0) & (both.confidence < 1)).all()
    small = RgbRefiner(network(), models, chunk=2).refine(*seen, R, t)
    torch.testing.assert_close(small.t, both.t, atol=1e-5, rtol=0)


def test_a_pose_behind_the_camera_stays_and_is_not_trusted(models: list) -> None:
    *seen, R, t = poses(3)
    t[1, 2] = -0.5
    refined = RgbRefiner(network(), models).refine(*seen, R, t)
    torch.testing.assert_close(refined.R[1], R[1])
    torch.testing.assert_close(refined.t[1], t[1])
    assert refined.confidence[1] == 0
    assert torch.isfinite(refined.t).all()
    assert (refined.t[0] - t[0]).norm() > 1e-4


def test_no_poses(models: list) -> None:
    *seen, R, t = poses(0)
    assert len(RgbRefiner(network(), models).refine(*seen, R, t).confidence) == 0


def test_each_object_reads_its_own_output(models: list) -> None:
    own = network(2)
    with torch.no_grad():
        own.out.bias[1, 6] += 0.2
    *seen, R, t = poses(4)
    straight = RgbRefiner(own, models, object_ids=[1, 2]).refine(*seen, R, t, looks=1)
    swapped = RgbRefiner(own, models, object_ids=[2, 1]).refine(*seen, R, t, looks=1)
    same = RgbRefiner(own, models).refine(*seen, R, t, looks=1)
    first = torch.tensor([True, True, False, False])  # of object 0
    torch.testing.assert_close(straight.t[first], same.t[first])
    assert (straight.t[~first] - same.t[~first]).norm(dim=1).min() > 1e-3
    assert (swapped.t[first] - same.t[first]).norm(dim=1).min() > 1e-3


def test_a_file_brings_it_back(tmp_path: Path, models: list) -> None:
    made = network(2)
    save_refiner(tmp_path / "a.safetensors", made, [1, 2])
    back, ids = load_refiner(tmp_path / "a.safetensors")
    assert ids == [1, 2]
    assert back.config.size == CONFIG.size
    *seen, R, t = poses(4)
    before = RgbRefiner(made, models, object_ids=ids).refine(*seen, R, t, looks=1)
    after = RgbRefiner(back, models, object_ids=ids).refine(*seen, R, t, looks=1)
    torch.testing.assert_close(after.t, before.t, atol=2e-3, rtol=0)  # half precision


def test_what_is_no_refiner_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(InputError, match="is not a refiner"):
        load_refiner(path)
    with pytest.raises(InputError, match="is not a refiner"):
        load_refiner(tmp_path / "absent.safetensors")


def test_distances_lie_between_the_networks_and_the_looks(models: list) -> None:
    *seen, R, t = poses(4)
    t[1, 2] = -0.5  # behind the camera: stays
    plain = RgbRefiner(network(), models)
    looked = plain.refine(*seen, R, t)
    images, K, image_index, index = seen
    blank = torch.zeros(4)
    detected = Detections(image_index, index, blank, blank, R, t, blank, blank)
    assert torch.equal(plain.refine_predicted(images, K, detected)[0].t, looked.t)  # a share of 1
    shared = network()
    shared.config = replace(CONFIG, share=0.25)
    refiner = RgbRefiner(shared, models)
    found, confidence = refiner.refine_predicted(images, K, detected)
    assert torch.equal(found.R, looked.R)
    assert torch.equal(confidence, looked.confidence)
    centre = ModelBoxes.of(refiner.packed).centre[index]
    start, end, there = (
        position_of(*pose, centre) for pose in ((R, t), (looked.R, looked.t), (found.R, found.t))
    )
    front = [0, 2, 3]
    between = 0.25 * end[front, 2].log() + 0.75 * start[front, 2].log()
    torch.testing.assert_close(there[front, 2].log(), between)
    assert (start[front, 2] - end[front, 2]).abs().min() > 1e-3
    torch.testing.assert_close(there / there[:, 2:], end / end[:, 2:])  # the same ray
    torch.testing.assert_close(found.t[1], looked.t[1])
    assert len(refiner.refine_predicted(images, K, detected[:0])[0]) == 0
    torch.testing.assert_close(refiner.refine(*seen, R, t).t, looked.t)


def test_a_share_is_kept_in_a_file_and_counts_beside_its_own_network(
    tmp_path: Path, models: list
) -> None:
    made = network()
    made.config = replace(CONFIG, share=0.6)
    save_refiner(tmp_path / "a.safetensors", made, [])
    assert load_refiner(tmp_path / "a.safetensors")[0].config.share == 0.6
    alone = RgbRefiner.load(tmp_path / "a.safetensors", models)
    beside = RgbRefiner.load(tmp_path / "a.safetensors", models, beside=True)
    assert (alone.network.config.share, beside.network.config.share) == (1.0, 0.6)
