"""A trained network read back from its run folder, with the models and the camera it knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import torch

from self6d.datasets import Recording, load_models
from self6d.errors import CheckpointError, InputError
from self6d.files import is_there, note, read_json
from self6d.geometry import Camera
from self6d.network import NetworkConfig, PoseNetwork
from self6d.runs.checkpoint import checkpoint_fits, unpack
from self6d.runs.folder import RunFolder
from self6d.runs.provenance import HOME, Provenance
from self6d.scene import ObjectModel, of_one_size
from self6d.scene.models_copy import has_models, read_models
from self6d.scene.units import check_unit

Paths = str | Path | Iterable[str | Path]


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

    def unlike_learned(self, height: int) -> str:
        """What is to be said of images so many rows high; "" where it learned from such."""
        rows = height if self.camera is None else self.camera.height
        if self.network.config.image_height or 0.9 < height / rows < 1.1:
            return ""
        return (
            f"the images are {height} rows high and the network, which looks at them as they are, "
            f"learned from {rows}: expect few and wrong poses where objects are as much "
            f"{'larger' if height > rows else 'smaller'} in them. Scale the images, and K with them"
        )


def load_network(
    run: RunFolder | str | Path,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    models: Paths | None = None,
    unit: str = "auto",
    views: int | None = None,
    instances: int | None = None,
) -> TrainedNetwork:
    """The network of a run, in evaluation mode.

    Args:
        checkpoint: which one; the best, else the newest.
        models: CAD files to use instead of the run's copy; must have the same object numbers.
        unit: of those files, see `load_models`.
        views, instances: see `NetworkConfig`; None: as configured.

    Raises:
        CheckpointError: no intact checkpoint, or one without a network.
        InputError: a model of the network is missing among `models`; no such unit, or number of
            views or instances.
    """
    check_unit(unit)
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
    given = run_models(run) if models is None else load_given_models(models, unit)
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
        config = NetworkConfig.of_checkpoint(tree["network_config"])
        config.weights = config.crop_weights = "none"  # the checkpoint has them
    # not within: a wrong number given here is no fault of the checkpoint
    config = config if views is None else replace(config, views=views)
    config = config if instances is None else replace(config, instances=instances)
    with checkpoint_fits(run.path):
        network = PoseNetwork(config, chosen)
        network.load_state_dict(tree["network"])
        stored = tree.get("camera")
        camera = stored_camera(stored["K"], stored["size"]) if stored else None
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainedNetwork(network.eval(), chosen, camera, state.step)


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
    return read_models(run.models_path)


def run_camera(run: RunFolder) -> Camera | None:
    """The camera whose images a run makes; None: the common one."""
    stored = run.info["provenance"]
    if "K" not in stored:
        return None
    with checkpoint_fits(run.path):
        return stored_camera(stored["K"], stored["image_size"])


def load_given_models(models: Paths, unit: str = "auto") -> list[ObjectModel]:
    """CAD models as the user names them: files, or one folder.

    Raises:
        InputError: none there, or one cannot be read.
    """
    return load_models(listed(models), unit)


def models_of_track(
    models: Paths | None, track: str | Path, recording: Recording, unit: str = "auto"
) -> list[ObjectModel]:
    """The CAD models that a track's poses are of: as named, else its run's copy, else the
    recording's own. Where its run was made on another recording, a note says so.

    Args:
        track: a file of poses, or a folder that has some; neither need be a run's.

    Raises:
        InputError: there are none, one cannot be read, or one named is another thing than the
            run's of that number.
    """
    folder = Path(track) if Path(track).is_dir() else Path(track).parent
    own: list[ObjectModel] = []
    if (folder / "run.json").is_file() and has_models(folder / "models"):
        run = RunFolder.open(folder)
        own = run_models(run)
        _say_if_of_another(run, recording)
    if models is not None:
        return _of_same_size(load_given_models(models, unit), own, folder)
    if own:
        return own
    if recording.models_path is None:
        raise InputError(
            "the recording brings no CAD models, and no run's copy lies beside the track",
            path=recording.root,
            remedy="Name them with --models.",
        )
    return load_given_models(recording.models_path, unit)


def _say_if_of_another(run: RunFolder, recording: Recording) -> None:
    """Numbers of frames tell recordings apart that differ in them; all that begin at 0 do not."""
    told, file = Provenance.from_dict(run.info["provenance"]), run.path / HOME
    if file.is_file():  # made elsewhere
        told = told.back_home(read_json(file))
    if told.data is None:
        return
    made, root = Path(told.data).resolve(), Path(recording.root).resolve()
    if root in (made, made.parent if made.is_file() else made):  # a single image's is its folder
        return
    moved = "" if is_there(made) else ", which is no longer there"
    note(
        run.path,
        f"was made on {made}{moved}, not on {root}: its poses are taken for the frames of the same "
        "numbers, which is right if it is the same recording",
    )


def _of_same_size(
    models: list[ObjectModel], own: list[ObjectModel], folder: Path
) -> list[ObjectModel]:
    tracked = {model.object_id: model for model in own}
    for model in models:
        one = tracked.get(model.object_id, model)
        if not of_one_size(one, model):
            raise InputError(
                f"its poses of object {model.object_id} are of {one.name} "
                f"({1000 * one.diameter:.0f} mm), not of {model.name} "
                f"({1000 * model.diameter:.0f} mm), or of another origin",
                path=folder,
                remedy="Give the CAD file that was tracked, in its unit, or leave out --models.",
            )
    return models


def listed(models: Paths) -> str | Path | list[str | Path]:
    """Models as they can be read more than once; a single folder in a list is that folder.

    Raises:
        InputError: neither a path nor a list of such.
    """
    if isinstance(models, str | Path):
        return models
    files = list(models) if isinstance(models, Iterable) else [models]
    for file in files:
        if not isinstance(file, str | PathLike):
            raise InputError(
                f"models: {type(file).__name__} is no path",
                remedy="Give the path of a folder, or a list of paths of CAD files.",
            )
    return files[0] if len(files) == 1 else files


def stored_camera(K: list[list[float]], size: list[int]) -> Camera:
    """The camera of a run's JSON: K row by row, size (height, width)."""
    height, width = size
    return Camera(K, width, height)  # type: ignore[arg-type]
