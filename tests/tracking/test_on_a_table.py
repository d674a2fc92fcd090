"""Things on a table seen at a slant: what betrays a pose sunk into it, and how near depth leads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from block_shapes import block
from host_free import OnDeviceOnly

from self6d.geometry import axis_angle_to_matrix, backproject, rotation_angle
from self6d.losses.objective import SelfSupervision
from self6d.refinement.regions import RegionCrops
from self6d.rendering import pack_models, render
from self6d.rendering.result import Rendering
from self6d.run_config import build_config
from self6d.tracking import align
from self6d.tracking.align import align_to_depth
from self6d.tracking.evidence import DEFAULT, NOTHING, measured, read
from self6d.tracking.fit import UNLIKE, Estimate, ObjectFitter
from self6d.tracking.follow import doubted, leaps
from self6d.tracking.look import PaintedFrame
from self6d.tracking.points import goes_on_at

SIZE = 128
K = torch.tensor([[220.0, 0, 64], [0, 220.0, 64], [0, 0, 1]])
MODEL = block()
PACKED = pack_models([MODEL])
HEIGHT = float(MODEL.extents[1, 2])  # half of it: its middle is its origin
DOWN = axis_angle_to_matrix(torch.tensor([2.2, 0.0, 0.0]))  # the table's z, up, seen at 36 degrees
AROUND = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.6]))
MIDDLE = torch.tensor([0.0, 0.0, 0.6])
ALONG = torch.tensor([0.11, 0.0, 0.0])


def on_table(height: float, along: float = 0.0):
    """Pose of the block turned about the table's normal, its middle so high above the table."""
    place = MIDDLE + DOWN @ (along * ALONG + torch.tensor([0.0, 0.0, height]))
    return (DOWN @ AROUND)[None], place[None]


def depth_of(R, t):
    return render(R, t, K[None], PACKED, (SIZE, SIZE), soft_mask=False)


def seen() -> torch.Tensor:
    """(1, SIZE, SIZE): the block standing on the table."""
    ray = backproject(torch.ones(1, SIZE, SIZE), K[None])
    normal = DOWN[:, 2]
    table = (MIDDLE @ normal) / (ray @ normal)
    own = depth_of(*on_table(HEIGHT)).depth_m
    return torch.where((own > 0) & (own < table), own, table)


GRAY = torch.full((1, 3, SIZE, SIZE), 0.5)


def region(depth: torch.Tensor, rgb: torch.Tensor = GRAY) -> RegionCrops:
    box, index = torch.tensor([[0.0, 0, SIZE, SIZE]]), torch.zeros(1, dtype=torch.long)
    return RegionCrops.cut(rgb, depth, K[None], box, index, SIZE)


def aligned(depth, R, t):
    there = region(depth)
    return align_to_depth(
        there.depth_m, there.observed, there.K, PACKED, R, t, torch.zeros(3), MODEL.diameter
    )


def edge(R, t) -> float:
    depth, view = seen(), depth_of(R, t)
    whole = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    rgb, diameter = torch.full((1, 3, SIZE, SIZE), 0.5), torch.tensor([MODEL.diameter])
    agree = (depth - view.depth_m).abs() < 0.004
    behind = depth < view.depth_m - 0.004
    assert agree[view.covered & ~behind].float().mean() > 0.8  # by depth alone nothing is wrong
    tensors = measured(rgb, depth, agree, whole, view, diameter.float())
    return read([x.numpy() for x in tensors], lambda: [1.0], None)[0].edge


def test_a_pose_sunk_into_the_table_is_told_by_the_table_going_on_around_it():
    assert edge(*on_table(HEIGHT)) > 0.8
    assert edge(*on_table(-HEIGHT, along=1.0)) < 0.5  # its top is level with the table


@pytest.mark.parametrize("turn", [[0.05, -0.03, 0.02], [-0.03, 0.05, -0.04]])
def test_depth_leads_a_pose_that_is_near_all_the_way(turn):
    R, t = on_table(HEIGHT)
    off = axis_angle_to_matrix(torch.tensor([turn])) @ R
    start = t + torch.tensor([0.003, -0.002, 0.004])
    got_R, got_t = aligned(seen(), off, start)
    assert rotation_angle(got_R, R).rad2deg().item() < 0.4
    assert (got_t - t).norm().item() < 0.0005
    assert got_R.dtype == R.dtype


def test_a_gpu_is_asked_to_align_without_waiting_and_solves_alike(monkeypatch):
    shapes = [x.to("meta") for x in (seen(), region(seen()).observed, region(seen()).K)]
    R, t = (x.to("meta") for x in on_table(HEIGHT))
    middle = torch.zeros(3, device="meta")
    models = pack_models([MODEL], device="meta")

    def drawn(R, t, K, *_, **__):
        depth = (R.sum((1, 2)) + t.sum(1))[:, None, None].expand(-1, SIZE, SIZE) * 1.0
        return Rendering(depth[:, None], depth, depth, depth.int())

    monkeypatch.setattr(align, "render", drawn)
    align._held(middle.device)
    with OnDeviceOnly():
        got = align_to_depth(*shapes, models, R, t, middle, MODEL.diameter)
    assert (got[0].shape, got[1].shape) == (R.shape, t.shape)
    generator = torch.Generator().manual_seed(0)
    J = torch.randn(5, 40, 6, generator=generator, dtype=torch.float64)
    A, b = J.mT @ J + torch.eye(6), J.sum(1)
    torch.testing.assert_close(align.eliminated(A, b), torch.linalg.solve(A, b))


def test_a_slanted_surface_goes_on_as_it_is():
    depth = seen()[0].numpy().copy()
    expected, hidden = depth[5:9, 60:64].copy(), depth.copy()
    hidden[:10] = 0.0  # nothing but table up there
    rows, columns = np.mgrid[5:9, 60:64].reshape(2, -1)
    edge = np.stack((np.full_like(rows, 10), columns), 1)
    got = goes_on_at(hidden, np.stack((rows, columns), 1), edge)
    assert got == pytest.approx(expected.ravel(), rel=1e-4)
    assert abs(got / depth[10, 60] - 1).max() > 0.01  # which is not how far its edge is


@pytest.fixture(scope="module")
def fitter() -> ObjectFitter:
    place = torch.device("cpu")
    config = build_config("track", {"track.points": 64}, stage="track")
    objective = SelfSupervision(config.loss, place)
    return ObjectFitter(MODEL, objective, config.track, DEFAULT, place)


def test_shape_under_other_paint_is_not_sure_once_the_paint_is_known(fitter):
    R, t = on_table(HEIGHT)
    block = depth_of(R, t)
    other = torch.where(block.covered[:, None], block.rgb[:, [2, 0, 1]], GRAY)

    def confidence(alike: float | None, learned: bool) -> float:
        frame = PaintedFrame(other, seen(), K[None], alike, learned)
        return fitter.judge(region(seen(), other), R, t, frame)[0].confidence

    assert confidence(None, False) > 0.8
    assert confidence(1.0, True) <= UNLIKE < 0.8


def test_far_poses_leap_and_a_start_allows_less(fitter):
    R, t = (x.numpy() for x in on_table(HEIGHT))

    def leap(degrees: float, share: float, **how) -> bool:
        turn = axis_angle_to_matrix(torch.tensor([0.0, 0.0, np.radians(degrees)])).numpy()
        moved = t[0] + np.float32([share * MODEL.diameter, 0, 0])
        return leaps(fitter, Estimate(turn @ R[0], moved, NOTHING, 1.0), R, t, **how)

    assert not leap(20, 0.2)
    assert leap(180, 0.0)
    assert leap(0, 0.9)
    assert not leap(45, 0.0)
    assert leap(45, 0.0, start=True)
    assert leap(0, 0.4, start=True)


def test_what_lies_half_outside_the_image_is_not_found_by_a_search(fitter):
    R, t = on_table(HEIGHT)
    off = t + torch.tensor([0.17, 0.0, 0.0])  # its middle at the image's right edge
    frame = PaintedFrame(GRAY, depth_of(R, off).depth_m, K[None], None)
    whole, cut = (fitter.judge(fitter._region(frame, R, x), R, x, frame)[0] for x in (t, off))
    assert whole.evidence.inside == 1.0
    assert 0.3 < cut.evidence.inside < 0.7
    assert cut.evidence.explained > 0.95
    config = fitter.config
    for sure in (0.99, 0.2):
        got = doubted(replace(cut, confidence=sure), config)
        assert got.confidence == min(sure, 0.9 * config.found)
        assert doubted(replace(whole, confidence=sure), config).confidence == sure


def test_without_depth_that_agrees_a_pose_stays(monkeypatch):
    solve = torch.linalg.solve

    def strict(A, b):
        assert A.isfinite().all()  # CUDA raises where LAPACK goes on with NaN
        assert b.isfinite().all()
        return solve(A, b)

    monkeypatch.setattr(torch.linalg, "solve", strict)
    R, t = on_table(HEIGHT)
    for depth in (torch.zeros(1, SIZE, SIZE), seen() + 0.5):
        got = aligned(depth, R, t)
        assert torch.allclose(got[0], R)
        assert torch.allclose(got[1], t)
