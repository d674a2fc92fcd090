"""L_self as a whole, through the reference renderer."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d

from self6d.geometry import axis_angle_to_matrix
from self6d.losses.objective import SOFT_BAND, LossConfig, SelfSupervision, _around
from self6d.losses.perceptual import default_weights
from self6d.losses.terms import TERMS
from self6d.rendering import pack_models, render
from self6d.scene import ObjectModel

SIZE = (40, 40)
K = torch.tensor([[[160.0, 0, 20], [0, 160.0, 20], [0, 0, 1]]], dtype=torch.float64)
WITH_NETWORK = 0.15 if default_weights() is not None else 0.0
PAPER = LossConfig(perceptual=WITH_NETWORK, points=400)
PLUS = replace(PAPER, like_with_like=True, edge_step_m=0.03, trim=0.05, noise_at_1m=0.002)


def cube(half=0.05):
    corners = np.array(np.meshgrid(*[(-half, half)] * 3, indexing="ij")).reshape(3, 8).T
    faces = np.array(
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
         [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    )  # fmt: skip
    colors = (corners / half + 1) * 0.4 + 0.1
    return ObjectModel(
        1, "cube", corners.astype("f4"), faces.astype("i4"), colors.astype("f4"), 0.1
    )


MODELS = pack_models([cube()], dtype=torch.float64)
R0 = axis_angle_to_matrix(torch.tensor([[0.5, 0.4, 0.2]], dtype=torch.float64))
T0 = torch.tensor([[0.0, 0.0, 0.9]], dtype=torch.float64)


def draw(delta):
    """Render the cube turned and shifted by `delta` (N, 6)."""
    n = len(delta)
    R = axis_angle_to_matrix(delta[:, :3]) @ R0
    return render(R, T0 + delta[:, 3:], K.expand(n, 3, 3), MODELS, SIZE, backend="reference")


def sensor(delta=(0, 0, 0, 0, 0, 0)):
    """A sensor's view of the cube: colours, depth and hard mask, with a wall behind it."""
    with torch.no_grad():
        view = draw(torch.tensor([delta], dtype=torch.float64))
    mask = view.covered.double()
    depth = torch.where(view.covered, view.depth_m, torch.full_like(view.depth_m, 1.3))
    rgb = view.rgb + 0.5 * (1 - mask[:, None])
    return rgb, depth, mask


AWAY = torch.tensor([[0.06, -0.04, 0.08, 0.006, -0.004, 0.012]], dtype=torch.float64)


@pytest.fixture(scope="module", params=["paper", "plus"])
def objective(request):
    return SelfSupervision(PAPER if request.param == "paper" else PLUS).double()


def test_every_term_is_per_item_and_total_is_their_weighted_sum(objective):
    rgb, depth, mask = sensor()
    both = [torch.cat((x, x)) for x in (rgb, depth, mask)]
    with torch.no_grad():
        rendering = draw(torch.cat((AWAY * 0, AWAY)))
        terms = objective(*both, rendering, K.expand(2, 3, 3))
    on = [name for name in TERMS if objective.weights[name] > 0]
    assert list(terms) == [*on, "total"]
    assert all(value.shape == (2,) for value in terms.values())
    total = sum(objective.weights[name] * terms[name] for name in on)
    assert torch.allclose(terms["total"], total)
    for name in on:  # the truth explains the image better
        assert terms[name][0] < terms[name][1]


def test_gradient_to_the_pose_agrees_with_finite_differences(objective):
    # the sensor's view is another pose, so that no term sits in a kink
    rgb, depth, mask = sensor((0.02, 0.03, -0.03, -0.003, 0.002, -0.01))
    depth = depth + 0.0013
    target = objective.observe(rgb, depth, mask * 0.9, K)
    delta = AWAY.clone().requires_grad_()
    terms = objective.compare(target, draw(delta))
    steps = 1e-7 * torch.eye(6, dtype=torch.float64)
    with torch.no_grad():
        repeated = target[torch.zeros(12, dtype=torch.long)]
        ends = objective.compare(repeated, draw(torch.cat((AWAY + steps, AWAY - steps))))
    for name, value in terms.items():
        (gradient,) = torch.autograd.grad(value.sum(), delta, retain_graph=True)
        numeric = (ends[name][:6] - ends[name][6:]) / 2e-7
        assert gradient.abs().max() > 0, name
        error = (gradient[0] - numeric).norm() / numeric.norm()
        assert error < 1e-4, (name, gradient, numeric)


def test_depth_out_of_reach_is_not_the_objects():
    rgb, depth, mask = sensor()
    depth = depth.clone()
    inside = (mask[0] >= 0.5).nonzero()
    behind, hole = inside[0], inside[1]
    depth[0, behind[0], behind[1]] += 0.5  # a mask that reaches past the outline
    depth[0, hole[0], hole[1]] = 0.0
    near = SelfSupervision(replace(PLUS, edge_step_m=0.0, reach=1.0)).double()
    usable = near.observe(rgb, depth, mask, K, diameter=torch.tensor([0.2])).usable
    expected = depth > 0
    expected[0, behind[0], behind[1]] = False
    at = mask >= 0.5
    assert torch.equal(usable[at], expected[at])
    assert torch.equal(near.observe(rgb, depth, mask, K).usable, depth > 0)
    nothing = near.observe(rgb, depth * 0, mask, K, diameter=torch.tensor([0.2])).usable
    assert not nothing.any()


@pytest.mark.parametrize("term", TERMS)
def test_each_term_is_a_switch(term):
    config = replace(PAPER, **{term: 0.0})
    rgb, depth, mask = sensor()
    terms = SelfSupervision(config).double()(rgb, depth, mask, draw(AWAY), K)
    assert term not in terms
    assert terms["total"].isfinite().all()


def test_without_depth_only_the_image_speaks(objective):
    rgb, _, mask = sensor()
    terms = objective(rgb, None, mask, draw(AWAY), K)
    assert "geometry" not in terms
    assert terms["total"] > 0


@pytest.mark.parametrize("case", ["empty mask", "outside the view", "no depth under the mask"])
def test_missing_evidence_is_defined(objective, case):
    rgb, depth, mask = sensor()
    delta = AWAY.clone()
    if case == "empty mask":
        mask = mask * 0
    elif case == "outside the view":
        delta[0, 3] = 5.0
    else:
        depth = depth * (mask == 0)
    delta.requires_grad_()
    terms = objective(rgb, depth, mask, draw(delta), K)
    terms["total"].sum().backward()
    assert delta.grad.isfinite().all()
    assert terms["geometry"].item() == 0
    if case == "empty mask":
        assert terms["total"].item() == 0
    if case == "outside the view":  # never mistaken for a good fit
        assert terms["mask"].item() > 10
    if case != "no depth under the mask":
        assert (delta.grad == 0).all()


def occluded_sensor():
    """The cube with a board 20 cm in front of its right half."""
    rgb, depth, mask = sensor()
    rgb[..., 20:], depth[..., 20:], mask[..., 20:] = 0.7, 0.6, 0.0
    return rgb, depth, mask


def test_an_occluder_speaks_against_the_truth_only_in_the_paper_form():
    rgb, depth, mask = occluded_sensor()
    terms = {}
    for name, config in (("paper", PAPER), ("plus", PLUS)):
        with torch.no_grad():
            terms[name] = SelfSupervision(config).double()(rgb, depth, mask, draw(AWAY * 0), K)
    for term, value in terms["plus"].items():
        assert value < 0.2 * terms["paper"][term], term


def test_the_networks_masks_tell_an_occluder_without_depth():
    rgb, _, mask = occluded_sensor()
    amodal = sensor()[2]
    objective = SelfSupervision(replace(PLUS, perceptual=0, ms_ssim=0)).double()
    delta = torch.zeros(1, 6, dtype=torch.float64)
    with torch.no_grad():
        told = objective(rgb, None, mask, draw(delta), K, mask_amodal=amodal)
        untold = objective(rgb, None, mask, draw(delta), K)
    assert told["mask"] < 0.2 * untold["mask"]
    assert told["ab"] < 0.2 * untold["ab"]


def test_the_object_itself_at_another_depth_is_no_occluder():
    rgb, depth, mask = sensor()
    objective = SelfSupervision(PLUS).double()
    behind = torch.zeros(1, 6, dtype=torch.float64)
    behind[0, 5] = 0.1
    target = objective.observe(rgb, depth, mask, K)
    hidden = objective.hidden(target, draw(behind).depth_m)
    assert not hidden.any()


def test_pixels_outside_the_image_do_not_count():
    rgb, depth, mask = sensor()
    observed = torch.ones_like(mask, dtype=torch.bool)
    observed[..., :17] = False
    cut = [rgb * observed[:, None], depth * observed, mask * observed]
    objective = SelfSupervision(PLUS).double()
    with torch.no_grad():
        rendering = draw(AWAY * 0)
        told = objective(*cut, rendering, K, observed=observed)
        untold = objective(*cut, rendering, K)
    assert told["mask"] < untold["mask"]
    assert told["ab"].item() == pytest.approx(0, abs=1e-9)
    assert untold["ab"] > 0.01


def test_target_repeats_one_image_for_many_starts(objective):
    rgb, depth, mask = sensor()
    target = objective.observe(rgb, depth, mask, K)[torch.zeros(2, dtype=torch.long)]
    with torch.no_grad():
        many = objective.compare(target, draw(torch.cat((AWAY, -AWAY))))
        one = objective(rgb, depth, mask, draw(-AWAY), K)
    assert torch.allclose(many["total"][1], one["total"][0])


def test_a_binary_mask_is_the_papers_form():
    """Unsure pixels count wholly or not at all; sure ones are as they are."""
    rgb, depth, mask = sensor()
    soft = 0.15 + 0.6 * mask  # 0.75 on the object, 0.15 beside it
    binary = SelfSupervision(replace(PAPER, binary_mask=True)).double()
    paper = SelfSupervision(PAPER).double()
    with torch.no_grad():
        rendering = draw(AWAY)
        hard = paper(rgb, depth, mask, rendering, K)
        for told in (mask, soft):
            terms = binary(rgb, depth, told, rendering, K)
            for name, value in hard.items():
                torch.testing.assert_close(terms[name], value, msg=name)
        unsure = paper(rgb, depth, soft, rendering, K)
    assert unsure["mask"] < 0.9 * hard["mask"]
    assert abs(unsure["ab"] - hard["ab"]) > 0.05 * hard["ab"]


def test_a_binary_mask_of_nothing_leaves_the_terms_at_nothing():
    rgb, depth, mask = sensor()
    binary = SelfSupervision(replace(PAPER, binary_mask=True)).double()
    with torch.no_grad():
        terms = binary(rgb, depth, 0.4 * mask, draw(AWAY), K)
    assert all(terms[name] == 0 for name in terms if name in ("ms_ssim", "perceptual", "geometry"))


@pytest.mark.parametrize("size", [(5, 7), (96, 96), (60, 256)])
def test_the_largest_around_a_pixel(size):
    value = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    reach = math.ceil(SOFT_BAND * max(size) / 2)
    wanted = max_pool2d(value[:, None], 2 * reach + 1, 1, reach)[:, 0]
    torch.testing.assert_close(_around(value), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("config", [PAPER, replace(PLUS, ms_ssim=0.0, perceptual=0.0)])
def test_a_target_is_put_together_from_its_tensors(config):
    view = render(R0, T0, K, MODELS, SIZE)
    target = SelfSupervision(config).observe(view.rgb, view.depth_m, view.soft_mask, K)
    tensors = [x + 1 if x.is_floating_point() else ~x for x in target.tensors()]
    other = target.of(tensors)
    assert all(a is b for a, b in zip(other.tensors(), tensors, strict=True))
    assert (other.scales is None, other.features is None) == (
        target.scales is None, target.features is None,
    )  # fmt: skip
    torch.testing.assert_close(other.mask, target.mask + 1)
