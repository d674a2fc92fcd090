"""Group norm and ReLU in one module are torch's two."""

import torch
from torch import nn

from self6d.layers import GroupNormReLU
from self6d.network.detector import Detector


def test_it_is_torchs_group_norm_and_relu():
    torch.manual_seed(0)
    ours, theirs = GroupNormReLU(8, 32), nn.Sequential(nn.GroupNorm(8, 32), nn.ReLU())
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs[0].load_state_dict(ours.state_dict())
    x = torch.randn(3, 32, 5, 7).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(3, 32, 5, 7)
    results = []
    for norm in (ours, theirs):
        own = x.clone().requires_grad_()
        y = norm(own)
        (y * weight).sum().backward()
        results.append((y.detach(), own.grad, *(p.grad for p in norm.parameters())))
    for mine, other in zip(*results, strict=True):
        assert torch.equal(mine, other)


def test_towers_rectify_once_and_keep_their_weights_names():
    for convs in (0, 2):
        detector = Detector("resnet18-w32", "none", 3, 32, 3, convs, 1.0)
        for tower in (detector.classify.conv, detector.regress.conv):
            assert not any(isinstance(layer, nn.ReLU) for layer in tower)
            assert [name for name in tower.state_dict() if name.endswith("bias")] == [
                f"{i}.bias" for k in range(convs) for i in (3 * k, 3 * k + 1)
            ]
            x = torch.randn(1, 32, 4, 4)
            assert not convs or (tower(x) >= 0).all()
