"""What every job needs first: device, camera, run folder, configuration."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from self6d.config import from_dict, merge, overrides, to_dict
from self6d.datasets import Recording, UnlabelledFrames, open_dataset
from self6d.datasets.intrinsics import Intrinsics, read_intrinsics
from self6d.datasets.registry import is_recording
from self6d.datasets.splits import default_split, some_frames
from self6d.doctor import doctor
from self6d.engine.reporting import in_phases
from self6d.errors import CheckpointError, InputError, from_os_error
from self6d.events import Event, Listener, Note, Progress, Told, told_to_nobody
from self6d.files import is_free
from self6d.geometry import Camera
from self6d.network import NetworkConfig
from self6d.network.config import OF_PREDICTION
from self6d.run_config import RunConfig, build_config
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import Paths, listed
from self6d.runs.provenance import Provenance, absolute, dotted
from self6d.scene import ObjectModel
from self6d.scene.models_copy import save_models
from self6d.stage1.recorded_ranges import with_recorded_ranges

Changes = dict[str, Any] | list[str] | None


def telling(listener: Listener | None) -> Told:
    """How a job says what it does before its first step, as `Preparing` events."""
    return told_to_nobody if listener is None else in_phases(listener)


def changes_of(given: Changes, named: dict[str, Any]) -> dict[str, Any]:
    """Overrides as nested dicts, with those of named arguments that are not None on top."""
    own = {key: value for key, value in named.items() if value is not None}
    return merge(overrides(given or []), overrides(own))


def asked_for(
    preset: str | Path,
    changes: Changes,
    models: Paths | None,
    steps: int | None,
    device: str | torch.device,
    minutes: float | None = None,
) -> dict[str, Any]:
    """The fields of `Provenance` that every job's command has.

    Raises:
        InputError: models are no paths.
    """
    given = [] if models is None else listed(models)
    named = [given] if isinstance(given, str | Path) else given
    file = absolute(preset) if Path(preset).suffix == ".toml" else str(preset)
    return {
        "preset": file,
        "overrides": dotted(overrides(changes or {})),
        "models": tuple(str(Path(path).absolute()) for path in named),
        "steps": steps,
        "minutes": minutes,
        "device": str(device),
    }


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
    if is_recording(path):
        return open_dataset(path).frame(0).camera
    stated = read_intrinsics(path)
    if stated.width is None or stated.height is None:
        raise InputError(
            "camera file does not state the image size",
            path=path,
            remedy='Add "width" and "height" in pixels.',
        )
    return stated.camera(stated.width, stated.height)


def resolve_intrinsics(camera: Camera | str | Path) -> Intrinsics:
    """What is known of the camera of images that come without one, their distortion included.

    Args:
        camera: as `resolve_camera`; a recording gives what its first frame's files state.

    Raises:
        InputError: neither.
    """
    if isinstance(camera, Camera):
        return Intrinsics(camera.K_opencv, camera.width, camera.height)
    path = Path(camera)
    if not is_recording(path):
        return read_intrinsics(path)
    dataset = open_dataset(path)
    view = dataset.frame(0).camera
    stated = dataset.source(dataset.keys[0]).intrinsics
    return Intrinsics(
        view.K_opencv, view.width, view.height, source=path, distortion=stated.distortion
    )


def images_seen(
    config: RunConfig,
    camera: Camera | str | Path | None,
    view: Camera | None,
    objects: Sequence[ObjectModel],
    listener: Listener | None,
    tell: Told = told_to_nobody,
) -> dict[str, Any]:
    """What a recording lends a training on synthetic images, as fields of a `Provenance`.

    Sets `config.synthesis` to the distances its depth shows, and says so.

    Args:
        camera: as the user named it. view: what it came to, see `resolve_camera`.
        tell: hears what it does.
    """
    tell("measuring how far objects are in the recording", 0, 1)
    config.synthesis, ranges = with_recorded_ranges(config.synthesis, camera, objects)
    if ranges and listener is not None:
        listener(Note("info", ranges))
    return {
        "camera": absolute(camera),
        "ranges": ranges or None,
        "K": None if view is None else view.K.tolist(),
        "image_size": None if view is None else list(view.size),
    }


def frames_to_learn(dataset: Recording, split: str | None, share: float = 1.0) -> UnlabelledFrames:
    """A recording's frames without labels.

    Args:
        split: named split; None: "adapt" if it has one, else all. share: of them, spread evenly.
    """
    return UnlabelledFrames(some_frames(dataset, default_split(dataset, split, "adapt"), share))


def open_run(
    out: str | Path,
    kind: str,
    config: RunConfig,
    provenance: Provenance,
    *,
    seed: int,
    models: Sequence[ObjectModel],
) -> RunFolder:
    """A new run folder with its own copy of the models.

    Raises:
        InputError: the folder is not empty, or cannot be made there.
        StorageError: the disk is full, read-only, or may not be written.
    """
    run = RunFolder.create(out, kind, to_dict(config), provenance.to_dict(), seed=seed)
    try:
        save_models(models, run.models_path)
    except OSError as error:
        raise from_os_error(error, run.path) from error
    return run


def reopen_run(
    out: str | Path,
    kind: str,
    changes: Changes,
    asked: dict[str, Any] | None = None,
    check: Callable[[RunFolder], None] | None = None,
) -> tuple[RunFolder, RunConfig] | None:
    """The run that `--resume` continues and its configuration; None if there is none yet.

    Args:
        asked: what this command asks for, as fields of a Provenance; the run records it.
        check: raises where the command asks for what the run cannot change, see `jobs.kept`;
            called before anything is written.

    Raises:
        CheckpointError: damaged, or a run of another kind.
        InputError: a change to what the trained network is.
        StorageError: a changed configuration cannot be written.
    """
    path = Path(out)
    if is_free(path):
        return None
    run = RunFolder.open(path)
    if run.kind != kind:
        raise CheckpointError(
            f"is a run of kind {run.kind!r}, not {kind!r}", path=path, remedy="Name another folder."
        )
    if check is not None:
        check(run)
    config = build_config(None, changes, base=run.config)
    if kind != "synthetic":
        check_same_network(config.network, run)
    stored = run.info["provenance"]
    told = Provenance.from_dict(stored).resumed(kind, asked or {}).into(stored)
    try:
        if changes:
            run.replace_config(to_dict(config))
        if asked and told != stored:
            run.update(provenance=told)
    except OSError as error:
        raise from_os_error(error, path) from error
    return run, config


def later_config(before: RunFolder, preset: str | Path, changes: dict[str, Any]) -> RunConfig:
    """The configuration of what starts from a run's network: its own, a preset, changes.

    Raises:
        InputError: unknown preset or key, wrong value, another network.
    """
    kept = {k: v for k, v in before.config.items() if k in ("network", "synthesis", "train")}
    config = build_config(preset, changes, base=kept, stage=2)
    check_same_network(config.network, before)
    return config


def check_same_network(
    asked: NetworkConfig, run: RunFolder, changeable: Container[str] = OF_PREDICTION
) -> None:
    """A network taken from a run keeps its form.

    Args:
        changeable: fields that may differ; stage 2 takes all but those of prediction as they are.

    Raises:
        InputError: another one differs.
    """
    there = from_dict(NetworkConfig, run.config.get("network", {}), prefix="network.")
    for name in (f.name for f in fields(NetworkConfig) if f.name not in changeable):
        if getattr(asked, name) != getattr(there, name):
            raise InputError(
                f"network.{name} is part of the trained network "
                f"({getattr(there, name)!r}, not {getattr(asked, name)!r})",
                path=run.path,
                remedy="Leave it out, or train stage 1 anew with it.",
            )


def check_recording(
    path: str | Path, models: Sequence[ObjectModel], tell: Told = told_to_nobody
) -> None:
    """Stop a job whose recording is wrong before it costs hours: nobody runs the doctor first.

    Args:
        path: of the recording. models: against whose size depth is weighed.
        tell: hears how far it is.

    Raises:
        InputError: the gravest of the errors that the doctor finds at a glance.
    """

    def passed_on(event: Event) -> None:
        if isinstance(event, Progress):
            tell(f"checking the recording: {event.phase}", event.step, event.total)

    report = doctor.examine(path, models, listener=passed_on, quick=True)
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if not errors:
        return
    first, more = errors[0], len(errors) - 1
    rest = f" ({more} more)" if more else ""
    remedy = f"{first.remedy} " if first.remedy else ""
    raise InputError(
        f"{first.what}{rest}",
        path=first.path or path,
        remedy=f"{remedy}All of it: self6d-studio doctor {path}. To start anyhow: --no-check.",
    )
