"""ROI-Align, regions and mask pasting, to the half pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from self6d.geometry import pixel_centres
from self6d.network.outputs import Detections
from self6d.network.roi import (
    cell_centres,
    jitter_boxes,
    masks_in_regions,
    pose_regions,
    roi_align,
    sample_cells,
)


def slow_roi_align(
    features: Tensor, box: Tensor, size: tuple[int, int], scale: float, samples: int
) -> Tensor:
    """torchvision's algorithm (aligned=True), one sample at a time: (C, H, W) -> (C, h, w)."""
    _, height, width = features.shape
    x0, y0, x1, y1 = (box * scale - 0.5).tolist()
    h, w = size
    out = torch.zeros(features.shape[0], h, w, dtype=features.dtype)
    for i in range(h):
        for j in range(w):
            for a in range(samples):
                for b in range(samples):
                    y = y0 + (y1 - y0) / h * (i + (a + 0.5) / samples)
                    x = x0 + (x1 - x0) / w * (j + (b + 0.5) / samples)
                    if not (-1 <= y <= height and -1 <= x <= width):
                        continue
                    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                    r, c = min(int(y), height - 2), min(int(x), width - 2)
                    v, u = y - r, x - c
                    near = features[:, r : r + 2, c : c + 2]
                    weight = torch.tensor([[(1 - v) * (1 - u), (1 - v) * u], [v * (1 - u), v * u]])
                    out[:, i, j] += (near * weight.to(near)).sum((1, 2))
    return out / samples**2


BOXES = torch.tensor(
    [
        [3.0, 2.0, 17.0, 13.0],
        [0.3, 0.7, 9.9, 8.1],
        [-6.0, -3.0, 12.0, 30.0],
        [18.5, 9.0, 40.0, 14.0],
    ]
)


@pytest.mark.parametrize(("scale", "samples"), [(1.0, 1), (1.0, 2), (0.5, 2), (0.25, 3)])
def test_roi_align_is_torchvisions_algorithm(scale: float, samples: int) -> None:
    g = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 11, 13, generator=g, dtype=torch.float64)
    index = torch.tensor([0, 1, 1, 0])
    out = roi_align(features, BOXES.double(), index, (4, 5), scale=scale, samples=samples)
    for i, box in enumerate(BOXES.double()):
        slow = slow_roi_align(features[index[i]], box, (4, 5), scale, samples)
        torch.testing.assert_close(out[i], slow)


def test_same_number_of_boxes_per_image_gives_the_same() -> None:
    features = torch.randn(2, 3, 11, 13, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([0, 0, 1, 1])
    listed = roi_align(features, BOXES, index, (4, 4))
    torch.testing.assert_close(roi_align(features, BOXES.view(2, 2, 4), None, (4, 4)), listed)
    alone = roi_align(features[:1], BOXES[:2], index[:2], (4, 4))
    torch.testing.assert_close(alone, listed[:2])


def test_a_ramp_is_sampled_at_the_cell_centres() -> None:
    """An image whose value is its own x coordinate: half a pixel off would show."""
    image = pixel_centres(20, 30).permute(2, 0, 1)[None]
    box = torch.tensor([[4.0, 3.0, 20.5, 15.0]])
    out = roi_align(image, box, torch.tensor([0]), (6, 7))[0]
    x, y = cell_centres(box, (6, 7))
    torch.testing.assert_close(out[0], x.expand(6, 7))
    torch.testing.assert_close(out[1], y.view(6, 1).expand(6, 7))


def test_roi_align_gradient() -> None:
    features = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    box, index = torch.tensor([[0.5, 0.2, 5.0, 4.0]], dtype=torch.float64), torch.tensor([0])
    assert torch.autograd.gradcheck(lambda f: roi_align(f, box, index, (3, 2)), (features,))


def test_half_precision_features_keep_exact_positions() -> None:
    image = pixel_centres(8, 600).permute(2, 0, 1)[None, :1]
    box = torch.tensor([[500.0, 0.0, 516.0, 8.0]])
    exact = roi_align(image / 600, box, torch.tensor([0]), (2, 16))
    half = roi_align((image / 600).bfloat16(), box, torch.tensor([0]), (2, 16))
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 2**-8


@pytest.mark.parametrize("images", [1, 2])
def test_no_boxes(images: int) -> None:
    features, index = torch.rand(images, 3, 8, 8), torch.zeros(0).long()
    out = roi_align(features, torch.zeros(0, 4), index, (4, 4))
    assert out.shape == (0, 3, 4, 4)


def test_regions_are_square_in_ray_space() -> None:
    K = torch.tensor([[[319.6, 0, 320], [0, 417.1, 240], [0, 0, 1]]])
    region = pose_regions(torch.tensor([[100.0, 100.0, 160.0, 140.0]]), K, 1.5, True)[0]
    sides = region[2:] - region[:2]
    assert (sides[0] / 319.6).item() == pytest.approx((sides[1] / 417.1).item())
    assert sides[0].item() == pytest.approx(90.0)  # the longer side in rays, padded
    assert ((region[:2] + region[2:]) / 2).tolist() == pytest.approx([130.0, 120.0])


def test_regions_may_keep_their_aspect() -> None:
    K = torch.eye(3)[None]
    region = pose_regions(torch.tensor([[10.0, 10.0, 30.0, 20.0]]), K, 1.0, False)
    assert region[0].tolist() == [10.0, 10.0, 30.0, 20.0]


def test_jitter_stays_within_its_share_and_repeats() -> None:
    boxes = torch.tensor([[10.0, 20.0, 50.0, 40.0]]).repeat(500, 1)
    out = jitter_boxes(boxes, 0.25, torch.Generator().manual_seed(0))
    centre, sides = (out[:, :2] + out[:, 2:]) / 2, out[:, 2:] - out[:, :2]
    assert ((centre - torch.tensor([30.0, 30.0])).abs() <= torch.tensor([10.0, 5.0])).all()
    assert ((sides / torch.tensor([40.0, 20.0]) - 1).abs() <= 0.25 + 1e-6).all()
    assert sides[:, 0].std() > 1
    assert torch.equal(out, jitter_boxes(boxes, 0.25, torch.Generator().manual_seed(0)))


def test_sample_cells_are_the_pixels_under_the_cell_centres() -> None:
    row, column, inside = sample_cells(torch.tensor([[-2.0, 1.0, 6.0, 5.0]]), (4, 4), (8, 4))
    assert column[0, 0].tolist() == [0, 1, 3, 3]  # centres at -1, 1, 3, 5
    assert row[0, :, 0].tolist() == [1, 2, 3, 4]
    assert inside[0, 0].tolist() == [False, True, True, False]


def detections(mask: Tensor, box: list[float]) -> Detections:
    """One detection with a 0/1 mask over a region."""
    logits = torch.where(mask > 0, 40.0, -40.0)[None, None]
    one = torch.zeros(1, dtype=torch.long)
    region = torch.tensor([box])
    return Detections(
        one, one, torch.ones(1), region, torch.eye(3)[None], torch.ones(1, 3), logits, region
    )


def test_a_pasted_mask_lands_on_its_own_pixels() -> None:
    mask = (torch.rand(6, 8, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    found = detections(mask, [5.0, 3.0, 13.0, 9.0])
    out = masks_in_regions(found, torch.tensor([[0.0, 0.0, 20.0, 16.0]]), (16, 20))[0, 0]
    expected = torch.zeros(16, 20)
    expected[3:9, 5:13] = mask
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)


def test_a_mask_survives_the_way_through_a_crop() -> None:
    """Cut by ROI-Align and pasted back it is the same picture, shifted by nothing."""
    xy = pixel_centres(40, 50)
    picture = (-((xy - torch.tensor([23.0, 17.5])) ** 2).sum(-1) / 60).exp()
    box = torch.tensor([[11.0, 7.0, 35.0, 28.0]])
    crop = roi_align(picture[None, None], box, torch.tensor([0]), (64, 64))[0, 0]
    found = detections(crop, box[0].tolist())
    found.mask_logits = torch.logit(crop, eps=1e-6)[None, None]
    out = masks_in_regions(found, torch.tensor([[0.0, 0.0, 50.0, 40.0]]), (40, 50))[0, 0]
    inner = (slice(9, 26), slice(13, 33))
    assert (out[inner] - picture[inner]).abs().max() < 0.01
    weight = out[inner] / out[inner].sum()
    centre = (weight[..., None] * xy[inner]).sum((0, 1))
    true = (picture[inner] / picture[inner].sum())[..., None] * xy[inner]
    assert (centre - true.sum((0, 1))).abs().max() < 0.02


def test_masks_over_any_region_have_gradients() -> None:
    found = detections(torch.zeros(4, 4), [0.0, 0.0, 8.0, 8.0])
    found.mask_logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    out = masks_in_regions(found, torch.tensor([[2.0, 2.0, 6.0, 6.0]]), (3, 5))
    assert out.shape == (1, 2, 3, 5)
    out.sum().backward()
    assert found.mask_logits.grad is not None
    assert math.isclose(found.mask_logits.grad.sum().item(), 2 * 15 * 0.25, rel_tol=1e-5)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_crops_of_images_without_gradient_are_the_torch_form(samples: int) -> None:
    """Kernel of float32 maps that nothing learns from, against the torch form in float64."""
    torch.manual_seed(samples)
    images = torch.rand(3, 3, 31, 47)
    corner, side = torch.rand(9, 2) * 60 - 20, torch.rand(9, 2) * 40 + 2
    boxes, index = torch.cat((corner, corner + side), 1), torch.arange(9) % 3
    for scale in (1.0, 0.5):
        true = roi_align(
            images.double(), boxes.double(), index, (8, 12), scale=scale, samples=samples
        )
        own = roi_align(images, boxes, index, (8, 12), scale=scale, samples=samples)
        assert own.dtype == torch.float32
        assert torch.allclose(own.double(), true, atol=2e-6)
        strided = images.contiguous(memory_format=torch.channels_last)
        assert torch.equal(
            own, roi_align(strided, boxes, index, (8, 12), scale=scale, samples=samples)
        )
        learned = roi_align(
            images.clone().requires_grad_(), boxes, index, (8, 12), scale=scale, samples=samples
        )
        assert torch.allclose(own, learned.detach(), atol=2e-5)  # its grid is in [-1, 1]
        learned.sum().backward()
    in_order = roi_align(images, boxes.view(3, 3, 4), None, (8, 12), samples=samples)
    by_image = roi_align(
        images, boxes, torch.arange(3).repeat_interleave(3), (8, 12), samples=samples
    )
    assert torch.equal(in_order, by_image)


def test_a_box_that_is_no_number_reads_nothing_else() -> None:
    boxes = torch.tensor([[float("nan")] * 4, [-1e30, 0, 1e30, 9], [float("inf")] * 4])
    cells = roi_align(torch.ones(1, 3, 5, 1), boxes, torch.zeros(3, dtype=torch.int64), (4, 4))
    assert cells.shape == (3, 3, 4, 4)
