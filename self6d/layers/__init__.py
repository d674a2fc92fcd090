"""Layers with kernels of their own for bfloat16 maps on a GPU; elsewhere they are torch's."""

from self6d.layers.batch_norm import BatchNormAct
from self6d.layers.depthwise import DepthwiseConv
from self6d.layers.norm import GroupNormReLU
from self6d.layers.pool import MaxPool

__all__ = ["BatchNormAct", "DepthwiseConv", "GroupNormReLU", "MaxPool"]
