"""FCOS: assignment and suppression against plain loops, decoding by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from self6d.network.detector import (
    FCOSOutput,
    assign,
    best_per_object,
    detection_losses,
)

STRIDES = (8.0, 16.0, 32.0)


def blank(images: int, classes: int, size: tuple[int, int] = (128, 160)) -> FCOSOutput:
    """Predictions of a network that says the same everywhere."""
    places, strides = [], []
    for stride in STRIDES:
        h, w = int(size[0] / stride), int(size[1] / stride)
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        places.append((torch.stack((x, y), -1).view(-1, 2) + 0.5) * stride)
        strides.append(torch.full((h * w,), stride))
    count = sum(len(p) for p in places)
    return FCOSOutput(
        logits=torch.full((images, count, classes), -5.0),
        ltrb=torch.ones(images, count, 4) * torch.cat(strides)[:, None],
        centerness=torch.zeros(images, count),
        locations=torch.cat(places),
        strides=torch.cat(strides),
    )


def slow_assign(output: FCOSOutput, boxes: Tensor, image_index: Tensor) -> Tensor:
    """The FCOS rule, one location and one box at a time."""
    instance = torch.full(output.logits.shape[:2], -1)
    for image in range(len(instance)):
        for place, (x, y) in enumerate(output.locations.tolist()):
            stride, best = output.strides[place].item(), float("inf")
            for n in (image_index == image).nonzero()[:, 0].tolist():
                x0, y0, x1, y1 = boxes[n].tolist()
                sides = (x - x0, y - y0, x1 - x, y1 - y)
                low = 0 if stride == STRIDES[0] else 4 * stride
                high = float("inf") if stride == STRIDES[-1] else 8 * stride
                central = max(abs(x - (x0 + x1) / 2), abs(y - (y0 + y1) / 2)) < 1.5 * stride
                area = (x1 - x0) * (y1 - y0)
                fits = low < max(sides) <= high and min(sides) > 0 and central
                if fits and area < best:
                    best, instance[image, place] = area, n
    return instance


def random_boxes(n: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    centre = torch.rand(n, 2, generator=g) * torch.tensor([160.0, 128.0])
    half = torch.rand(n, 2, generator=g) ** 2 * 70 + 3
    return torch.cat((centre - half, centre + half), -1)


@pytest.mark.parametrize("seed", range(4))
def test_assignment_is_the_plain_loop(seed: int) -> None:
    output, boxes = blank(3, 2), random_boxes(12, seed)
    image_index = torch.tensor([0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2])
    target = assign(output, boxes, image_index)
    assert torch.equal(target.instance, slow_assign(output, boxes, image_index))
    assert (target.instance >= 0).sum() > 10
    assert (target.instance[1] == -1).all()
    found = target.instance >= 0
    assert torch.equal(target.box[found], boxes[target.instance[found]])


def test_centerness_by_hand() -> None:
    """At l, t, r, b = 12, 12, 4, 20: sqrt(4/12 * 12/20)."""
    output = blank(1, 1)
    boxes = torch.tensor([[32.0, 32.0, 48.0, 64.0]])
    target = assign(output, boxes, torch.tensor([0]))
    place = (output.locations == torch.tensor([44.0, 44.0])).all(1) & (output.strides == 8)
    assert target.instance[0, place].item() == 0
    assert target.centerness[0, place].item() == pytest.approx((4 / 12 * 12 / 20) ** 0.5)


def test_perfect_predictions_have_no_box_loss() -> None:
    output, boxes = blank(2, 3), random_boxes(6, 9)
    image_index, objects = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2, 2, 1, 0])
    target = assign(output, boxes, image_index)
    found = target.instance >= 0
    sides = torch.cat(
        (output.locations - target.box[..., :2], target.box[..., 2:] - output.locations), -1
    )
    labels = torch.nn.functional.one_hot(objects[target.instance.clamp_min(0)], 3)
    perfect = output._replace(
        ltrb=torch.where(found[..., None], sides, output.ltrb),
        logits=torch.where((labels > 0) & found[..., None], 20.0, -20.0),
        centerness=torch.logit(target.centerness, eps=1e-6),
    )
    losses = detection_losses(perfect, boxes, image_index, objects)
    assert losses["box"].item() == pytest.approx(0.0, abs=1e-5)
    assert losses["class"].item() == pytest.approx(0.0, abs=1e-5)
    assert (
        losses["centerness"] < detection_losses(output, boxes, image_index, objects)["centerness"]
    )


def test_nothing_is_learned_of_objects_whose_place_is_unknown() -> None:
    """Only the known object's class gets a gradient: up where it is, down elsewhere."""
    output = blank(2, 3)
    output.logits.requires_grad_()
    box, image, objects = torch.tensor([[40.0, 40, 80, 90]]), torch.tensor([1]), torch.tensor([2])
    known = torch.zeros(2, 3, dtype=torch.bool)
    known[1, 2] = True
    detection_losses(output, box, image, objects, known)["class"].backward()
    assert output.logits.grad is not None
    gradient, positive = output.logits.grad, assign(output, box, image).instance[1] >= 0
    assert gradient[0].abs().max() == 0
    assert gradient[1, :, :2].abs().max() == 0
    assert (gradient[1, positive, 2] < 0).all()
    assert (gradient[1, ~positive, 2] > 0).all()


def test_images_without_objects_only_push_scores_down() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    losses = detection_losses(blank(2, 3), torch.zeros(0, 4), nothing, nothing)
    assert losses["class"] > 0
    assert losses["box"] == 0
    assert losses["centerness"] == 0


def test_best_per_object_decodes_boxes() -> None:
    output = blank(2, 2)
    place = int((output.strides == 16).nonzero()[5])
    output.logits[1, place, 1] = 4.0
    output.ltrb[1, place] = torch.tensor([10.0, 11.0, 12.0, 13.0])
    score, box = best_per_object(output)
    x, y = output.locations[place].tolist()
    assert box[1, 1].tolist() == pytest.approx([x - 10, y - 11, x + 12, y + 13])
    expected = (torch.tensor(4.0).sigmoid() * 0.5).sqrt()
    assert score[1, 1].item() == pytest.approx(expected.item())
