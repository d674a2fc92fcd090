"""Compositing of windows against a plain loop."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from self6d.synthesis.windows import (
    Compositor,
    Windows,
    _partition,
    place_windows,
    window_intrinsics,
)


def test_composite_equals_a_loop_over_pixels(generator) -> None:
    size, batch, m = (12, 16), 2, 9
    image = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1])
    corner = torch.randint(-5, 14, (m, 2), generator=generator)
    order = torch.randperm(m, generator=generator)
    groups = [(0, 4, 6, 5), (4, 9, 8, 8)]
    row = torch.tensor([0, 1, 2, 6, 6, 3, 4, 5, 6])
    windows = Windows(order, groups, corner)
    compositor = Compositor(windows, windows.table(image, row), 6, batch, size)
    best = torch.full((batch, *size), torch.inf)
    thing = torch.full((batch, *size), -1)
    colour = torch.zeros(batch, 3, *size)
    whole_mask = torch.zeros(m, *size, dtype=torch.bool)
    whole_count = torch.zeros(m, dtype=torch.int64)
    for first, last, h, w in groups:
        things = order[first:last]
        rgb = torch.rand(len(things), 3, h, w, generator=generator)
        depth = torch.rand(len(things), h, w, generator=generator) + 0.1
        depth *= torch.rand(len(things), h, w, generator=generator) < 0.6
        compositor.add(things, rgb, depth)
        for k, i in enumerate(things.tolist()):
            for y, x in depth[k].nonzero().tolist():
                whole_count[i] += 1
                v, u = y + int(corner[i, 1]), x + int(corner[i, 0])
                if not (0 <= v < size[0] and 0 <= u < size[1]):
                    continue
                whole_mask[i, v, u] = True
                if depth[k, y, x] < best[image[i], v, u]:
                    best[image[i], v, u] = depth[k, y, x]
                    thing[image[i], v, u] = i
                    colour[image[i], :, v, u] = rgb[k, :, y, x]
    got = compositor.resolve()
    shown = thing >= 0
    assert torch.equal(got.thing, thing)
    assert torch.equal(got.depth_m[shown], best[shown])
    assert (got.depth_m[~shown] == 0).all()
    assert torch.equal(got.rgb.permute(0, 2, 3, 1)[shown], colour.permute(0, 2, 3, 1)[shown])
    assert torch.equal(got.mask_whole, whole_mask[row < 6])
    assert torch.equal(got.whole, whole_count)
    for i in range(m):
        visible = thing[image[i]] == i
        assert got.visible[i] == visible.sum()
        for mask, box in ((visible, got.box_visible[i]), (whole_mask[i], got.box_whole[i])):
            y, x = mask.nonzero(as_tuple=True)
            expected = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(y) else [0, 0, 0, 0]
            assert box.tolist() == [float(v) for v in expected]


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_groups_of_windows_have_the_least_area(groups, count) -> None:
    side = np.sort(np.random.default_rng(count).integers(1, 20, count))

    def area(bounds) -> int:
        return sum((b - a) * int(side[b - 1]) ** 2 for a, b in pairwise(bounds))

    cuts = (c for k in range(min(groups, count)) for c in combinations(range(1, count), k))
    bounds = _partition(side, groups)
    assert bounds == sorted(set(bounds))
    assert bounds[0] == 0
    assert bounds[-1] == count
    assert len(bounds) <= groups + 1
    assert area(bounds) == min(area([0, *c, count]) for c in cuts)


def test_windows_hold_their_things(generator) -> None:
    K = torch.tensor([[100.0, 0, 60], [0, 110, 40], [0, 0, 1]])
    corners = torch.rand(20, 8, 3, generator=generator) * 0.2 - 0.1
    corners[..., 2] += 0.6
    windows = place_windows(corners, K.expand(20, 3, 3), (80, 120), groups=3)
    uv = corners @ K.T
    uv = uv[..., :2] / uv[..., 2:]
    local = window_intrinsics(K.expand(20, 3, 3), windows.corner)
    for first, last, height, width in windows.groups:
        for i in windows.order[first:last].tolist():
            inside = uv[i] - windows.corner[i]
            assert (inside >= 0).all()
            assert (inside[:, 0] <= width).all()
            assert (inside[:, 1] <= height).all()
            shifted = corners[i] @ local[i].T
            assert torch.allclose(shifted[:, :2] / shifted[:, 2:], inside, atol=1e-3)
    assert sorted(windows.order.tolist()) == list(range(20))
