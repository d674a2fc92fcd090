"""Several instances of one object: which boxes and which poses are different things."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tetrahedra import models

from self6d.network import Detections, NetworkConfig, PoseNetwork
from self6d.network.captured import likely_detections
from self6d.network.detector import (
    FCOSOutput,
    best_instances,
    best_per_object,
    seen_twice,
    slots,
    without_faint,
)

K = torch.tensor([[120.0, 0, 64], [0, 120.0, 48], [0, 0, 1]]).expand(2, 3, 3)


def output_of(locations: torch.Tensor, ltrb: torch.Tensor, logits: torch.Tensor) -> FCOSOutput:
    sure = torch.full(logits.shape[:2], 20.0)
    return FCOSOutput(logits, ltrb, sure, locations, torch.full((len(locations),), 8.0))


def greedy(boxes: torch.Tensor, scores: torch.Tensor, limit: float) -> list[int]:
    """Non-maximum suppression, one pair at a time (torchvision's own needs its C++ part)."""
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        for k in kept:
            top = torch.maximum(boxes[i, :2], boxes[k, :2])
            bottom = torch.minimum(boxes[i, 2:], boxes[k, 2:])
            shared = (bottom - top).clamp_min(0).prod()
            union = sum((b[2:] - b[:2]).prod() for b in (boxes[i], boxes[k])) - shared
            if shared / union > limit:
                break
        else:
            kept.append(i)
    return kept


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), places=st.integers(1, 40), most=st.integers(1, 6))
def test_the_boxes_are_those_of_the_greedy_loop(seed, places, most) -> None:
    g = torch.Generator().manual_seed(seed)
    ltrb = 1 + 8 * torch.rand(2, places, 4, generator=g)
    output = output_of(
        24 * torch.rand(places, 2, generator=g), ltrb, torch.randn(2, places, 3, generator=g)
    )
    score, box = best_instances(output, most, iou=0.3)
    assert score.shape == (2, 3, most)
    for image in range(2):
        for index in range(3):
            kept = greedy(output.boxes[image], output.scores[image, :, index], 0.3)[:most]
            n = len(kept)
            torch.testing.assert_close(score[image, index, :n], output.scores[image, kept, index])
            torch.testing.assert_close(box[image, index, :n], output.boxes[image, kept])
            assert (score[image, index, n:] == 0).all()


def test_one_instance_is_the_best_box_alone() -> None:
    g = torch.Generator().manual_seed(0)
    output = output_of(
        torch.rand(50, 2, generator=g), torch.rand(2, 50, 4, generator=g),
        torch.randn(2, 50, 3, generator=g),
    )  # fmt: skip
    score, box = best_per_object(output)
    for most in (1, 4):
        several = best_instances(output, most)
        assert torch.equal(several[0][:, :, 0], score)
        assert torch.equal(several[1][:, :, 0], box)


def test_boxes_without_area_come_once() -> None:
    output = output_of(torch.zeros(3, 2), torch.zeros(1, 3, 4), torch.tensor([[[1.0], [2], [3]]]))
    score, _ = best_instances(output, 3)
    assert (score[0, 0] > 0).all()
    assert score[0, 0].tolist() == sorted(output.scores[0, :, 0].tolist(), reverse=True)


def test_later_instances_have_to_be_sure_of_themselves() -> None:
    score = torch.tensor([[[0.2, 0.15], [0.9, 0.6]]])
    assert without_faint(score, 0.5).tolist() == [
        [[pytest.approx(0.2), 0.0], [pytest.approx(0.9), pytest.approx(0.6)]]
    ]


def test_fixed_places_hold_each_objects_best_first() -> None:
    score = torch.tensor([[[0.4, 0.3, 0.0], [0.9, 0.8, 0.7]]])
    box = torch.arange(24.0).view(1, 2, 3, 4)
    s, b, index = slots(score, box)
    assert s[0].tolist() == pytest.approx([0.4, 0.9, 0.8, 0.7, 0.3, 0.0])
    assert index[0].tolist() == [0, 1, 1, 1, 0, 0]
    assert b[0, :, 0].tolist() == [0, 12, 16, 20, 4, 8]


def test_two_solids_are_never_in_one_place() -> None:
    """Model of 10 x 20 x 30 cm: centres nearer than 2.5 cm across the view are one thing."""
    half = torch.tensor([[0.05, 0.1, 0.15]]).expand(5, 3)
    centre = torch.tensor([[0.0, 0, 1], [0.02, 0, 1.1], [0.03, 0, 1], [0.0, 0.0, 1.4], [0.0, 0, 1]])
    score = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])
    image, index = torch.zeros(5).long(), torch.tensor([0, 0, 0, 0, 1])
    # the second is near the first; the third too far aside, but near the second; another object
    twice = seen_twice(image, index, score, centre, half)
    assert twice.tolist() == [False, True, True, False, False]
    assert not seen_twice(torch.arange(5), index, score, centre, half).any()
    level = seen_twice(image[:2], index[:2], score[:1].expand(2), centre[:2], half[:2])
    assert level.tolist() == [False, True]


def test_networks_of_earlier_versions_give_one() -> None:
    assert NetworkConfig.of_checkpoint({}).instances == 1
    assert NetworkConfig.of_checkpoint({"instances": 3}).instances == 3
    assert NetworkConfig.preset("paper").instances == 1
    assert NetworkConfig.preset("standard").instances > 1


@pytest.mark.parametrize("most", [1, 3])
def test_the_fixed_form_gives_several_as_predict_does(most: int) -> None:
    torch.manual_seed(0)
    config = replace(
        NetworkConfig.preset("tiny"), backbone="resnet10-w8", crop_backbone="resnet10-w8",
        crop_size=32, instances=most, further_score=0.0,
    )  # fmt: skip
    network = PoseNetwork(config, models(2)).eval()
    images = torch.rand(2, 3, 96, 128)
    with torch.no_grad():
        fixed = likely_detections(network.forward_export(images, K), 0.0)
    found = network.predict(images, K, score_threshold=0.0)
    for field in fields(Detections):
        torch.testing.assert_close(
            getattr(fixed, field.name), getattr(found, field.name), atol=1e-5, rtol=1e-5
        )
    per_object = torch.bincount(found.image_index * 2 + found.object_index)
    assert per_object.max() == most
