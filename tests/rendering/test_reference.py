"""The reference against numbers worked out by hand and against finite differences."""

import math

import pytest
import torch

from self6d.geometry import backproject
from self6d.rendering import render
from self6d.rendering.reference import FLOOR

EYE = torch.eye(3)[None]


def test_depth_is_that_of_the_plane_at_pixel_centres(kit):
    """A slanted plane z = 1 + x / 2 seen by f = 10: z = 1 / (1 - u / 20), u = x - cx."""
    big = [[-5, -5, 1 - 2.5], [5, -5, 1 + 2.5], [5, 5, 1 + 2.5], [-5, 5, 1 - 2.5]]
    models = kit.pack([kit.object_model(big, [[0, 1, 2], [0, 2, 3]])], dtype=torch.float64)
    K = torch.tensor([[10.0, 0, 4], [0, 10, 3], [0, 0, 1]], dtype=torch.float64)
    R, t = EYE.double(), torch.zeros(1, 3, dtype=torch.float64)
    out = render(R, t, K, models, (6, 8), backend="reference")
    u = torch.arange(8) + 0.5 - 4
    expected = (1 / (1 - u / 20)).double().expand(6, 8)
    torch.testing.assert_close(out.depth_m[0], expected)
    assert (out.soft_mask == 1).all()
    # the renderer and the back-projection share pixel centres: points lie on the plane
    points = backproject(out.depth_m, K[None])[0]
    torch.testing.assert_close(points[..., 2], 1 + points[..., 0] / 2)


def test_color_is_perspective_correct(kit):
    """Half way along an edge in the image is not half way along the edge in space."""
    vertices = [[-1, -1, 1], [3, -3, 3], [-1, 1, 1], [3, 3, 3]]  # a floor seen at a slant
    colors = [[0, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1]]
    models = kit.pack([kit.object_model(vertices, [[0, 1, 2], [2, 1, 3]], colors)])
    K = torch.tensor([[1.0, 0, 1.5], [0, 1, 1.5], [0, 0, 1]])
    out = render(EYE, torch.zeros(1, 3), K, models, (3, 3), backend="reference")
    # the middle pixel looks along x = 0: 1 of the 4 metres from the left edge
    torch.testing.assert_close(out.rgb[0, :, 1, 1], torch.full((3,), 0.25))
    torch.testing.assert_close(out.depth_m[0, 1, 1], torch.tensor(1.5))


def test_soft_mask_of_one_face(kit):
    """1 - (1 - exp(-d2 sigma)), d2 measured in an image that spans two units on both axes."""
    h, w, sigma, box = 8, 16, 20.0, 0.6
    square = [[-1, -1, 1], [1, -1, 1], [1, 1, 1]]
    models = kit.pack([kit.object_model(square, [[0, 1, 2]])])
    K = torch.tensor([[2.0, 0, 8], [0, 2, 4], [0, 0, 1]])  # right-angled corner at pixel (10, 2)
    out = render(
        EYE, torch.zeros(1, 3), K, models, (h, w), sigma_inv=sigma, box=box, backend="reference"
    )
    mask = out.soft_mask[0]
    beside = math.exp(-sigma * ((0.5) * 2 / w) ** 2)  # pixel (10.5, 4.5), edge x = 10
    corner = math.exp(-sigma * ((0.5 * 2 / w) ** 2 + (0.5 * 2 / h) ** 2))  # pixel (10.5, 1.5)
    assert mask[4, 10].item() == pytest.approx(beside, abs=1e-6)
    assert mask[1, 10].item() == pytest.approx(corner, abs=1e-6)
    # the box reaches 0.6 * 16 / 2 = 4.8 pixels to the right of x = 10 and 2.4 above y = 2
    assert mask[4, 14] > 0
    assert mask[4, 15] == 0
    assert out.covered[0, 2, 9]
    assert mask[2, 9] == 1


def test_soft_mask_multiplies_all_faces(kit):
    """Forty copies of one face: 1 - (1 - p)^40, beyond any first-thirty rule."""
    one = [[-1, -1, 1], [1, -1, 1], [1, 1, 1]]
    many = kit.object_model(one, [[0, 1, 2]] * 40)
    K = torch.tensor([[20.0, 0, 32], [0, 20, 32], [0, 0, 1]])
    args = (EYE, torch.zeros(1, 3), K)
    single = render(
        *args, kit.pack([kit.object_model(one, [[0, 1, 2]])]), (64, 64), backend="reference"
    )
    every = render(*args, kit.pack([many]), (64, 64), backend="reference")
    open_ = ~single.covered
    expected = 1 - (1 - single.soft_mask[open_].double()) ** 40
    torch.testing.assert_close(every.soft_mask[open_].double(), expected, atol=1e-5, rtol=0)
    assert (every.face_id[every.covered] == 0).all()  # of equals the lowest number


@pytest.mark.parametrize("output", ["rgb", "depth_m", "soft_mask"])
def test_gradients_match_finite_differences(kit, output):
    """Pose, camera, vertices and colours in float64, at random directions of each."""
    models = kit.pack([kit.random_mesh(12, seed=1)], dtype=torch.float64)
    size = (24, 28)
    R, t = kit.poses(2)
    xs = kit.leaves(R, t, kit.camera(size, skew=2.0), models, torch.float64)
    generator = torch.Generator().manual_seed(0)

    def loss(values, weight, faces):
        R, t, K, vertices, colors = values
        out = render(
            R, t, K, models, size, backend="reference", vertices=vertices, colors=colors,
            sigma_inv=300.0, box=0.3,
        )  # fmt: skip
        # pixels that change their face on the way jump: leave them out
        kept = (out.face_id == faces) if faces is not None else torch.ones_like(out.covered)
        value = getattr(out, output)
        return (value * weight).movedim(0, -3), out.face_id, kept

    shape = (2, 3, *size) if output == "rgb" else (2, *size)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    _, faces, _ = loss(xs, weight, None)
    for n, x in enumerate(xs):
        direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        if n == 2:  # K keeps its form
            direction *= torch.tensor([[1.0, 1, 1], [0, 1, 1], [0, 0, 0]], dtype=torch.float64)
        step = 1e-6 if n != 2 else 1e-4
        sides = []
        for sign in (1, -1):
            moved = [v.detach() for v in xs]
            moved[n] = moved[n] + sign * step * direction
            sides.append(loss(moved, weight, faces))
        kept = sides[0][2] & sides[1][2]
        kept = kept[:, None] if output == "rgb" else kept
        value, _, _ = loss(xs, weight, faces)
        grad = torch.autograd.grad((value * kept.movedim(0, -3)).sum(), x, allow_unused=True)[0]
        analytic = 0.0 if grad is None else float((grad * direction).sum())
        numeric = float(((sides[0][0] - sides[1][0]) * kept.movedim(0, -3)).sum() / (2 * step))
        assert analytic == pytest.approx(numeric, rel=2e-5, abs=1e-6), f"leaf {n}"


def test_floor_keeps_a_pixel_on_the_outline_finite(kit):
    """A pixel centre exactly on a vertex of an edge-on face: d2 = 0, log(0) must not appear."""
    line = kit.object_model([[0, 0, 1], [0, 1, 1], [0, 2, 1]], [[0, 1, 2]])
    K = torch.tensor([[4.0, 0, 4.5], [0, 4, 4.5], [0, 0, 1]])
    t = torch.zeros(1, 3, requires_grad=True)
    out = render(EYE, t, K, kit.pack([line]), (9, 9), backend="reference")
    out.soft_mask.sum().backward()
    assert out.soft_mask[0, 4, 4].item() == pytest.approx(1 - FLOOR)
    assert torch.isfinite(t.grad).all()
