"""`quick`: track, colours, a short stage 1, learning from the track, export; one folder.

With a network to begin with: track, learning from the track, export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from self6d.arguments import checked
from self6d.datasets import open_dataset
from self6d.errors import InputError, Self6DError
from self6d.events import Listener
from self6d.files import noted_once
from self6d.geometry import Pose
from self6d.jobs.prepare import Changes, resolve_device
from self6d.jobs.track import check_same_track
from self6d.laptop.job import QuickJob
from self6d.laptop.order import ORDER, PACKAGE, TRACK
from self6d.laptop.record import QuickRecord
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import Paths
from self6d.runs.provenance import absolute


@dataclass(frozen=True)
class QuickRun:
    """What `quick` made.

    Attributes:
        path: the folder; in it the runs track, stage1 and adapted, the models with the recording's
            colours, and the exported package.
        status: "done" or "stopped".
        seconds: what each part took, by name, measuring included, in their order.
    """

    path: Path
    status: str
    seconds: dict[str, float]

    @property
    def package(self) -> Path:
        """The exported network, which needs RGB and K alone."""
        return self.path / PACKAGE


@checked
@noted_once()
def quick(
    data: str | Path,
    models: Paths | None,
    out: str | Path,
    *,
    init: str | Path | Pose | None = None,
    search: bool = False,
    from_run: str | Path | None = None,
    object_id: int | None = None,
    frame: int | None = None,
    scene: int | None = None,
    cuts: Sequence[int] = (),
    split: str | None = None,
    minutes: float | None = None,
    overrides: Changes = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    colours: bool = True,
    onnx: bool | None = None,
    resume: bool = False,
    take_lock: bool = False,
    check: bool = True,
    listener: Listener | None = None,
    control: Control | None = None,
) -> QuickRun:
    """From CAD files and a recording with depth to an exported network that needs RGB alone.

    Each part has a folder of its own in `out`: `track` follows the objects, `colours` are the CAD
    files with what the frames show of them, `stage1` trains the smallest network on synthetic
    images, `adapted` learns from the track, `package` is the export. At the start a few steps of
    each are made and timed, and notes say how long it will take. Stopped, it goes on with `resume`;
    a part that is done stays.

    Args:
        data: the recording, with depth. models: CAD files; None: the recording's own.
        out: folder to make; with `resume`, the one to go on with (made if it is not there).
        init: rough start pose, see `jobs.track`. search: look for the objects instead; also where
            no start is given. frame, scene: of a single start pose.
        from_run: run whose network finds the objects and then learns from their track: there is
            neither `colours` nor `stage1`; on a GPU with the preset "tracked".
        cuts: image numbers before which things were moved, see `jobs.track`.
        object_id: this object alone. split: named split; None: "adapt" where there is one.
        minutes: steps are made fewer or more so that all of it takes about as long, once more
            before each training begins, which then ends in its time. What is least, all frames
            followed and `FEWEST` steps a training, may be longer: that is said and then taken.
            None: `STEPS`, about 38 minutes on two idle cores; on a GPU those of the preset.
        overrides: {"train.steps": 100}, for every part.
        colours: train with the recording's colours on the CAD files, see `recolour`; else with
            their own.
        onnx: also write ONNX; None: where it is installed.
        check: stop if the doctor's fast checks find an error in the recording.

    Returns:
        folder, status and times; a stopped run has no package yet.

    Raises:
        InputError: `out` is not empty, or belongs to another recording. Self6DError: as the jobs.
    """
    if sum((init is not None, search, from_run is not None)) > 1:
        raise InputError("two starts are given", remedy="Give --init, --search or --from.")
    asked: dict[str, Any] = {
        "data": absolute(data), "split": split, "object": object_id, "seed": seed,
        "cuts": sorted(set(cuts)), "colours": colours, "from_run": absolute(from_run),
    }  # fmt: skip
    place = resolve_device(device)
    job = QuickJob(
        Path(out), Path(data), models, None if from_run is None else Path(from_run), split, seed,
        str(device), place.type == "cuda", colours and from_run is None, take_lock,
        listener or (lambda event: None), control or Control(patient=False), onnx,
    )  # fmt: skip
    job.record = QuickRecord(job.out, asked, resume=resume)
    try:
        begun = (job.out / TRACK / "run.json").exists()
        if begun:
            of = {"frame": frame, "scene": scene, "from_run": absolute(from_run)}
            run = RunFolder.open(job.out / TRACK)
            check_same_track(run, open_dataset(data), of, init, None, search=search)
        job.look_at_frames(overrides)
        follow = {
            "init": init, "from_run": from_run, "object_id": object_id,
            "search": init is None and from_run is None and not begun,
            "frame": frame, "scene": scene, "cuts": cuts,
        }  # fmt: skip
        if not begun or (check and not job.is_done(TRACK)):
            job.look_at_models(follow, begun=begun, check=check)
        status = "done" if job.run(follow, minutes) else "stopped"
    except Self6DError:
        job.record.withdraw()
        raise
    took = job.record.told["seconds"]
    return QuickRun(job.out, status, {name: took[name] for name in ORDER if name in took})
