"""Tracking's steps on a GPU, captured as graphs, against the same on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from block_shapes import block

from self6d.geometry import axis_angle_to_matrix
from self6d.losses.objective import SelfSupervision
from self6d.rendering import pack_models, render
from self6d.run_config import build_config
from self6d.scene.batch import FrameBatch
from self6d.tracking.evidence import DEFAULT
from self6d.tracking.fit import ObjectFitter

pytestmark = pytest.mark.gpu

MODEL = block()
K = torch.tensor([[300.0, 0, 160], [0, 300.0, 120], [0, 0, 1]])


def seen(turn: float) -> tuple[FrameBatch, np.ndarray, np.ndarray]:
    """The block in front of a wall, and its pose."""
    R = axis_angle_to_matrix(torch.tensor([[0.5, turn, 0.3]]))
    t = torch.tensor([[0.02 * turn, 0.0, 0.6]])
    view = render(R, t, K, pack_models([MODEL]), (240, 320), soft_mask=False)
    depth = torch.where(view.covered, view.depth_m, torch.full_like(view.depth_m, 0.8))
    rgb = torch.where(view.covered[:, None], view.rgb, torch.full_like(view.rgb, 0.4))
    return FrameBatch(rgb, depth, K[None]), R.numpy(), t.numpy()


def test_poses_are_found_as_on_the_cpu_frame_after_frame() -> None:
    config = build_config("track", {}, stage="track")
    fitters = [
        ObjectFitter(MODEL, SelfSupervision(config.loss, place), config.track, DEFAULT, place)
        for place in map(torch.device, ("cpu", "cuda"))
    ]
    for frame in range(4):  # the third is the first that is all graphs
        sensor, R, t = seen(0.7 + 0.05 * frame)
        start = axis_angle_to_matrix(torch.tensor([[0.05, -0.04, 0.03]])).numpy() @ R
        found = []
        for fitter in fitters:
            moved = [x.to(fitter.device) for x in (sensor.images, sensor.depth_m, sensor.K)]
            there = fitter.painted(FrameBatch(*moved), None, None)
            near = fitter.near(there, start, t + np.float32(0.004), np.random.default_rng(frame))
            (best,) = fitter.fit(there, near.best(1))
            found.append((near, best))
        (near, best), (near_gpu, best_gpu) = found
        np.testing.assert_allclose(near_gpu.score[:3], near.score[:3], atol=2e-3)
        np.testing.assert_allclose(best_gpu.t, t[0], atol=1e-3)
        np.testing.assert_allclose(best_gpu.t, best.t, atol=5e-4)
        np.testing.assert_allclose(best_gpu.R, best.R, atol=0.01)
        assert abs(best_gpu.confidence - best.confidence) < 0.05
