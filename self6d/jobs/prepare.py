"""What every job needs first: device, camera, models, run folder, a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from self6d.config import from_dict, merge, overrides, to_dict
from self6d.datasets import Dataset, Recording, load_models, open_dataset
from self6d.datasets.intrinsics import read_intrinsics
from self6d.errors import CheckpointError, InputError, from_os_error
from self6d.geometry import Camera
from self6d.jobs.config import RunConfig, build_config
from self6d.network import NetworkConfig, PoseNetwork
from self6d.runs.checkpoint import checkpoint_fits, unpack
from self6d.runs.folder import RunFolder
from self6d.runs.models_copy import has_models, save_models
from self6d.scene import ObjectModel

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
        InputError: the folder is not empty, or cannot be made there.
        StorageError: the disk is full, read-only, or may not be written.
    """
    run = RunFolder.create(out, kind, to_dict(config), provenance, seed=seed)
    try:
        save_models(models, run.models_path)
    except OSError as error:
        raise from_os_error(error, run.path) from error
    return run


def reopen_run(out: str | Path, kind: str, changes: Changes) -> tuple[RunFolder, RunConfig] | None:
    """The run that `--resume` continues and its configuration; None if there is none yet.

    Raises:
        CheckpointError: damaged, or a run of another kind.
        InputError: a change to what the trained network is.
        StorageError: a changed configuration cannot be written.
    """
    path = Path(out)
    try:
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return None
    except OSError as error:
        raise from_os_error(error, path) from error
    run = RunFolder.open(path)
    if run.kind != kind:
        raise CheckpointError(
            f"is a run of kind {run.kind!r}, not {kind!r}", path=path, remedy="Name another folder."
        )
    config = build_config(None, changes, base=run.config)
    if kind != "synthetic":
        check_same_network(config.network, run)
    if changes:
        try:
            run.replace_config(to_dict(config))
        except OSError as error:
            raise from_os_error(error, path) from error
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
    views: int | None = None,
) -> TrainedNetwork:
    """The network of a run, in evaluation mode.

    Args:
        checkpoint: which one; the best, else the newest.
        models: CAD files to use instead of the run's copy; must have the same object numbers.
        views: boxes looked at per detection, see `NetworkConfig.views`; None: as configured.

    Raises:
        CheckpointError: no intact checkpoint, or one without a network.
        InputError: a model of the network is missing among `models`.
    """
    if not isinstance(run, RunFolder):
        run = RunFolder.open(run)
    state = run.load_checkpoint(checkpoint)
    with checkpoint_fits(run.path):
        tree = unpack(state.state())
    parts = {"network": dict, "object_ids": list, "network_config": dict}
    if not isinstance(tree, dict) or any(not isinstance(tree.get(k), v) for k, v in parts.items()):
        raise CheckpointError(
            "checkpoint holds no network", path=run.path, remedy="Name a train or adapt run."
        )
    given = run_models(run) if models is None else load_models(listed(models))
    by_id = {model.object_id: model for model in given}
    with checkpoint_fits(run.path):
        missing = [i for i in tree["object_ids"] if i not in by_id]
    if missing:
        raise InputError(
            f"no CAD model of object {missing[0]}, which the run's network knows",
            path=run.path,
            remedy="Give all of its models, or none to use the run's own copy.",
        )
    chosen = [by_id[i] for i in tree["object_ids"]]
    with checkpoint_fits(run.path):
        config = from_dict(NetworkConfig, tree["network_config"], prefix="network.")
        config.weights = config.crop_weights = "none"  # the checkpoint has them
        config = config if views is None else replace(config, views=views)
        network = PoseNetwork(config, chosen)
        network.load_state_dict(tree["network"])
        stored = tree.get("camera")
        camera = stored_camera(stored["K"], stored["size"]) if stored else None
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainedNetwork(network.eval(), chosen, camera, state.step)


def later_config(before: RunFolder, preset: str | Path, changes: dict[str, Any]) -> RunConfig:
    """The configuration of what starts from a run's network: its own, a preset, changes.

    Raises:
        InputError: unknown preset or key, wrong value, another network.
    """
    kept = {k: v for k, v in before.config.items() if k in ("network", "synthesis", "train")}
    config = build_config(preset, changes, base=kept)
    check_same_network(config.network, before)
    return config


def check_same_network(asked: NetworkConfig, run: RunFolder) -> None:
    """Stage 2 takes its network from a run: of its fields only `views` can change.

    Raises:
        InputError: another one differs.
    """
    there = from_dict(NetworkConfig, run.config.get("network", {}), prefix="network.")
    for name in (field.name for field in fields(NetworkConfig) if field.name != "views"):
        if getattr(asked, name) != getattr(there, name):
            raise InputError(
                f"network.{name} is part of the trained network "
                f"({getattr(there, name)!r}, not {getattr(asked, name)!r})",
                path=run.path,
                remedy="Set it in stage 1, or leave it out.",
            )


def default_split(dataset: Dataset, asked: str | None, usual: str) -> str | None:
    """The split asked for, else the usual one where the recording has it, else None: all frames."""
    return asked or (usual if usual in dataset.split_names() else None)


def some_frames(dataset: Recording, split: str | None, share: float = 1.0) -> Recording:
    """A split of a recording (None: all of it), thinned evenly to a share of its frames."""
    frames = dataset if split is None else dataset.split(split)
    if not 0 < share <= 1:
        raise InputError(f"share {share:g} is not between 0 and 1", remedy="0.15 is the paper's.")
    count = max(1, round(share * len(frames)))
    return frames.subset(np.linspace(0, len(frames) - 1, count).round().astype(int).tolist())


def stored_camera(K: list[list[float]], size: list[int]) -> Camera:
    """The camera of a run's JSON: K row by row, size (height, width)."""
    height, width = size
    return Camera(K, width, height)  # type: ignore[arg-type]


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
