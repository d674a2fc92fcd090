"""Batch norm and its activation in one module are torch's two."""

import pytest
import torch
from torch import nn

from self6d.layers import BatchNormAct


@pytest.mark.parametrize("act", [nn.ReLU6(inplace=True), nn.Identity(), nn.SiLU()])
def test_it_is_torchs_batch_norm_and_activation(act: nn.Module) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(24, 1e-3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    ours, theirs = BatchNormAct.of(norm, act), nn.Sequential(norm, act)
    assert list(ours.state_dict()) == list(norm.state_dict())
    weight = torch.randn(3, 24, 5, 7)
    for _ in range(2):
        x = torch.randn(3, 24, 5, 7).contiguous(memory_format=torch.channels_last)
        results = []
        for module in (ours, theirs):
            own = x.clone().requires_grad_()
            y = module(own)
            (y * weight).sum().backward()
            results.append((y.detach(), own.grad, *(p.grad for p in module.parameters())))
        for mine, other in zip(*results, strict=True):
            assert torch.equal(mine, other)
        for mine, other in zip(ours.buffers(), norm.buffers(), strict=True):
            assert torch.equal(mine, other)
        ours.eval(), theirs.eval()
