"""Convolutions of each channel by itself are torch's."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from self6d.layers import DepthwiseConv


@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (5, 2)])
def test_it_is_torchs_convolution(side: int, stride: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(24, 24, side, stride, side // 2, groups=24, bias=False)
    own = DepthwiseConv.of(conv, same=False)
    assert own is not None
    assert list(own.state_dict()) == ["weight"]
    x = torch.randn(2, 24, 9, 8)
    assert torch.equal(own(x), conv(x))


def test_the_odd_pixel_is_added_below_and_to_the_right() -> None:
    conv = nn.Conv2d(8, 8, 3, 2, 0, groups=8, bias=False)
    own = DepthwiseConv.of(conv, same=True)
    assert own is not None
    x = torch.randn(1, 8, 8, 7)
    assert torch.equal(own(x), conv(F.pad(x, (1, 1, 0, 1))))


def test_other_convolutions_stay_what_they_are() -> None:
    assert DepthwiseConv.of(nn.Conv2d(8, 8, 3, padding=1, bias=False), same=False) is None
    assert DepthwiseConv.of(nn.Conv2d(8, 8, 3, padding=1, groups=8), same=False) is None
    assert DepthwiseConv.of(nn.Conv2d(8, 8, 7, padding=3, groups=8, bias=False), False) is None
