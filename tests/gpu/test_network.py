"""The network on a CUDA device: torchvision's ROI-Align, mixed precision, layout, speed."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from tetrahedra import models, random_batch

from self6d.layers import BatchNormAct, DepthwiseConv, GroupNormReLU, MaxPool
from self6d.layers.usable import kernels
from self6d.network import Detections, NetworkConfig, PoseNetwork, masks_in_regions, roi_align
from self6d.network.captured import PLACES, CapturedForward, likely_detections

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("scale", "samples"), [(1.0, 2), (0.125, 2), (0.25, 1)])
def test_roi_align_is_torchvisions(scale: float, samples: int) -> None:
    from torchvision.ops import roi_align as torchvision_roi_align

    g = torch.Generator("cuda").manual_seed(0)
    features = torch.randn(3, 8, 60, 80, generator=g, device="cuda", requires_grad=True)
    corner = torch.rand(40, 2, generator=g, device="cuda") * 90 / scale - 10 / scale
    sides = torch.rand(40, 2, generator=g, device="cuda") * 40 / scale + 1
    boxes = torch.cat((corner, corner + sides), -1)
    index = torch.arange(40, device="cuda") % 3
    ours = roi_align(features, boxes, index, (14, 12), scale=scale, samples=samples)
    listed = torch.cat((index[:, None].float(), boxes), -1)
    theirs = torchvision_roi_align(features, listed, (14, 12), scale, samples, aligned=True)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)
    weight = torch.randn(ours.shape, generator=g, device="cuda")
    (mine,) = torch.autograd.grad((ours * weight).sum(), features)
    (other,) = torch.autograd.grad((theirs * weight).sum(), features)
    torch.testing.assert_close(mine, other, atol=5e-4, rtol=1e-3)


@pytest.mark.parametrize("preset", ["tiny", "standard", "paper"])
def test_training_step_in_bfloat16(preset: str) -> None:
    torch.manual_seed(0)
    network = PoseNetwork(NetworkConfig.preset(preset), models(3)).cuda()
    network.to(memory_format=torch.channels_last)
    batch = random_batch(4, 3, (240, 320))
    with torch.autocast("cuda", torch.bfloat16):
        terms = network.losses(batch, torch.Generator("cuda").manual_seed(0))
    terms["total"].backward()
    assert all(value.dtype == torch.float32 for value in terms.values())
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_cpu_and_cuda_agree() -> None:
    torch.manual_seed(0)
    config = replace(NetworkConfig.preset("tiny"), crop_backbone="resnet10-w16")
    network = PoseNetwork(config, models(2)).eval()
    batch = random_batch(1, 2, (96, 128))
    args = (batch.images, batch.K, batch.box_visible, batch.image_index, batch.object_index)
    with torch.no_grad():
        here = network.poses_for_boxes(*(a.cpu() for a in args))
        there = network.cuda().poses_for_boxes(*args)
    torch.testing.assert_close(there.R.cpu(), here.R, atol=5e-3, rtol=0)
    torch.testing.assert_close(there.t.cpu(), here.t, atol=5e-3, rtol=5e-3)
    window = torch.tensor([[0.0, 0.0, 128.0, 96.0]]).expand(2, 4)
    torch.testing.assert_close(
        masks_in_regions(there, window.cuda(), (24, 32)).cpu(),
        masks_in_regions(here, window, (24, 32)),
        atol=5e-3,
        rtol=0,
    )


def test_training_never_waits_for_the_device() -> None:
    """Any hidden synchronisation in `losses` raises here."""
    network = PoseNetwork(NetworkConfig.preset("tiny"), models(3)).cuda()
    batch, g = random_batch(4, 3, (240, 320)), torch.Generator("cuda").manual_seed(0)
    network.losses(batch, g)
    torch.cuda.set_sync_debug_mode("error")
    try:
        network.losses(batch, g)["total"].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    ("preset", "changes"),
    [("tiny", {}), ("standard", {}), ("tiny", {"views": 5}), ("tiny", {"image_height": 240})],
)
def test_captured_prediction_equals_the_eager_one(preset: str, changes, monkeypatch) -> None:
    """Also for other images, another size and other weights than it was captured with."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    config = replace(NetworkConfig.preset(preset), **changes)
    network = PoseNetwork(config, models(5)).cuda().eval()
    forward = CapturedForward(network)
    K = random_batch(1, 1).K

    def compare(height: int, width: int) -> Detections:
        images = torch.rand(1, 3, height, width, device="cuda")
        with torch.no_grad():
            eager = network.forward_export(images, K)
        for part, expected in zip(forward(images, K), eager, strict=True):
            torch.testing.assert_close(part, expected, atol=1e-5, rtol=1e-5)
        found = forward.predict(images, K, score_threshold=0.0)
        expected = likely_detections(eager, 0.0, 20)
        for field in fields(Detections):
            torch.testing.assert_close(
                getattr(found, field.name), getattr(expected, field.name), atol=1e-5, rtol=1e-5
            )
        return found

    first = compare(240, 320)
    kept = first.R.clone()
    assert len(first) == 5
    assert not torch.equal(compare(240, 320).R, kept)  # of another image
    assert torch.equal(first.R, kept)  # and no later call writes over it
    compare(480, 640)
    changed = {
        name: value * 1.01 if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(changed)
    compare(240, 320)


def test_a_smaller_batch_is_filled_up_to_one_that_is_captured() -> None:
    torch.manual_seed(0)
    small = replace(NetworkConfig.preset("tiny"), crop_backbone="resnet10-w16")
    network = PoseNetwork(small, models(3)).cuda().eval()
    images = torch.rand(4, 3, 96, 128, device="cuda")
    K = torch.tensor([[120.0, 0, 64], [0, 120.0, 48], [0, 0, 1]], device="cuda").expand(4, 3, 3)
    forward = CapturedForward(network)
    whole = forward.predict(images, K, score_threshold=0.0)
    part = forward.predict(images[:3], K[:3], score_threshold=0.0)
    assert len(forward._graphs) == 1
    kept = whole[whole.image_index < 3]
    for field in fields(Detections):
        torch.testing.assert_close(
            getattr(part, field.name), getattr(kept, field.name), atol=1e-4, rtol=1e-3
        )


def test_captured_regions_equal_the_eager_ones(monkeypatch) -> None:
    """As many boxes as a graph has, fewer of other objects, and more than it holds."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    small = replace(NetworkConfig.preset("tiny"), crop_backbone="resnet10-w16")
    network = PoseNetwork(small, models(3)).cuda().eval()
    batch, forward = random_batch(1, PLACES + 1, (240, 320)), CapturedForward(network)
    index = torch.arange(PLACES + 1, device="cuda") % 3
    for rows in (slice(0, PLACES), slice(3, 6), slice(0, PLACES + 1)):
        box, of = batch.box_visible[rows], index[rows]
        with torch.no_grad():
            eager = network.poses_for_boxes(batch.images, batch.K, box, torch.zeros_like(of), of)
        found = forward.poses_for_boxes(batch.images, batch.K, box, of)
        for field in fields(Detections):
            torch.testing.assert_close(
                getattr(found, field.name), getattr(eager, field.name), atol=1e-4, rtol=1e-3
            )
    assert len(forward._regions) == 1


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((3, 32, 5, 7), 32), ((96, 128, 45, 60), 32), ((2, 64, 33, 40), 16), ((700, 16, 1, 1), 4)],
)
def test_group_norm_and_relu_in_one_pass(shape: tuple[int, ...], groups: int) -> None:
    if kernels("self6d.layers.norm_kernels", 0) is None:
        pytest.skip("Triton compiles nothing here")
    torch.manual_seed(0)
    ours = GroupNormReLU(groups, shape[1]).cuda()
    theirs = torch.nn.GroupNorm(groups, shape[1]).cuda().double()
    torch.nn.init.normal_(ours.weight)
    torch.nn.init.normal_(ours.bias)
    theirs.load_state_dict(ours.state_dict())
    x, weight = (
        torch.randn(shape, device="cuda").mul(2).add(shift).bfloat16().contiguous(
            memory_format=torch.channels_last
        )
        for shift in (1, 0)
    )  # fmt: skip
    a, b = x.clone().requires_grad_(), x.double().requires_grad_()
    assert a.is_contiguous(memory_format=torch.channels_last)
    y = ours(a)
    wanted = theirs(b).relu()
    y.backward(weight)
    wanted.backward(weight.double())
    assert y.dtype == torch.bfloat16
    assert type(y.grad_fn).__name__ == "_FusedBackward"
    assert b.grad is not None
    for mine, other, least in (
        (y, wanted, 8e-3),
        (a.grad, b.grad, 8e-3),
        (ours.weight.grad, theirs.weight.grad, 1e-4),
        (ours.bias.grad, theirs.bias.grad, 1e-4),
    ):
        wrong = (mine.double() - other).abs() > least * other.abs().max()
        assert float(wrong.float().mean()) < 1e-5  # where the ReLU begins, rounding decides
    again = ours(x.clone().requires_grad_())
    assert torch.equal(again, y)


@pytest.mark.parametrize("act", [torch.nn.ReLU6(), torch.nn.ReLU(), torch.nn.Identity()])
@pytest.mark.parametrize(
    "shape", [(2, 16, 7, 9), (64, 96, 90, 120), (3, 24, 1, 1), (5, 144, 33, 31), (8, 1248, 5, 4)]
)
def test_batch_norm_and_its_activation_are_torchs(
    shape: tuple[int, int, int, int], act: torch.nn.Module
) -> None:
    torch.manual_seed(0)
    ours = BatchNormAct(shape[1], act, 1e-3, 0.1).cuda()
    torch.nn.init.normal_(ours.weight, 2)
    torch.nn.init.normal_(ours.bias)
    theirs = torch.nn.BatchNorm2d(shape[1], 1e-3, 0.1).cuda().double()
    theirs.load_state_dict(ours.state_dict())
    x, weight = (
        torch.randn(shape, device="cuda").mul(3).add(shift).bfloat16().contiguous(
            memory_format=torch.channels_last
        )
        for shift in (4, 0)
    )  # fmt: skip
    a, b = x.clone().requires_grad_(), x.double().requires_grad_()
    y, wanted = ours(a), act(theirs(b))
    y.backward(weight)
    wanted.backward(weight.double())
    assert type(y.grad_fn).__name__ == "_FusedBackward"
    assert y.dtype == torch.bfloat16
    for mine, other, least in (
        (y, wanted, 8e-3),
        (a.grad, b.grad, 8e-3),
        (ours.weight.grad, theirs.weight.grad, 1e-3),
        (ours.bias.grad, theirs.bias.grad, 1e-3),
        (ours.running_mean, theirs.running_mean, 1e-5),
        (ours.running_var, theirs.running_var, 1e-5),
    ):
        wrong = (mine.double() - other).abs() > least * other.abs().max()
        assert float(wrong.float().mean()) < 1e-4  # where the activation begins, rounding decides
    assert int(ours.num_batches_tracked) == 1
    ours.eval(), theirs.eval()
    with torch.no_grad():
        for inside, least in ((x, 8e-3), (x.float(), 1e-5)):
            y, wanted = ours(inside), act(theirs(inside.double()))
            assert y.dtype == inside.dtype
            assert float((y - wanted).abs().max()) < least * float(wanted.abs().max())
    a, b = x.clone().requires_grad_(), x.double().requires_grad_()  # statistics stay as they are
    running = ours.running_var.clone()
    for module in (ours, theirs):
        module.zero_grad()
    y, wanted = ours(a), act(theirs(b))
    y.backward(weight)
    wanted.backward(weight.double())
    assert type(y.grad_fn).__name__ == "_FusedBackward"
    for mine, other, least in (
        (y, wanted, 8e-3),
        (a.grad, b.grad, 8e-3),
        (ours.weight.grad, theirs.weight.grad, 1e-3),
        (ours.bias.grad, theirs.bias.grad, 1e-3),
    ):
        wrong = (mine.double() - other).abs() > least * other.abs().max()
        assert float(wrong.float().mean()) < 1e-4
    assert torch.equal(ours.running_var, running)
    assert int(ours.num_batches_tracked) == 1


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("shape", [(2, 24, 7, 9), (16, 96, 60, 81), (5, 1248, 4, 4)])
def test_depthwise_convolutions_are_torchs(
    shape: tuple[int, int, int, int], side: int, stride: int, same: bool
) -> None:
    torch.manual_seed(0)
    ours = DepthwiseConv(shape[1], side, stride, same).cuda()
    theirs = DepthwiseConv(shape[1], side, stride, same).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last)
    a, b = x.cuda().requires_grad_(), x.double().requires_grad_()
    y, wanted = ours(a), theirs(b)
    assert type(y.grad_fn).__name__ == "_DepthwiseBackward"
    weight = torch.randn(wanted.shape).bfloat16().contiguous(memory_format=torch.channels_last)
    y.backward(weight.cuda())
    wanted.backward(weight.double())
    for mine, other, least in (
        (y, wanted, 8e-3),
        (a.grad, b.grad, 8e-3),
        (ours.weight.grad, theirs.weight.grad, 1e-3),
    ):
        off = (mine.cpu().double() - other).abs().max()
        assert float(off) < least * float(other.abs().max())
    with torch.no_grad():
        off = (ours(x.cuda().float()).cpu() - theirs(x.double())).abs().max()
    assert float(off) < 1e-5 * float(wanted.abs().max())


@pytest.mark.parametrize("shape", [(2, 16, 7, 9), (96, 64, 60, 80), (3, 32, 1, 1), (1, 512, 8, 5)])
def test_max_pool_that_remembers_in_bytes(shape: tuple[int, ...]) -> None:
    if kernels("self6d.layers.pool_kernels", 0) is None:
        pytest.skip("Triton compiles nothing here")
    torch.manual_seed(0)
    x = torch.randint(-6, 7, shape, device="cuda").bfloat16()  # with equal ones
    x = x.contiguous(memory_format=torch.channels_last)
    a, b = x.clone().requires_grad_(), x.float().requires_grad_()
    y, wanted = MaxPool()(a), torch.nn.functional.max_pool2d(b, 3, 2, 1)
    assert type(y.grad_fn).__name__ == "_PoolBackward"
    gradient = torch.randint(-8, 9, y.shape, device="cuda").bfloat16()
    y.backward(gradient)
    wanted.backward(gradient.float())
    assert torch.equal(y.float(), wanted)
    assert a.grad is not None
    assert torch.equal(a.grad.float(), b.grad)
