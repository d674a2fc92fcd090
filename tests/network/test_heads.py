"""Output layers of the region branches."""

from __future__ import annotations

import torch

from self6d.network.heads import PerObjectLinear


def test_layers_of_each_object_are_the_same_in_both_memory_layouts() -> None:
    torch.manual_seed(0)
    layer = PerObjectLinear(6, 5, 3, std=0.3)
    index, weight = torch.tensor([2, 0, 1, 2]), torch.randn(4, 5, 8, 7)
    maps = torch.randn(4, 6, 8, 7)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = maps.clone().to(memory_format=layout).requires_grad_()
        out = layer(x, index)
        (out * weight).sum().backward()
        found.append((out.detach(), x.grad, layer.weight.grad.clone(), layer.bias.grad.clone()))
        layer.zero_grad()
        assert out.is_contiguous(memory_format=layout)
        assert x.grad.is_contiguous(memory_format=layout)  # no copy on the way back either
    for plain, rows in zip(*found, strict=True):
        torch.testing.assert_close(plain, rows, atol=2e-5, rtol=1e-5)
    alone = torch.einsum("oc,chw->ohw", layer.weight[2], maps[0]) + layer.bias[2][:, None, None]
    torch.testing.assert_close(found[0][0][0], alone.detach(), atol=1e-5, rtol=1e-5)
