"""Tensors fetched together, and work that a GPU is not waited for in."""

from __future__ import annotations

import numpy as np
import torch
from block_shapes import block
from host_free import OnDeviceOnly, replayed

from self6d.cuda_graph import Recorded
from self6d.geometry import axis_angle_to_matrix
from self6d.rendering import Rendering, pack_models, render
from self6d.scene.batch import FrameBatch
from self6d.tracking.evidence import colors_alike, measured
from self6d.tracking.quick.host import split, to_host
from self6d.tracking.quick.regions import ModelRegions

TENSORS = [
    torch.rand(2, 3, 5) > 0.5,
    torch.rand(2, 3, dtype=torch.float64),
    torch.rand(2, 4).mT,
    torch.arange(7, dtype=torch.uint8),
    torch.rand(0, 3),
]


def test_arrays_are_the_tensors() -> None:
    for x, array in zip(TENSORS, to_host(*TENSORS)(), strict=True):
        assert array.dtype == x.numpy().dtype
        np.testing.assert_array_equal(array, x)


def test_bytes_in_another_order_become_the_same_arrays() -> None:
    order = [1, 2, 4, 0, 3]
    like = [TENSORS[i].contiguous() for i in order]
    data = np.concatenate([np.frombuffer(x.numpy().tobytes(), np.uint8) for x in like])
    for x, array in zip(TENSORS, split(data, like, order), strict=True):
        np.testing.assert_array_equal(array, x)


def test_evidence_is_measured_without_asking_for_a_number() -> None:
    packed, size = pack_models([block()]), (48, 48)
    K = torch.tensor([[[60.0, 0, 24], [0, 60.0, 24], [0, 0, 1]]])
    view = render(torch.eye(3)[None], torch.tensor([[0.0, 0, 0.6]]), K, packed, size)
    rgb, depth, covered = (x.to("meta") for x in (view.rgb, view.depth_m, view.covered))
    there = Rendering(rgb, depth, depth, covered.int())
    inputs = rgb, depth, covered, covered, there, torch.ones(1, device="meta")
    measured(*inputs)  # constants are made once
    with OnDeviceOnly():
        shares, *_ = measured(*inputs)
    assert shares.shape == (1, 6)


def test_regions_are_the_same_recorded_or_not() -> None:
    model = block()
    packed = pack_models([model])
    K = torch.tensor([[[150.0, 0, 80], [0, 150.0, 60], [0, 0, 1]]])
    R = axis_angle_to_matrix(torch.tensor([[0.4, 0.5, 0.2]]))
    t = torch.tensor([[0.0, 0.01, 0.6]])
    view = render(R, t, K, packed, (120, 160), soft_mask=False)
    depth = torch.where(view.covered, view.depth_m, torch.full_like(view.depth_m, 0.8))
    plain, recorded = (ModelRegions(packed, model.diameter, 48, 1.4, 0.006) for _ in range(2))
    for name, work in (
        ("_seen", recorded._see), ("_pulled", recorded._pull), ("_begun", recorded._begin),
        ("_drawn", recorded._draw), ("_measured", recorded._measure), ("_looked", recorded._look),
        ("_compared", lambda *images: (colors_alike(*images),)),
    ):  # fmt: skip
        setattr(recorded, name, Recorded(work, replayed))
    for shift in (0.003, -0.002, 0.001):  # the second is recorded, the third replayed
        sensor, found = FrameBatch(view.rgb, depth, K), []
        for regions in (plain, recorded):
            own_R, own_t, region, drawn = regions.begun(sensor, R, t + shift)
            mask = region.depth_m < 0.7
            seen = [
                own_R, own_t, region.rgb, region.K, *drawn,
                *regions.measured(region, mask, own_R, own_t), *regions.drawn(region, R, t),
                *regions.looked(sensor, own_R, own_t), *regions.aligned(region, R, t + shift),
                regions.alike(*regions.looked(sensor, own_R, own_t)),
            ]  # fmt: skip
            found.append(seen)
        for a, b in zip(*found, strict=True):
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, equal_nan=True)
