import math

import pytest
import torch
from torch.autograd import gradcheck

from self6d.geometry import backproject
from self6d.losses.geometric import chamfer_distance, depth_edges, sample_surface

K = torch.tensor([[[50.0, 0, 4], [0, 60.0, 3], [0, 0, 1]]], dtype=torch.float64)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestSampleSurface:
    def test_small_masks_give_every_pixel_once(self):
        depth, mask = rand(1, 6, 8) + 0.5, torch.zeros(1, 6, 8, dtype=torch.bool)
        mask[0, 2, 3:6] = True
        depth[0, 2, 4] = 0  # unknown
        points, valid = sample_surface(depth, mask, K, 5)
        assert valid.tolist() == [[True, True, False, False, False]]
        expected = backproject(depth, K)[0, 2, [3, 5]]
        assert torch.equal(points[0, :2], expected)

    def test_pixel_centre_convention(self):
        depth, mask = torch.full((1, 6, 8), 2.0, dtype=torch.float64), torch.zeros(1, 6, 8)
        mask[0, 1, 0] = 1
        points, _ = sample_surface(depth, mask.bool(), K, 1)
        # pixel (row 1, column 0) has its centre at (0.5, 1.5)
        expected = torch.tensor([(0.5 - 4) / 50 * 2, (1.5 - 3) / 60 * 2, 2.0], dtype=torch.float64)
        assert torch.allclose(points[0, 0], expected)

    def test_large_masks_are_thinned_evenly_without_repeats(self):
        depth = torch.ones(2, 40, 40, dtype=torch.float64)
        mask = torch.ones(2, 40, 40, dtype=torch.bool)
        mask[1, :, 20:] = False
        camera = K.expand(2, 3, 3)
        seen = set()
        for jitter in (0.0, 0.5, 0.99):
            points, valid = sample_surface(depth, mask, camera, 100, jitter)
            assert valid.all()
            for item in points:
                assert len({tuple(p) for p in item.tolist()}) == 100
            seen |= {tuple(p) for p in points[0].tolist()}
        assert len(seen) == 300
        assert points[1, :, 0].max() < (20 - 4) / 50

    def test_nothing_to_see(self):
        points, valid = sample_surface(
            torch.zeros(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool), K.float(), 8
        )
        assert points.isfinite().all()
        assert not valid.any()

    def test_gradient_reaches_the_depth(self):
        depth = (rand(1, 4, 5) + 0.5).requires_grad_()
        mask = rand(1, 4, 5, seed=1) > 0.4
        assert gradcheck(lambda d: sample_surface(d, mask, K, 6)[0], depth)


class TestDepthEdges:
    def test_both_sides_of_a_step_and_not_holes(self):
        depth = torch.ones(1, 5, 8)
        depth[..., 4:] = 1.2
        depth[0, 2, 0] = 0
        edges = depth_edges(depth, 0.05)
        assert edges[0, :, 3:5].all()
        assert not edges[0, :, :3].any()
        assert not edges[0, :, 5:].any()


class TestChamfer:
    def test_by_hand_unsquared_both_ways(self):
        a = torch.tensor([[[0.0, 0, 0], [1.0, 0, 0]]])
        b = torch.tensor([[[0.0, 0, 3.0], [1.0, 0, 4.0], [5.0, 0, 0]]])
        # a to b: 3, sqrt(1 + 9); b to a: 3, 4, 4
        expected = (3 + math.sqrt(10)) / 2 + (3 + 4 + 4) / 3
        assert chamfer_distance(a, b).item() == pytest.approx(expected, rel=1e-6)

    def test_padding_does_not_count(self):
        a, b = rand(2, 7, 3), rand(2, 9, 3, seed=1)
        valid_a = torch.arange(7) < torch.tensor([[7], [4]])
        valid_b = torch.arange(9) < torch.tensor([[5], [9]])
        batched = chamfer_distance(a, b, valid_a, valid_b)
        alone = [chamfer_distance(a[:1], b[:1, :5]), chamfer_distance(a[1:, :4], b[1:])]
        assert torch.allclose(batched, torch.cat(alone))

    def test_chunks_change_nothing(self):
        a, b = rand(2, 50, 3), rand(2, 31, 3, seed=1)
        valid = rand(2, 50, seed=2) > 0.3
        whole = chamfer_distance(a, b, valid)
        assert torch.equal(chamfer_distance(a, b, valid, chunk=7), whole)

    @pytest.mark.parametrize("empty", ["a", "b"])
    def test_an_empty_side_is_zero_with_zero_gradient(self, empty):
        a, b = rand(1, 4, 3).requires_grad_(), rand(1, 5, 3, seed=1).requires_grad_()
        none = torch.zeros(1, 4 if empty == "a" else 5, dtype=torch.bool)
        loss = chamfer_distance(a, b, **{f"valid_{empty}": none})
        loss.sum().backward()
        assert loss.item() == 0
        assert (a.grad == 0).all()
        assert (b.grad == 0).all()

    def test_coinciding_points_have_a_finite_gradient(self):
        a = rand(1, 4, 3).requires_grad_()
        chamfer_distance(a, a.detach().clone()).sum().backward()
        assert (a.grad == 0).all()

    @pytest.mark.parametrize("robust", [{}, {"trim": 0.25, "noise_m": torch.full((2,), 0.1)}])
    def test_gradcheck(self, robust):
        a, b = rand(2, 6, 3).requires_grad_(), rand(2, 8, 3, seed=1).requires_grad_()
        robust = {k: v.double() if torch.is_tensor(v) else v for k, v in robust.items()}
        assert gradcheck(lambda x, y: chamfer_distance(x, y, **robust), (a, b))

    def test_trimming_ignores_outliers(self):
        a = rand(1, 20, 3)
        b = a.clone()
        b[0, 0] = 100.0
        assert chamfer_distance(a, b) > 1
        assert chamfer_distance(a, b, trim=0.06).item() < 0.05

    def test_noise_counts_little_below_and_fully_above(self):
        a, noise = torch.zeros(2, 1, 3), torch.full((2,), 0.002)
        b = torch.tensor([[[0, 0, 0.001]], [[0, 0, 0.1]]])
        near, far = chamfer_distance(a, b, noise_m=noise).tolist()
        assert near < 0.001 / 2
        assert far == pytest.approx(0.2, rel=0.05)

    def test_millimetres_at_three_metres_in_float32(self):
        a = (rand(1, 500, 3) * 0.1 + torch.tensor([1.0, 1.0, 3.0])).float()
        b = a + torch.tensor([0.0005, 0, 0])
        far = chamfer_distance(a, b)
        exact = chamfer_distance(a.double(), b.double())
        assert far.item() == pytest.approx(exact.item(), rel=1e-3)

    def test_the_kernel_finds_what_the_matrix_product_finds(self):
        a, b = rand(2, 600, 3), rand(2, 300, 3, seed=1)
        valid_a, valid_b = rand(2, 600, seed=2) > 0.3, rand(2, 300, seed=3) > 0.3
        exact = chamfer_distance(a, b, valid_a, valid_b)
        found = chamfer_distance(a.float(), b.float(), valid_a, valid_b)
        assert torch.allclose(found.double(), exact, rtol=1e-6)
