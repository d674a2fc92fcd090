"""Batch norms folded into convolutions: nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from self6d.benchmarks.render import bumpy_sphere
from self6d.network import PoseNetwork
from self6d.packaging.folding import fold_batch_norms
from self6d.run_config import build_config


@pytest.mark.parametrize("preset", ["tiny", "standard", "pretrained"])
def test_outputs_stay(preset):
    if preset == "pretrained":
        pytest.importorskip("timm")
    config = build_config(preset, {}).network
    config.weights = config.crop_weights = "none"
    torch.manual_seed(0)
    network = PoseNetwork(config, [bumpy_sphere(80)]).eval()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    stems = 2 if preset == "pretrained" else 0  # behind timm's own kind of convolution
    for norm in norms:  # fresh ones would change nothing
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.1)
    folded = copy.deepcopy(network)
    assert fold_batch_norms(folded) == len(norms) - stems
    image, K = torch.rand(1, 3, 96, 128), torch.tensor([[[128.0, 0, 64], [0, 128, 48], [0, 0, 1]]])
    with torch.no_grad():
        before, after = (n.forward_export(image, K) for n in (network, folded))
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-3)
