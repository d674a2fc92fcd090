"""Targets of the region branches, against the analytic boxes they were made from."""

from __future__ import annotations

import pytest
import torch

from self6d.geometry import transform
from self6d.network.objects import ObjectTable, farthest_points, surface_points
from self6d.network.roi import pose_regions
from self6d.network.targets import cell_rays, choose_instances, coordinate_targets, mask_targets
from self6d.scene import Symmetry


@pytest.fixture(scope="module")
def labelled(boxes, two_boxes):
    """Two images of two boxes under anisotropic pixels, and the instances' regions."""
    batch = boxes.batch(two_boxes, 2, seed=4, focal=(110.0, 150.0))
    regions = pose_regions(batch.box_amodal, batch.K[batch.image_index], 1.5, True)
    return batch, torch.arange(4), regions


def test_coordinates_lie_on_the_surface_and_project_back(labelled, two_boxes) -> None:
    batch, instance, regions = labelled
    side = 32
    xyz, visible = coordinate_targets(batch, instance, batch.image_index, regions, side)
    seen = visible.bool()
    assert seen.sum((1, 2)).min() > 40
    rays = cell_rays(regions, batch.K[batch.image_index], side)
    for i in range(4):
        half = torch.tensor(two_boxes[int(batch.object_index[i])].extents[1])
        points = xyz[i].permute(1, 2, 0)[seen[i]]
        on_surface = ((points.abs() / half).amax(-1) - 1).abs()
        assert on_surface.median() < 0.03  # half a pixel of slope
        camera = transform(points, batch.R[i : i + 1], batch.t[i : i + 1])[0]
        ray = rays[i].permute(1, 2, 0)[seen[i]]
        torch.testing.assert_close(camera[:, :2] / camera[:, 2:], ray, atol=1e-5, rtol=1e-4)


def test_mask_targets_cover_the_masks(labelled) -> None:
    batch, instance, regions = labelled
    masks = mask_targets(batch, instance, batch.image_index, regions, 48, amodal=True)
    area = (regions[:, 2:] - regions[:, :2]).prod(-1) / 48**2
    true = torch.stack(
        (batch.mask_visible(instance).sum((1, 2)), batch.mask_amodal.sum((1, 2))), dim=1
    )
    torch.testing.assert_close(masks.sum((2, 3)) * area[:, None], true.float(), atol=8, rtol=0.03)
    assert (masks[:, 0] <= masks[:, 1]).all()
    only_visible = mask_targets(batch, instance, batch.image_index, regions, 48, amodal=False)
    torch.testing.assert_close(only_visible, masks[:, :1])


def test_instances_fill_the_slots_of_their_own_image() -> None:
    image_index = torch.tensor([2, 0, 0, 2, 0, 3])
    eligible = torch.tensor([True, True, False, True, True, True])
    instance, used = choose_instances(image_index, eligible, 4, 2, None)
    assert used.tolist() == [[True, True], [False, False], [True, True], [True, False]]
    assert instance[0].tolist() == [1, 4]
    assert instance[2].tolist() == [0, 3]
    assert instance[3, 0].item() == 5


def test_every_instance_gets_its_turn() -> None:
    image_index, eligible = torch.zeros(5, dtype=torch.long), torch.ones(5, dtype=torch.bool)
    seen = set()
    for seed in range(30):
        g = torch.Generator().manual_seed(seed)
        instance, used = choose_instances(image_index, eligible, 1, 2, g)
        assert used.all()
        assert instance[0, 0] != instance[0, 1]
        seen |= set(instance[0].tolist())
        again, _ = choose_instances(
            image_index, eligible, 1, 2, torch.Generator().manual_seed(seed)
        )
        assert torch.equal(instance, again)
    assert seen == set(range(5))


def test_object_table(boxes) -> None:
    """A small mesh, a symmetric one and a plain one side by side."""
    half_turn = torch.diag(torch.tensor([-1.0, -1, 1, 1])).numpy()[None]
    models = [
        boxes.model(1, (0.1, 0.1, 0.2), Symmetry(discrete=half_turn)),
        boxes.model(2, (0.02, 0.04, 0.06)),
    ]
    table = ObjectTable(models, points=100, regions=8, symmetry_steps=16)
    assert table.symmetries.shape == (2, 2, 4, 4)
    assert torch.equal(table.symmetries[1], torch.eye(4).expand(2, 4, 4))
    torch.testing.assert_close(table.half_extent[1], torch.tensor([0.01, 0.02, 0.03]))
    on_surface = (table.points.abs() / table.half_extent[:, None]).amax(-1)
    torch.testing.assert_close(on_surface, torch.ones(2, 100))
    assert torch.cdist(table.regions[0], table.regions[0]).add(torch.eye(8)).min() > 0.03
    assert not table.state_dict()


def test_surface_points_are_spread_by_area(boxes) -> None:
    model = boxes.model(1, (0.1, 0.1, 0.4))
    points = surface_points(model, 4000)
    caps = (abs(points[:, 2]) > 0.2 - 1e-6).mean()
    assert caps == pytest.approx(2 * 0.01 / (2 * 0.01 + 4 * 0.04), abs=0.02)
    assert (points == surface_points(model, 4000)).all()
    assert farthest_points(points, 0).shape == (0, 3)
