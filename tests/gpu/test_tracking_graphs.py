"""Parts of a tracking step on a GPU, as graphs and kernels of their own, against plain torch."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from block_shapes import block
from torch import Tensor

from self6d.cuda_graph import Recorded, capture
from self6d.geometry import axis_angle_to_matrix
from self6d.layers import usable as layers
from self6d.layers.usable import kernels
from self6d.losses.objective import SelfSupervision
from self6d.rendering import pack_models, render
from self6d.run_config import build_config
from self6d.scene.batch import FrameBatch
from self6d.tracking import align
from self6d.tracking.align import align_to_depth
from self6d.tracking.evidence import DEFAULT, colors_alike
from self6d.tracking.fit import NEAR, ObjectFitter
from self6d.tracking.points import ModelPoints
from self6d.tracking.quick import near
from self6d.tracking.quick.host import to_host
from self6d.tracking.quick.near import NearSearch, NearSettings
from self6d.tracking.quick.regions import ModelRegions

pytestmark = pytest.mark.gpu

MODEL = block()
DIAMETER = float(MODEL.diameter)
K = torch.tensor([[[300.0, 0, 160], [0, 300.0, 120], [0, 0, 1]]])
NAMES = [f"self6d.tracking.quick.{name}_kernels" for name in ("near", "align")]


def seen(turn: float) -> tuple[FrameBatch, Tensor, Tensor]:
    """The block in front of a wall, and its pose."""
    R = axis_angle_to_matrix(torch.tensor([[0.5, turn, 0.3]]))
    t = torch.tensor([[0.02 * turn, 0.0, 0.6]])
    view = render(R, t, K, pack_models([MODEL]), (240, 320), soft_mask=False)
    depth = torch.where(view.covered, view.depth_m, torch.full_like(view.depth_m, 0.8))
    rgb = torch.where(view.covered[:, None], view.rgb, torch.full_like(view.rgb, 0.4))
    return FrameBatch(rgb.cuda(), depth.cuda(), K.cuda()), R.cuda(), t.cuda()


def regions() -> ModelRegions:
    return ModelRegions(pack_models([MODEL], "cuda"), DIAMETER, 96, 1.4, 0.006)


def unrecorded(made: ModelRegions) -> ModelRegions:
    for name, work in (
        ("_seen", made._see), ("_pulled", made._pull), ("_begun", made._begin),
        ("_drawn", made._draw), ("_measured", made._measure), ("_looked", made._look),
        ("_compared", lambda *images: (colors_alike(*images),)),
    ):  # fmt: skip
        setattr(made, name, work)
    return made


def without_kernels(monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    monkeypatch.setattr(module, "usable", lambda *_, **__: None)


@pytest.mark.parametrize("name", NAMES)
def test_kernels_compile_where_triton_is(name: str) -> None:
    pytest.importorskip("triton")
    assert kernels(name, 0) is not None


def test_arrays_come_from_the_gpu_unchanged() -> None:
    tensors = [
        torch.rand(3, 5) > 0.5, torch.rand(2, 3, dtype=torch.float64), torch.rand(4, 2).mT,
        torch.arange(7, dtype=torch.uint8), torch.rand(0, 3), torch.tensor(3),
    ]  # fmt: skip
    others = [~x if x.dtype == torch.bool else x + 1 for x in tensors]
    both = [to_host(*(x.cuda() for x in own)) for own in (tensors, others)]
    for own, arrays in zip((tensors, others), both, strict=True):  # neither in the other's memory
        for x, array in zip(own, arrays(), strict=True):
            assert array.dtype == x.numpy().dtype
            np.testing.assert_array_equal(array, x)


def test_a_round_of_the_search_is_the_same_in_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    sensor, R, t = seen(0.7)
    made, points = regions(), ModelPoints.of(MODEL, 200)
    search = NearSearch(points, "cuda", made.around, NEAR)
    cut = made.around(sensor.images, sensor.depth_m, sensor.K, R, t, 0.05, NEAR)
    ab = near.rgb_to_ab(cut.rgb[0]).flatten(1).T.contiguous()
    how = NearSettings(100, 0.2, 0.02, 0.006, DIAMETER, 0.3, 2.0, 0.06)
    around = axis_angle_to_matrix(torch.randn(40, 3).cuda()) @ R
    place = t + 0.03 * torch.randn(40, 3).cuda()
    place[0, 2] = 0.001  # behind the camera, nearly
    home = torch.cat((R, around[:1])), torch.cat((t, place[1:2]))
    best, noise = torch.randperm(40).cuda()[:7], torch.randn(300, 6).cuda()
    for painted, few in ((True, 200), (False, 100)):
        view = near.TensorView(cut.depth_m[0].flatten(), ab, cut.K[0], (NEAR, NEAR), painted)
        asked = how, view, home, around, place, best, noise, 0.1, 0.01, 0.006, few
        found = search._proposed(*asked)
        with monkeypatch.context() as patch:
            without_kernels(patch, near)
            right = search._proposed(*asked)
        for a, b in zip(found[:2], right[:2], strict=True):
            torch.testing.assert_close(a, b, atol=2e-6, rtol=0)
        # where a point falls on a pixel's border the next one's depth may count: a point of many
        apart = (found[2] - right[2]).abs()
        assert apart.median() < 1e-5
        assert apart.max() < 0.05


def test_all_of_a_search_and_of_an_alignment_is_in_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("triton")
    own, (sensor, R, t) = fitter(), seen(0.7)
    asked = []

    def usable(*inputs: object) -> object:
        asked.append(layers.usable(*inputs))
        return asked[-1]

    for module in (near, align):
        monkeypatch.setattr(module, "usable", usable)
    there = own.painted(sensor, None, None)
    found = own.near(there, R.cpu().numpy(), t.cpu().numpy(), np.random.default_rng(0))
    own.fit(there, found.best(1))
    assert len(asked) >= 12
    assert None not in asked


def test_alignment_is_the_same_in_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    sensor, R, t = seen(0.7)
    made = regions()
    turn = axis_angle_to_matrix(torch.tensor([[0.03, -0.02, 0.04], [0, 0, 0], [0.01, 0, 0]]).cuda())
    R, t = turn @ R, t + torch.tensor([[0.002, 0.001, 0.004], [0, 0, 0.003], [2.0, 0, 0]]).cuda()
    cut = made.about(sensor, R, t)

    def aligned() -> tuple[Tensor, Tensor]:
        asked = cut.depth_m, cut.observed, cut.K, made.packed, R, t
        return align_to_depth(*asked, made.boxes.centre[0], DIAMETER)

    found = aligned()
    without_kernels(monkeypatch, align)
    right = aligned()
    for a, b, given in zip(found, right, (R, t), strict=True):
        torch.testing.assert_close(a, b, atol=5e-6, rtol=0)
        assert (a - given)[:2].abs().amax() > 1e-3  # they moved,
        torch.testing.assert_close(a[2], given[2], atol=1e-6, rtol=0)  # but for what is not seen


@pytest.mark.parametrize("count", [1, 3])
def test_regions_are_the_same_as_graphs(count: int) -> None:
    plain, made = unrecorded(regions()), regions()
    before: list[Tensor] = []
    copies: list[Tensor] = []
    for frame in range(4):  # the second is recorded, the third and fourth replayed
        sensor, R, t = seen(0.7 + 0.1 * frame)
        R, t = R.expand(count, 3, 3), t + 0.002 * torch.arange(count, device="cuda")[:, None]
        found = []
        for own in (plain, made):
            own_R, own_t, region, drawn = own.begun(sensor, R, t)
            mask = region.depth_m < 0.7
            parts = [
                own_R, own_t, region.rgb, region.depth_m, region.observed, region.K, *drawn,
                *own.measured(region, mask, own_R, own_t), *own.aligned(region, R, t),
            ]  # fmt: skip
            if count == 1:
                looked = own.looked(sensor, own_R, own_t)
                parts += [*looked, own.alike(*looked)]
            found.append(parts)
        for right, part in zip(*found, strict=True):
            assert part.dtype == right.dtype
            # of other numbers of rows products are rounded otherwise, and a pixel may tip over
            off = (part.double() - right.double()).abs().nan_to_num() > 1e-4
            assert off.double().mean() < 0.005
        for part, copy in zip(before, copies, strict=True):  # a later call writes over nothing
            assert torch.equal(part.nan_to_num(), copy.nan_to_num())
        before, copies = found[1], [x.clone() for x in found[1]]
    for name in ("_measured", "_begun" if count == 1 else "_drawn"):
        recorded = getattr(made, name)
        assert isinstance(recorded, Recorded)
        assert len(recorded._graphs) == 1


def fitter() -> ObjectFitter:
    config, place = build_config("track", {}, stage="track"), torch.device("cuda")
    return ObjectFitter(MODEL, SelfSupervision(config.loss, place), config.track, DEFAULT, place)


def test_targets_are_the_same_as_graphs() -> None:
    own = fitter()
    for frame in range(3):
        sensor, R, t = seen(0.7 + 0.1 * frame)
        region = own.regions.about(sensor, R, t)
        mask = region.depth_m < 0.7
        found = own._target(region, mask).tensors()
        right = own._observe(region.rgb, region.depth_m, region.observed, region.K, mask)
        for a, b in zip(found, right, strict=True):
            assert torch.equal(a, b)


def waits(work: Callable[[], object]) -> int:
    """How often something in it waits for the device, as torch counts it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(w.message) for w in told)


def test_regions_wait_for_nothing() -> None:
    made, (sensor, R, t) = regions(), seen(0.7)

    def work() -> None:
        own_R, own_t, region, _ = made.begun(sensor, R, t)
        made.measured(region, region.depth_m < 0.7, own_R, own_t)
        made.alike(*made.looked(sensor, own_R, own_t))

    for _ in range(3):
        work()
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_frame_waits_a_few_times() -> None:
    """Each time a GPU idles for some tens of microseconds."""
    own, known, counts = fitter(), None, []
    for frame in range(5):
        sensor, R, t = seen(0.7 + 0.02 * frame)
        start, rng = (R.cpu().numpy(), t.cpu().numpy()), np.random.default_rng(0)

        def look(sensor=sensor, start=start, rng=rng) -> None:
            nonlocal known
            there = own.painted(sensor, known)
            (best,) = own.fit(there, own.near(there, *start, rng).best(1))
            known = own.learned(sensor, best.R, best.t, known)

        counts.append(waits(look))
    assert known is not None
    assert counts[-1] <= 24, counts  # 22 on an H200


def test_what_is_freed_meanwhile_ends_no_recording() -> None:
    """An older graph that only a garbage collection frees, and one that is due while recording."""
    older: list[object] = []
    older.extend((older, *capture(lambda: torch.ones(4, device="cuda") * 2)))
    held, calls = [older], []
    del older

    def work() -> torch.Tensor:
        calls.append(len(calls))
        if len(calls) == 3:  # the one that is recorded
            held.clear()
            calls.extend([] for _ in range(4000))
        return torch.ones(4, device="cuda") * 3

    gc.collect()
    replay, result = capture(work, warm_up=2)
    replay()
    assert result.tolist() == [3.0] * 4
