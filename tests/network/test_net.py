"""PoseNetwork: forms, contracts, determinism, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate

from self6d.errors import InputError
from self6d.geometry import egocentric_to_allocentric, matrix_to_quaternion, matrix_to_rotation6d
from self6d.network import NetworkConfig, PoseNetwork, masks_in_regions
from self6d.network.roi import pose_regions
from self6d.network.translation import ENCODE

SMALL = replace(
    NetworkConfig.preset("tiny"),
    backbone="resnet10-w16",
    crop_backbone="resnet10-w16",
    crop_size=64,
    head_channels=32,
    regions=4,
)
FORMS = {
    "small": SMALL,
    "shared layers": replace(SMALL, per_object=False, pnp_features=0, mask_upsample=1),
    "features": replace(SMALL, roi_input="features", roi_size=16),
    "paper": replace(
        NetworkConfig.preset("paper"), backbone="resnet10-w16", head_channels=64, roi_size=16
    ),
}


@pytest.fixture(scope="module")
def batch(boxes, two_boxes):
    return boxes.batch(two_boxes, 2)


@pytest.fixture(params=FORMS)
def network(request: pytest.FixtureRequest, two_boxes) -> PoseNetwork:
    torch.manual_seed(0)
    return PoseNetwork(FORMS[request.param], two_boxes)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_losses_reach_every_parameter(network: PoseNetwork, batch) -> None:
    terms = network.losses(batch, seeded(0))
    expected = {"class", "box", "centerness", "mask", "pose", "total"}
    if network.config.disentangled:
        expected |= {"translation"}
    if network.config.pose_head == "dense":
        expected |= {"distance", "coordinates", "regions"}
    assert set(terms) == expected
    parts = sum(value for name, value in terms.items() if name != "total")
    torch.testing.assert_close(terms["total"], parts)
    terms["total"].backward()
    assert all(p.grad is not None for p in network.parameters())
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_same_seed_same_losses(network: PoseNetwork, batch) -> None:
    network.eval()
    first, again, other, exact = (
        network.losses(batch, g)["total"].item() for g in (seeded(1), seeded(1), seeded(2), None)
    )
    assert first == again
    assert first != other
    assert exact == network.losses(batch)["total"].item()


def test_predictions_have_the_promised_shapes(network: PoseNetwork, batch) -> None:
    found = network.predict(batch.images, batch.K, score_threshold=0.0)
    assert len(found) == 4  # each object once in each image
    assert found.image_index.tolist() == [0, 0, 1, 1]
    assert found.R.shape == (4, 3, 3)
    assert found.t.shape == (4, 3)
    assert (found.t[:, 2] > 0).all()
    torch.testing.assert_close(
        found.R @ found.R.transpose(1, 2), torch.eye(3).expand(4, 3, 3), atol=1e-4, rtol=0
    )
    channels = 2 if network.config.amodal_mask else 1
    assert found.mask_logits.shape[:2] == (4, channels)
    assert not found.R.requires_grad
    assert network.training
    limited = network.predict(batch.images, batch.K, score_threshold=0.0, max_per_image=1)
    assert len(limited) == 2
    many = network.predict(
        batch.images, batch.K, score_threshold=0.0, instances=10, further_score=0.0
    )
    assert 4 < len(many) <= 40


@pytest.mark.parametrize("images", [1, 2])
def test_nothing_found(network: PoseNetwork, batch, images: int) -> None:
    found = network.predict(batch.images[:images], batch.K[:images], score_threshold=0.999)
    assert len(found) == 0
    assert found.R.shape == (0, 3, 3)
    h, w = batch.images.shape[-2:]
    assert masks_in_regions(found, torch.zeros(0, 4), (h, w)).shape[-2:] == (h, w)


def test_prediction_leaves_batch_norm_alone(network: PoseNetwork, batch) -> None:
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.predict(batch.images, batch.K)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_poses_for_boxes_are_differentiable_and_in_order(network: PoseNetwork, batch) -> None:
    network.eval()
    args = (batch.box_visible, batch.image_index, batch.object_index)
    found = network.poses_for_boxes(batch.images, batch.K, *args)
    assert found.score.tolist() == [1.0] * 4
    (found.R.sum() + found.t.sum()).backward()
    assert any(p.grad is not None for p in network.regions.features.parameters())
    order = torch.tensor([2, 0, 3])
    picked = network.poses_for_boxes(batch.images, batch.K, *(a[order] for a in args))
    torch.testing.assert_close(picked.t, found.t[order], atol=1e-4, rtol=1e-3)


def test_export_form_is_predict(network: PoseNetwork, batch) -> None:
    network.eval()
    with torch.no_grad():
        score, box, R, t, mask_logits, roi_box, _ = network.forward_export(batch.images, batch.K)
    found = network.predict(batch.images, batch.K, score_threshold=0.0)
    at = (found.image_index, found.object_index)
    for exported, predicted in (
        (score, found.score),
        (box, found.box),
        (R, found.R),
        (t, found.t),
        (mask_logits, found.mask_logits),
        (roi_box, found.roi_box),
    ):
        torch.testing.assert_close(exported[at], predicted, atol=1e-4, rtol=1e-3)


def test_images_of_any_size_are_seen_at_the_height_it_was_trained_at(two_boxes, batch) -> None:
    torch.manual_seed(0)
    config = replace(NetworkConfig.preset("tiny"), instances=1)
    network = PoseNetwork(config, two_boxes).eval()
    images, K = batch.images.repeat_interleave(2, -2), batch.K.clone()  # as tall again
    K[:, 1] *= 2
    h, w = batch.images.shape[-2:]
    halves = (h, w // 2)
    shrunk = interpolate(images, halves, mode="bilinear", align_corners=False, antialias=True)
    half_K = batch.K.clone()
    half_K[:, 0] /= 2
    small = network.predict(shrunk, half_K, score_threshold=0.0)
    network.config = replace(config, image_height=h)
    found = network.predict(images, K, score_threshold=0.0)
    torch.testing.assert_close(found.box, 2 * small.box)
    torch.testing.assert_close(found.roi_box, 2 * small.roi_box)
    torch.testing.assert_close(found.R, small.R)
    torch.testing.assert_close(found.t, small.t)
    score, box, *_ = network.forward_export(images, K)
    assert (score > 0).all()
    torch.testing.assert_close(box.flatten(0, 1).sort(0).values, found.box.sort(0).values)
    again = network.predict(shrunk.new_zeros(1, 3, h, w), K[:1], score_threshold=0.0)
    network.config = config
    same = network.predict(shrunk.new_zeros(1, 3, h, w), K[:1], score_threshold=0.0)
    torch.testing.assert_close(again.t, same.t, rtol=0, atol=0)  # of its own height: untouched


def test_true_codes_come_out_as_the_true_pose(network: PoseNetwork, batch, monkeypatch) -> None:
    """Allocentric or egocentric, SITE or centroid: what the head says becomes the camera pose."""
    network.eval()
    config = replace(network.config, mask_prior=False, fused_distance=False)
    K = batch.K[batch.image_index]
    monkeypatch.setattr(network.regions, "config", config)
    region = pose_regions(batch.box_visible, K, config.roi_padding, config.roi_square)
    diameter = network.objects.diameter[batch.object_index]
    code = ENCODE[config.translation](batch.t, region, K, diameter)
    raw = matrix_to_quaternion(batch.R)
    if config.rotation == "allocentric6d":
        raw = matrix_to_rotation6d(egocentric_to_allocentric(batch.R, batch.t))
    monkeypatch.setattr(network.regions.rotate, "forward", lambda *_: raw)
    monkeypatch.setattr(network.regions.translate, "forward", lambda *_: code)
    found = network.poses_for_boxes(
        batch.images, batch.K, batch.box_visible, batch.image_index, batch.object_index
    )
    torch.testing.assert_close(found.R, batch.R, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.t, batch.t, atol=1e-5, rtol=1e-4)


def test_true_outputs_have_no_pose_loss(two_boxes, batch, monkeypatch) -> None:
    torch.manual_seed(0)
    network = PoseNetwork(replace(SMALL, mask_prior=False), two_boxes).eval()
    K = batch.K[batch.image_index]
    region = pose_regions(batch.box_visible, K, 1.5, True)
    code = ENCODE["site"](batch.t, region, K, network.objects.diameter[batch.object_index])
    raw = matrix_to_rotation6d(egocentric_to_allocentric(batch.R, batch.t))
    monkeypatch.setattr(network.regions.rotate, "forward", lambda *_: raw)
    monkeypatch.setattr(network.regions.translate, "forward", lambda *_: code)
    terms = network.losses(batch)
    assert terms["pose"].item() == pytest.approx(0.0, abs=1e-4)
    assert terms["translation"].item() == pytest.approx(0.0, abs=1e-4)


def test_barely_visible_instances_are_skipped(two_boxes, batch) -> None:
    torch.manual_seed(0)
    network = PoseNetwork(SMALL, two_boxes).eval()
    hidden = replace(batch, visible_fraction=torch.tensor([0.1, 1.0, 1.0, 1.0]))
    moved = replace(hidden, t=hidden.t.clone(), R=hidden.R.clone())
    moved.t[0] += 0.3
    assert network.losses(hidden)["total"].item() == network.losses(moved)["total"].item()
    seen = replace(moved, visible_fraction=torch.ones(4))
    assert network.losses(seen)["total"].item() != network.losses(moved)["total"].item()


def test_images_without_objects(network: PoseNetwork, batch) -> None:
    none = torch.zeros(0, dtype=torch.long)
    empty = replace(
        batch,
        instance_map=torch.full_like(batch.instance_map, -1),
        image_index=none,
        object_index=none,
        R=batch.R[:0],
        t=batch.t[:0],
        mask_amodal=batch.mask_amodal[:0],
        box_visible=batch.box_visible[:0],
        box_amodal=batch.box_amodal[:0],
        visible_fraction=batch.visible_fraction[:0],
    )
    terms = network.losses(empty)
    terms["total"].backward()
    assert terms["pose"] == 0
    assert all(p.grad is not None for p in network.parameters())


def test_state_dict_round_trip(network: PoseNetwork, two_boxes, batch) -> None:
    torch.manual_seed(5)
    other = PoseNetwork(network.config, two_boxes)
    other.load_state_dict(network.state_dict())
    ours, theirs = (n.predict(batch.images, batch.K, score_threshold=0.0) for n in (network, other))
    assert torch.equal(ours.R, theirs.R)
    assert torch.equal(ours.mask_logits, theirs.mask_logits)


@pytest.mark.parametrize("scope", ["heads", "pose", "all"])
def test_stage2_trains_only_its_scope(two_boxes, scope: str) -> None:
    network = PoseNetwork(SMALL, two_boxes)
    chosen = network.stage2_parameters(scope)
    free = {name for name, p in network.named_parameters() if p.requires_grad}
    assert len(chosen) == len(free)
    assert any(name.startswith("detector") for name in free) == (scope == "all")
    assert any(name.startswith("regions.features") for name in free) == (scope != "heads")
    assert any(name.startswith("regions.rotate") for name in free)


def test_frozen_batch_norm_survives_train(two_boxes) -> None:
    network = PoseNetwork(replace(SMALL, frozen_batch_norm=True), two_boxes).train()
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(m.training or m.weight.requires_grad for m in norms)


def test_crops_do_not_depend_on_the_pixels_aspect(two_boxes, boxes) -> None:
    """The same picture taken with pixels half as high gives the same poses."""
    torch.manual_seed(0)
    network = PoseNetwork(SMALL, two_boxes).eval()
    square = boxes.batch(two_boxes, 1, seed=2, size=(192, 256), focal=(240.0, 240.0))
    squeezed = torch.nn.functional.avg_pool2d(square.images, (2, 1))
    scale = torch.tensor([1.0, 0.5, 1.0, 0.5])
    K = torch.diag(torch.tensor([1.0, 0.5, 1.0])) @ square.K
    args = (square.image_index, square.object_index)
    with torch.no_grad():
        one = network.poses_for_boxes(square.images, square.K, square.box_visible, *args)
        two = network.poses_for_boxes(squeezed, K, square.box_visible * scale, *args)
    torch.testing.assert_close(two.roi_box, one.roi_box * scale, atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(two.t, one.t, atol=0.02, rtol=0.05)
    torch.testing.assert_close(two.R, one.R, atol=0.05, rtol=0)


def test_autocast_keeps_geometry_in_float32(network: PoseNetwork, batch) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        terms = network.losses(batch, seeded(0))
    assert all(value.dtype == torch.float32 for value in terms.values())
    assert terms["total"].isfinite()


@pytest.mark.parametrize(
    ("field", "value"), [("pyramid_levels", 4), ("crop_size", 100), ("box_jitter", 0.7)]
)
def test_configuration_faults_are_named(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        replace(SMALL, **{field: value})


def test_presets() -> None:
    assert NetworkConfig.preset("standard") == NetworkConfig()
    assert NetworkConfig.preset("paper").rotation == "quaternion"
    with pytest.raises(InputError, match="tiny"):
        NetworkConfig.preset("huge")


def test_the_tiny_preset_fits_into_a_shipped_checkpoint(two_boxes) -> None:
    network = PoseNetwork(NetworkConfig.preset("tiny"), [*two_boxes, two_boxes[0]])
    assert sum(p.numel() * p.element_size() for p in network.state_dict().values()) < 20e6
