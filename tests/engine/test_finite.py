"""No number that is not finite reaches the weights, the moments or the batch-norm statistics."""

from __future__ import annotations

import pytest
import torch
from toy_task import ToyTask

from self6d.engine.finite import SKIPPED, BatchStatistics, finite_step


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_skipped_step_leaves_weights_and_moments_alone(fused, value):
    task = ToyTask(3, fused=fused)
    task.step(0)
    before = {k: v.clone() for k, v in task.state_dict()["tensors"].items()}
    task.scale = value
    values = task.step(1)
    assert bool(values[SKIPPED])
    after = task.state_dict()["tensors"]
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_finite_loss_with_infinite_gradient_is_skipped():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    loss = weight.abs().sqrt().sum()  # its gradient at zero is infinite, or not a number
    assert torch.isfinite(loss)
    assert not finite_step(optimizer, [weight], loss, clip=1.0)
    assert torch.equal(weight.detach(), torch.zeros(2))


def test_gradients_are_clipped_together():
    weight = torch.nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    assert finite_step(optimizer, [weight], 100 * weight.sum(), clip=1.0)
    assert weight.detach().norm().item() == pytest.approx(1.0, abs=1e-5)


class TestBatchStatistics:
    def network(self) -> torch.nn.Module:
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3),
            torch.nn.BatchNorm2d(4),
            torch.nn.ReLU(),
            torch.nn.Conv2d(4, 2, 3),
            torch.nn.BatchNorm2d(2, affine=False),
        )

    def test_good_steps_change_nothing_else(self):
        plain, kept = self.network(), self.network()
        statistics = BatchStatistics(kept)
        for step in range(3):
            images = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(step))
            assert torch.equal(plain(images), kept(images))
            statistics.settle(torch.tensor(True))
        assert plain.state_dict().keys() == kept.state_dict().keys()
        assert all(torch.equal(v, kept.state_dict()[k]) for k, v in plain.state_dict().items())

    def test_a_skipped_step_leaves_no_trace(self):
        network = self.network()
        statistics = BatchStatistics(network)
        network(torch.randn(2, 3, 9, 9))
        statistics.settle(torch.tensor(True))
        before = network[1].running_var.clone()
        network(torch.full((2, 3, 9, 9), float("nan")))
        assert network[1].running_var.isnan().all()
        statistics.settle(torch.tensor(False))
        assert torch.equal(network[1].running_var, before)
        assert network[4].running_mean.isfinite().all()

    def test_loaded_statistics_count_as_good(self):
        network, other = self.network(), self.network()
        other(torch.randn(2, 3, 9, 9))
        statistics = BatchStatistics(network)
        network.load_state_dict(other.state_dict())
        statistics.keep()
        statistics.settle(torch.tensor(False))
        assert torch.equal(network[1].running_mean, other[1].running_mean)

    def test_a_network_without_any(self):
        network = torch.nn.Linear(2, 2)
        BatchStatistics(network).settle(torch.tensor(True))
        assert sorted(network.state_dict()) == ["bias", "weight"]
