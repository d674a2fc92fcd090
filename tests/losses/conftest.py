"""Weights for the perceptual term that no package has to bring."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

SHAPES = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))


@pytest.fixture
def weight_files(tmp_path: Path) -> tuple[Path, Path]:
    """The same random AlexNet written the two ways that can be read."""
    generator = torch.Generator().manual_seed(0)
    flat, tree = {}, {}
    for index, (position, (out, into, k)) in enumerate(zip((0, 3, 6, 8, 10), SHAPES)):
        weight = torch.randn(out, into, k, k, generator=generator) * (2 / (into * k * k)) ** 0.5
        bias = torch.randn(out, generator=generator) * 0.1
        flat[f"features.{position}.weight"], flat[f"features.{position}.bias"] = weight, bias
        kernel = np.ascontiguousarray(weight.permute(2, 3, 1, 0).numpy())
        tree[f"Conv_{index}"] = {"kernel": kernel, "bias": bias.numpy()}
    save_file(flat, tmp_path / "alexnet.safetensors")
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({"AlexNet_0": tree}))
    return tmp_path / "alexnet.safetensors", tmp_path / "alexnet.ckpt"
