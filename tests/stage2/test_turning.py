"""A turned frame shows what a camera at the turned pose would see."""

import math

import pytest
import stage2_scene as stage2
import torch

from self6d.rendering import pack_models, render
from self6d.scene.batch import FrameBatch
from self6d.stage2.camera_augmentation import CameraAugmentation

SIZE = (stage2.HEIGHT, stage2.WIDTH)


def rendered(R, t, K):
    models = pack_models([stage2.MODEL])
    index = torch.zeros(len(R), dtype=torch.int64)
    return render(R, t, K, models, SIZE, object_index=index, soft_mask=False)


@pytest.mark.parametrize(("roll", "zoom"), [(0.0, 1.0), (25.0, 1.0), (0.0, 1.2), (-70.0, 0.8)])
def test_the_turned_frame_is_the_rendering_at_the_turned_pose(roll: float, zoom: float) -> None:
    R, t = (part[:3] for part in stage2.poses())
    K = stage2.K.expand(3, 3, 3).clone()
    K[:, 1, 1] *= 1.3  # pixels that are not square
    view = rendered(R, t, K)
    turn = CameraAugmentation.by(
        K, SIZE, torch.full((3,), math.radians(roll)), torch.full((3,), zoom)
    )
    sensor = turn.sensor(FrameBatch(view.rgb, view.depth_m, K))
    again = rendered(*turn.poses(R, t, torch.arange(3)), turn.K)
    both = (sensor.depth_m > 0) & again.covered & turn.inside
    either = ((sensor.depth_m > 0) | again.covered) & turn.inside
    assert both.sum() > 0.93 * either.sum()  # nearest pixels along the outline
    off = (sensor.depth_m - again.depth_m)[both].abs()
    assert off.quantile(0.95) < 0.003
    assert (sensor.images - again.rgb).abs().amax(1)[both].median() < 0.03


def test_outside_the_frame_nothing_is_known() -> None:
    turn = CameraAugmentation.by(stage2.K[None], SIZE, torch.tensor([math.pi / 2]), torch.ones(1))
    seen = turn.nearest(torch.ones(1, *SIZE))
    assert torch.equal(seen[0] > 0, turn.inside[0])
    assert not turn.inside[0, :, 0].any()  # an upright frame is less high than wide
    assert turn.inside[0, SIZE[0] // 2, SIZE[1] // 2]


def test_draws_stay_within_their_limits() -> None:
    K = stage2.K.expand(200, 3, 3)
    turn = CameraAugmentation.draw(K, SIZE, 30.0, 0.25, torch.Generator().manual_seed(0))
    angle = torch.atan2(turn.S[:, 1, 0], turn.S[:, 0, 0]).rad2deg()
    zoom = turn.K[:, 0, 0] / K[:, 0, 0]
    assert 25 < angle.abs().max() <= 30.001
    assert 1 / 1.25 <= zoom.min() < 0.85
    assert 1.2 < zoom.max() <= 1.25001
    assert torch.equal(turn.K[:, :2, 2], K[:, :2, 2])
