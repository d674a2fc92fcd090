"""What every job needs first: device, camera, models, run folder, a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from self6d.config import from_dict, merge, overrides, to_dict
from self6d.datasets import load_models, open_dataset
from self6d.datasets.intrinsics import read_intrinsics
from self6d.errors import CheckpointError, InputError
from self6d.geometry import Camera
from self6d.network import NetworkConfig, PoseNetwork
from self6d.run_config import RunConfig, build_config
from self6d.scene import ObjectModel
from self6d.training.checkpoint import unpack
from self6d.training.run_folder import RunFolder
from self6d.training.run_models import has_models, save_models

Paths = str | Path | Sequence[str | Path]
Changes = dict[str, Any] | list[str] | None


@dataclass
class TrainedNetwork:
    """A run's network, ready to use.

    Attributes:
        models: its objects, in the order of `object_index`.
        camera: of the images it was trained on; None if unknown.
        step: steps trained.
    """

    network: PoseNetwork
    models: list[ObjectModel]
    camera: Camera | None
    step: int


def changes_of(given: Changes, named: dict[str, Any]) -> dict[str, Any]:
    """Overrides as nested dicts, with those of named arguments that are not None on top."""
    own = {key: value for key, value in named.items() if value is not None}
    return merge(overrides(given or []), overrides(own))


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """The device of a name; "auto" is CUDA if there is one.

    Raises:
        InputError: no such device.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(
            f"{name!r} is not a device", remedy="Use auto, cpu, cuda or cuda:N."
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"there is no device {name} here ({torch.cuda.device_count()} CUDA devices)",
            remedy="Use --device cpu, or install torch for your GPU.",
        )
    return device


def resolve_camera(camera: Camera | str | Path | None) -> Camera | None:
    """A camera, or that of a recording's first frame, or that of a camera file.

    Raises:
        InputError: neither.
    """
    if camera is None or isinstance(camera, Camera):
        return camera
    path = Path(camera)
    if path.is_dir():
        return open_dataset(path).frame(0).camera
    stated = read_intrinsics(path)
    if stated.width is None or stated.height is None:
        raise InputError(
            "camera file does not state the image size",
            path=path,
            remedy='Add "width" and "height" in pixels.',
        )
    return stated.camera(stated.width, stated.height)


def open_run(
    out: str | Path,
    kind: str,
    config: RunConfig,
    provenance: dict[str, Any],
    *,
    seed: int,
    models: Sequence[ObjectModel],
) -> RunFolder:
    """A new run folder with its own copy of the models.

    Raises:
        InputError: the folder is not empty.
    """
    run = RunFolder.create(out, kind, to_dict(config), provenance, seed=seed)
    save_models(models, run.models_path)
    return run


def reopen_run(out: str | Path, kind: str, changes: Changes) -> tuple[RunFolder, RunConfig] | None:
    """The run that `--resume` continues and its configuration; None if there is none yet.

    Raises:
        CheckpointError: damaged, or a run of another kind.
    """
    path = Path(out)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    run = RunFolder.open(path)
    if run.kind != kind:
        raise CheckpointError(
            f"is a run of kind {run.kind!r}, not {kind!r}", path=path, remedy="Name another folder."
        )
    config = build_config(None, changes, base=run.config)
    if changes:
        run.replace_config(to_dict(config))
    return run, config


def run_models(run: RunFolder) -> list[ObjectModel]:
    """The run's own copy of its models.

    Raises:
        CheckpointError: the copy is not complete.
    """
    if not has_models(run.models_path):
        raise CheckpointError(
            "run has no complete copy of its models",
            path=run.path,
            remedy="Its start was interrupted: delete it and start again.",
        )
    return load_models(run.models_path, unit="mm")


def load_network(
    run: RunFolder | str | Path,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    models: Paths | None = None,
) -> TrainedNetwork:
    """The network of a run, in evaluation mode.

    Args:
        checkpoint: which one; the best, else the newest.
        models: CAD files to use instead of the run's copy; must have the same object numbers.

    Raises:
        CheckpointError: no intact checkpoint, or one without a network.
        InputError: a model of the network is missing among `models`.
    """
    if not isinstance(run, RunFolder):
        run = RunFolder.open(run)
    state = run.load_checkpoint(checkpoint)
    tree = unpack(state.state())
    if not isinstance(tree, dict) or "network" not in tree or "object_ids" not in tree:
        raise CheckpointError(
            "checkpoint holds no network", path=run.path, remedy="Name a train or adapt run."
        )
    given = run_models(run) if models is None else load_models(listed(models))
    by_id = {model.object_id: model for model in given}
    missing = [i for i in tree["object_ids"] if i not in by_id]
    if missing:
        raise InputError(
            f"no CAD model of object {missing[0]}, which the run's network knows",
            path=run.path,
            remedy="Give all of its models, or none to use the run's own copy.",
        )
    chosen = [by_id[i] for i in tree["object_ids"]]
    config = from_dict(NetworkConfig, tree["network_config"], prefix="network.")
    config.weights = config.crop_weights = "none"  # the checkpoint has them
    network = PoseNetwork(config, chosen)
    try:
        network.load_state_dict(tree["network"])
    except RuntimeError as error:
        raise CheckpointError(
            f"weights do not fit the network ({str(error).splitlines()[0][:120]})",
            path=run.path,
            remedy="Use the version of self6d-studio that wrote it.",
        ) from error
    return TrainedNetwork(network.to(device).eval(), chosen, _camera(tree), state.step)


def _camera(tree: dict[str, Any]) -> Camera | None:
    stored = tree.get("camera")
    if not stored:
        return None
    height, width = stored["size"]
    return Camera(stored["K"], width, height)


def listed(models: Paths) -> str | Path | list[str | Path]:
    """A single folder in a list is that folder."""
    if isinstance(models, str | Path):
        return models
    files = list(models)
    return files[0] if len(files) == 1 else files


def load_given_models(models: Paths) -> list[ObjectModel]:
    """CAD models as the user names them: files, or one folder.

    Raises:
        InputError: none there, or one cannot be read.
    """
    return load_models(listed(models))
