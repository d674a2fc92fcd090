"""What can be said of a command's arguments before torch is loaded, which takes seconds.

The jobs say the same of the same faults; here a wrong path answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from self6d.config import Stage
from self6d.errors import CheckpointError, InputError
from self6d.files import NEW, OR_RESUME, check_free, is_there, read_poses, run_remedy
from self6d.paths import is_package, refiner_file, track_file


def check(
    *,
    data: Path | None = None,
    models: Sequence[Path] | None = None,
    runs: Sequence[Path | None] = (),
    trained: Path | None = None,
    camera: Path | None = None,
    refiner: Path | None = None,
    init: Path | None = None,
    files: Sequence[Path] = (),
    out: Path | None = None,
    resume: bool | None = None,
    preset: str | None = None,
    stage: Stage | None = None,
    assignments: Sequence[str] | None = None,
) -> None:
    """Check what the files and texts named in a command say by themselves.

    Args:
        data, camera, refiner: must be there. models, files: each must be there. runs: each must
            hold one. trained: a run, or an exported package. init: must be there and hold JSON, or
            be a track. out: must be new or empty, unless it is gone on with (`resume`; None: the
            command has no --resume).
        preset: must exist, and be for `stage`. assignments: must be KEY=VALUE.

    Raises:
        InputError, CheckpointError: as the job would.
    """
    for path, what in (
        (data, "there is no such folder"),
        (camera, "camera file is missing"),
        (None if refiner is None else refiner_file(refiner), "there is no such refiner"),
    ):
        if path is not None and not is_there(path):
            raise InputError(what, path=path, remedy="Check the path.")
    for path in models or ():
        if not is_there(path):
            raise InputError(
                "there is no such CAD file or folder", path=path, remedy="Check the path."
            )
    for path in files:
        if not is_there(path):
            raise InputError("there is no such file", path=path, remedy="Check the path.")
    if trained is not None and not is_package(trained):
        runs = [*runs, trained]
    for run in runs:
        if run is not None and not all(
            is_there(run / name) for name in ("run.json", "config.toml")
        ):
            raise CheckpointError(
                "not a run folder (no run.json and config.toml)",
                path=run,
                remedy=run_remedy(
                    run, "Name a folder that train, adapt or optimize wrote with --out."
                ),
            )
    if init is not None:
        read_poses(track_file(init))
    if out is not None and not resume:
        check_free(out, NEW if resume is None else OR_RESUME)
    if preset is not None:
        from self6d.config import load_preset

        load_preset(preset, stage)
    if assignments:
        from self6d.config import overrides

        overrides(list(assignments))


def recording(
    path: Path,
    split: str | None = None,
    usual: str = "",
    *,
    number: tuple[int, int | None] | None = None,
    read: bool = True,
) -> None:
    """Open a recording, its split, and a frame that the job is sure to read.

    Args:
        split: as asked for. usual: the job's own, where the recording has it.
        number: image and scene of the frame; the first of the split by default.
        read: False where the job may never read that frame.

    Raises:
        InputError: as the job would.
    """
    import logging

    from self6d.datasets.registry import open_dataset
    from self6d.datasets.splits import default_split

    log = logging.getLogger("self6d")
    silent, log.disabled = log.disabled, True  # the job opens it again, and says it then
    try:
        dataset = open_dataset(path)
        chosen = default_split(dataset, split, usual)
        frames = dataset if chosen is None else dataset.split(chosen)
        index = 0 if number is None else frames.index(*number)
        if read:
            # depth of a camera of its own needs what is compiled, and is looked at by the job
            own = frames.source(frames.keys[index]).depth_camera is not None
            frames.frame(index, depth=not own)
    finally:
        log.disabled = silent


def recording_or_camera(path: Path, *, read: bool = True) -> None:
    """The same for what may be a camera file as well."""
    from self6d.datasets.intrinsics import read_intrinsics
    from self6d.datasets.registry import is_recording

    if is_recording(path):
        recording(path, read=read)
    else:
        read_intrinsics(path)
