"""Resting poses, tables and where things stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from self6d.geometry import Pose, egocentric_to_allocentric, random_rotations
from self6d.rng import step_generator
from self6d.synthesis import SceneMaker, ground
from self6d.synthesis.appearance import sample_light
from self6d.synthesis.arrangement import _spread
from self6d.synthesis.layout import sample_layout
from self6d.synthesis.resting import stable_rotations


def test_a_brick_rests_on_its_six_sides_and_on_the_large_ones_most() -> None:
    brick = trimesh.creation.box(extents=(0.1, 0.2, 0.4))
    R, p, lowest = stable_rotations(brick.vertices)
    assert len(R) == 6
    assert np.allclose(R @ R.transpose(0, 2, 1), np.eye(3))
    assert np.allclose(np.linalg.det(R), 1)
    assert p.sum() == pytest.approx(1)
    heights = -2 * lowest
    assert sorted(np.round(heights, 6)) == [0.1, 0.1, 0.2, 0.2, 0.4, 0.4]
    assert p[np.isclose(heights, 0.1)].sum() > 0.5
    for rotation, z in zip(R, lowest):
        foot = (brick.vertices @ rotation.T)[:, 2]
        assert foot.min() == pytest.approx(z)
        assert np.isclose(foot, z).sum() == 4  # four corners on the ground


def test_an_overhanging_face_is_not_stable() -> None:
    # a prism that leans so far that it would fall from its smallest face
    leaning = trimesh.creation.box(extents=(0.1, 0.1, 0.5))
    leaning.vertices[:, 0] += leaning.vertices[:, 2] * 1.5
    R, _, _ = stable_rotations(leaning.vertices)
    end = np.array([0, 0, -1.0])
    assert not any(np.allclose(rotation @ end, [0, 0, -1], atol=1e-3) for rotation in R)


def test_a_flat_mesh_gives_the_identity() -> None:
    R, p, _ = stable_rotations(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]))
    assert np.array_equal(R, np.eye(3)[None])
    assert p.tolist() == [1.0]


def test_resting_things_stand_on_the_table(models, camera, config) -> None:
    maker = SceneMaker(models, camera, replace(config, resting=1.0))
    layout = sample_layout(maker.setting, 8, step_generator(0, 0))
    assert layout.resting.all()
    for i in range(len(layout.t)):
        if not layout.labelled[i]:
            continue
        vertices = torch.from_numpy(models[layout.shape[i]].vertices)
        camera_points = vertices @ layout.R[i].T + layout.t[i]
        b = layout.image[i]
        on_table = (camera_points - layout.table_t[b]) @ layout.table_R[b]
        assert on_table[:, 2].min().abs() < 1e-4  # its lowest point touches
    # tables are seen from above: their z points up and towards the camera
    assert (layout.table_R[:, 1, 2] < 0).all()
    assert (layout.table_R[:, 2, 2] < 0).all()


@pytest.mark.parametrize("resting", [0.0, 1.0])
def test_distances_stay_in_the_range_asked_for(models, camera, config, resting) -> None:
    near, far = 0.5, 1.1
    config = replace(config, distance_near_m=near, distance_far_m=far, resting=resting)
    maker = SceneMaker(models, camera, config)
    layout = sample_layout(maker.setting, 64, step_generator(0, 0))
    z = layout.centre[layout.labelled, 2]
    assert z.min() >= near - 1e-4
    assert z.max() <= far + 1e-4
    assert z.std() > 0.2 * (far - near)
    middle = maker.setting.shapes.centre[layout.shape] * layout.scale[:, None]
    assert torch.allclose(
        (layout.R @ middle[..., None])[..., 0] + layout.t, layout.centre, atol=1e-5
    )


@pytest.mark.parametrize("resting", [0.0, 1.0])
def test_limited_elevation(models, camera, config, resting) -> None:
    config = replace(
        config, elevation_min_deg=20, elevation_max_deg=60, roll_deg=10, resting=resting
    )
    maker = SceneMaker(models, camera, config)
    layout = sample_layout(maker.setting, 64, step_generator(0, 0))
    up = layout.R[layout.labelled][:, :, 2]  # model z in the camera frame
    # elevation of the camera above the object's horizon, for the ray through the image's middle
    elevation = torch.rad2deg(torch.asin(-up[:, 2]))
    assert 20 - 1e-2 < elevation.min() < 25
    assert 55 < elevation.max() < 60 + 1e-2
    roll = torch.rad2deg(torch.atan2(up[:, 0], -up[:, 1]))
    assert 5 < roll.abs().max() < 10 + 1e-2


def test_rotations_cover_the_sphere(maker) -> None:
    setting = replace(maker.setting, config=replace(maker.config, resting=0.0))
    R = sample_layout(setting, 400, step_generator(0, 0)).R
    # entries of uniform rotations have mean 0 and variance 1/3
    assert (R.mean(0).abs() < 0.05).all()
    assert ((R**2).mean(0) - 1 / 3).abs().max() < 0.04


def test_focal_jitter(maker, camera) -> None:
    setting = replace(maker.setting, config=replace(maker.config, focal_jitter=0.2))
    K = sample_layout(setting, 100, step_generator(0, 0)).K
    ratio = K[:, 0, 0] / camera.K[0, 0]
    assert 0.8 <= ratio.min() < 0.85 < 1.15 < ratio.max() <= 1.2
    assert torch.allclose(K[:, 1, 1] / camera.K[1, 1], ratio.to(K), atol=1e-5)


def test_things_on_a_table_are_pushed_apart(generator) -> None:
    radius = torch.full((4, 8), 0.05)
    used = torch.ones(4, 8, dtype=torch.bool)
    p = _spread(radius, used, 1.0, generator)
    distance = torch.cdist(p, p) + torch.eye(8)
    assert distance.min() > 0.06
    assert distance.min(dim=2).values.median() < 0.15  # yet close together


def test_slots_count_things_of_an_image(maker) -> None:
    layout = sample_layout(maker.setting, 3, step_generator(0, 1))
    for b in range(3):
        rows = layout.image == b
        assert layout.slot[rows].tolist() == list(range(int(rows.sum())))
        labelled = layout.labelled[rows].int()
        assert (labelled.diff() <= 0).all()  # instances come first


def test_table_points_lie_on_the_plane(models, camera, config) -> None:
    maker = SceneMaker(models, camera, replace(config, resting=1.0))
    g = step_generator(0, 2)
    layout = sample_layout(maker.setting, 4, g)
    table = ground.sample_table(layout, g)
    x, y, depth = ground.table_points(table, camera.size)
    b, v, u = (depth > 0).nonzero(as_tuple=True)
    assert len(b) > 500
    local = torch.stack((x[b, v, u], y[b, v, u], torch.zeros(len(b))), -1)
    point = (table.R[b] @ local[..., None])[..., 0] + table.t[b]
    pixel = (table.K[b] @ point[..., None])[..., 0]
    assert torch.allclose(point[:, 2], depth[b, v, u], rtol=1e-3, atol=1e-4)
    assert torch.allclose(pixel[:, 0] / pixel[:, 2], u + 0.5, atol=0.02)
    assert torch.allclose(pixel[:, 1] / pixel[:, 2], v + 0.5, atol=0.02)


def test_shadows_darken_the_table_beside_things(models, camera, config) -> None:
    maker = SceneMaker(models, camera, replace(config, resting=1.0))
    g = step_generator(0, 3)
    layout = sample_layout(maker.setting, 4, g)
    light = sample_light(layout, config, g)
    table = ground.sample_table(layout, g)
    things = ground.blockers(layout, maker.setting.shapes)
    lit = ground.table_light(table, light, things, camera.size, shadows=False)
    shaded = ground.table_light(table, light, things, camera.size, shadows=True)
    assert lit.shape == shaded.shape == (4, 3, *camera.size)
    assert (shaded <= lit + 1e-4).all()
    assert (shaded < 0.7 * lit).any()


def test_bins_show_one_object_alone_and_leave_other_images_as_they_are(
    models, camera, config
) -> None:
    def kinds(bins: float) -> list[list[int]]:
        maker = SceneMaker(models, camera, replace(config, bins=bins, instances_min=3))
        layout = sample_layout(maker.setting, 32, step_generator(0, 0))
        return [layout.shape[(layout.image == i) & layout.labelled].tolist() for i in range(32)]

    without, half, only = kinds(0.0), kinds(0.5), kinds(1.0)
    assert all(len(set(image)) == 1 and len(image) >= 3 for image in only)
    assert len({image[0] for image in only}) == len(models)
    mixed = [a == b for a, b in zip(without, half)]
    assert 4 < sum(mixed) < 28
    assert all(same or len(set(image)) == 1 for same, image in zip(mixed, half))
    assert config.for_instances(1).bins == 0 < config.bins == config.for_instances(2).bins


def test_a_share_of_things_in_the_air_is_seen_from_near_known_views(models, camera, config) -> None:
    poses = [Pose(R, [0.1, -0.05, 0.6]) for R in random_rotations(3).double().numpy()]
    settings = replace(config, resting=0.0, views_share=0.5, views_deg=20)
    anywhere, near = (
        sample_layout(SceneMaker(models, camera, settings, views=views).setting, 64, g)
        for views, g in ((None, step_generator(0, 0)), ([poses, []], step_generator(0, 0)))
    )
    changed = (near.R != anywhere.R).flatten(1).any(1)
    assert torch.equal(near.centre, anywhere.centre)
    assert torch.equal(near.shape, anywhere.shape)
    assert not changed[near.shape != 0].any()  # of the second object no view is known
    own = near.labelled & (near.shape == 0)
    assert changed[own].float().mean() == pytest.approx(0.5, abs=0.1)
    middle = torch.from_numpy(models[0].extents.mean(0)).float()
    known = torch.stack(
        [
            egocentric_to_allocentric(torch.tensor(p.R_m2c).float(), position)
            for p in poses
            for position in [torch.tensor(p.transform(middle.numpy()[None])[0]).float()]
        ]
    )
    seen = egocentric_to_allocentric(near.R[changed], near.centre[changed])
    turn = (seen[:, None] @ known.mT).diagonal(dim1=-2, dim2=-1).sum(-1)
    angle = torch.rad2deg(((turn - 1) / 2).clamp(-1, 1).acos())
    assert (angle.amin(1) < 20.1).all()
    assert angle.amin(1).max() > 15
    assert set(angle.argmin(1).tolist()) == {0, 1, 2}
