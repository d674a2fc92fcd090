"""A trained network from wherever it lies: a run folder, or the package that export made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from self6d.errors import CheckpointError
from self6d.packaging.package import load_package
from self6d.paths import is_package
from self6d.runs.load_network import TrainedNetwork, load_network


def load_trained(
    path: str | Path,
    device: torch.device,
    *,
    views: int | None = None,
    instances: int | None = None,
) -> TrainedNetwork:
    """The network of a run, or of an exported package.

    Args:
        views, instances: see `NetworkConfig`; None: as configured.

    Raises:
        CheckpointError: neither, or damaged. InputError: a file is missing, or a number is out of
            range.
    """
    path = Path(path)
    if (path / "run.json").is_file():
        return load_network(path, device=device, views=views, instances=instances)
    if not is_package(path):
        raise CheckpointError(
            "is neither a run nor an exported package",
            path=path,
            remedy="Name a folder that train, adapt, quick or export made.",
        )
    package = load_package(path, device)
    network = package.network
    config = network.config if views is None else replace(network.config, views=views)
    network.config = config if instances is None else replace(config, instances=instances)
    return TrainedNetwork(network, package.models, package.camera, package.step)
