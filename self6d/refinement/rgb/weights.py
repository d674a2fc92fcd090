"""Trained refiners, read from run folders and files."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import torch

from self6d.config import from_dict
from self6d.errors import CheckpointError, InputError
from self6d.paths import SHIPPED, is_package, refiner_file
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.runs.checkpoint import checkpoint_fits, unpack
from self6d.runs.folder import RunFolder
from self6d.storage import atomic_write

REMEDY = 'Name a run folder of train-refiner, a refiner\'s .safetensors file, or "shipped".'


def load_refiner(source: str | Path) -> tuple[RefinerNetwork, list[int]]:
    """A trained refiner.

    Args:
        source: a run folder of `train_refiner`, or of `adapt` with a refiner that learned; or its
            package, or a .safetensors file of `save_refiner`; or `SHIPPED`.

    Returns:
        the network, and the numbers of the objects that have an output layer each; empty if all
        objects share one.

    Raises:
        InputError: no such file, or not a refiner's. CheckpointError: a run without one.
    """
    path = refiner_file(source)
    if path.is_dir():
        return _of_run(RunFolder.open(path))
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["refiner"])
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError("is not a refiner", path=path, remedy=REMEDY) from error
    return _network(about["config"], about["object_ids"], weights), about["object_ids"]


@cache
def shipped_network(device: str) -> RefinerNetwork:
    """The network of the refiner that ships, read once for each device; only to be asked."""
    return load_refiner(SHIPPED)[0].to(device)


def holds_refiner(run: str | Path) -> bool:
    """Whether a run's checkpoint, or a package, holds a refiner that `load_refiner` would give."""
    path = Path(run)
    if is_package(path):
        return refiner_file(path).is_file()
    if not path.is_dir():
        return False
    tree = unpack(RunFolder.open(path).load_checkpoint(None).state())
    return bool(tree.get("refiner")) or "refiner_config" in tree


def save_refiner(path: Path, network: RefinerNetwork, object_ids: list[int]) -> None:
    """Write a refiner at half precision, one file."""
    from safetensors.torch import save

    about = {"config": asdict(network.config), "object_ids": object_ids}
    weights = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    atomic_write(path, save(weights, {"refiner": json.dumps(about)}))


def _of_run(run: RunFolder) -> tuple[RefinerNetwork, list[int]]:
    state = run.load_checkpoint(None)
    with checkpoint_fits(run.path):
        tree = unpack(state.state())
    adapted = tree.get("refiner")
    if adapted is None and "refiner_config" not in tree:
        raise CheckpointError("run holds no refiner", path=run.path, remedy=REMEDY)
    with checkpoint_fits(run.path):
        part = adapted or {**tree, "config": tree["refiner_config"]}
        ids = part["object_ids"]
        return _network(part["config"], ids, part["network"]), ids


def _network(
    config: dict, object_ids: list[int], weights: dict[str, torch.Tensor]
) -> RefinerNetwork:
    settings = replace(from_dict(RefinerConfig, config, prefix="refiner."), weights="none")
    network = RefinerNetwork(settings, max(len(object_ids), 1))
    network.load_state_dict(weights)
    return network.eval()
