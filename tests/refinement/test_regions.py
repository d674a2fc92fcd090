"""RegionCrops of images agree with renderings at the regions' camera."""

import numpy as np
import pytest
import torch
from block_shapes import block

from self6d.geometry import axis_angle_to_matrix, crop_intrinsics
from self6d.refinement.regions import (
    ModelBoxes,
    RegionCrops,
    crop_depth,
    crop_images,
    inside_image,
    project_boxes,
    square_boxes,
    union_boxes,
)
from self6d.rendering import pack_models, render

MODELS = pack_models([block()])
K = torch.tensor([[[300.0, 0, 100], [0, 320.0, 80], [0, 0, 1]]])
R = axis_angle_to_matrix(torch.tensor([[0.4, -0.6, 0.3]]))
T = torch.tensor([[0.03, -0.02, 0.7]])
SIZE = (160, 200)


FINE = 8


def whole():
    with torch.no_grad():
        return render(R, T, K, MODELS, SIZE)


def photographed_mask(camera, size):
    """Share of each pixel that the object covers, as a lens and a sensor integrate it."""
    h, w = size
    fine = (FINE * h, FINE * w)
    inner = crop_intrinsics(camera, torch.tensor([[0.0, 0, w, h]]), fine)
    with torch.no_grad():
        view = render(R, T, inner, MODELS, fine, soft_mask=False)
    return torch.nn.functional.avg_pool2d(view.covered[:, None].float(), FINE)


def centroid(mask):
    y, x = torch.meshgrid(*(torch.arange(n) + 0.5 for n in mask.shape), indexing="ij")
    return torch.stack(((x * mask).sum(), (y * mask).sum())) / mask.sum()


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1.0, 0.37), (2.0, -0.21), (0.8, 0.3)])
def test_crop_of_a_rendering_is_a_rendering_of_the_crop(scale, offset):
    """Silhouettes align to less than a twentieth of a pixel."""
    side = 96
    box = torch.tensor([[70.0, 30.0, 70 + side / scale, 30 + side / scale]]) + offset
    cut = crop_images(photographed_mask(K, SIZE), box, (side, side))[0, 0]
    inner = crop_intrinsics(K, box, (side, side))
    drawn = photographed_mask(inner, (side, side))[0, 0]
    assert 300 < cut.sum() < 0.8 * side * side
    shift = centroid(cut) - centroid(drawn)
    assert shift.abs().max() < 0.05


def test_whole_image_as_a_region_is_the_image():
    images = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    box = torch.tensor([[0.0, 0, 12, 12]])
    assert torch.allclose(crop_images(images, box, (12, 12)), images, atol=1e-6)


def test_depth_is_never_blended():
    depth = torch.zeros(1, 10, 10)
    depth[:, :, 5:] = 2.0
    depth[:, :, 3] = 1.0
    cut = crop_depth(depth, torch.tensor([[1.3, 1.3, 9.1, 9.1]]), (31, 31))
    assert set(cut.unique().tolist()) == {0.0, 1.0, 2.0}


def test_outside_the_image_is_black_unknown_and_said_so():
    images, depth = torch.ones(1, 3, 10, 10), torch.ones(1, 10, 10)
    box = torch.tensor([[-5.0, 0, 5, 10]])
    region = RegionCrops.cut(images, depth, K, box, torch.tensor([0]), 20)
    assert not region.observed[0, :, :10].any()
    assert region.observed[0, :, 10:].all()
    assert (region.depth_m[0, :, :9] == 0).all()
    assert (region.rgb[..., :9] == 0).all()
    assert torch.equal(region.observed, inside_image(box, (20, 20), (10, 10)))


def test_projected_box_holds_the_silhouette():
    box = project_boxes(ModelBoxes.of(MODELS), torch.tensor([0]), R, T, K)[0]
    rows, columns = whole().covered[0].nonzero(as_tuple=True)
    assert box[0] <= columns.min() + 0.5
    assert box[2] >= columns.max() + 0.5
    assert box[1] <= rows.min() + 0.5
    assert box[3] >= rows.max() + 0.5


def test_objects_behind_the_camera_have_finite_boxes():
    behind = torch.tensor([[0.0, 0, -0.5]])
    box = project_boxes(ModelBoxes.of(MODELS), torch.tensor([0]), R, behind, K)
    assert box.isfinite().all()


def test_box_arithmetic():
    a, b = torch.tensor([[0.0, 0, 10, 4]]), torch.tensor([[5.0, -2, 8, 20]])
    assert union_boxes(a, b).tolist() == [[0, -2, 10, 20]]
    assert square_boxes(a, 2.0).tolist() == [[-5, -8, 15, 12]]


def test_model_boxes_of_several_models():
    boxes = ModelBoxes.of(pack_models([block(), block(0.02, (0.1, 0, 0))]))
    assert np.allclose(boxes.centre[1], [0.1, 0, 0], atol=1e-6)
    assert boxes.corners.shape == (2, 8, 3)
    assert boxes.diameter[0] > boxes.diameter[1]
