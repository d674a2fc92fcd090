"""Tensors fetched together, and work that a GPU is not waited for in."""

from __future__ import annotations

import numpy as np
import torch
from block_shapes import block

from self6d.rendering import pack_models, render
from self6d.tracking.evidence import measured
from self6d.tracking.quick.host import split, to_host

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
    names = ("rgb", "depth_m", "mask", "covered")
    meta = {n: getattr(view, n).to("meta") for n in names if getattr(view, n, None) is not None}
    shape = type("Shape", (), {})()
    for name, value in meta.items():
        setattr(shape, name, value)
    rgb, depth = view.rgb.to("meta"), view.depth_m.to("meta")
    whole = view.covered.to("meta")
    found = measured(rgb, depth, whole, whole, shape, torch.ones(1, device="meta"))
    assert all(x.device.type == "meta" for x in found)
    assert found[0].shape == (1, 6)
