"""A recording with poses over it as one file of Rerun, to be looked at in its viewer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from self6d.datasets import Dataset, open_dataset
from self6d.datasets.pose_track import PoseTrack, check_belongs, read_pose_track
from self6d.errors import InputError, MissingDependencyError, StorageError
from self6d.events import Listener, Progress
from self6d.files import check_new
from self6d.geometry import Pose
from self6d.runs.load_network import Paths, models_of_track
from self6d.scene import ObjectModel
from self6d.scene.units import check_unit
from self6d.storage import whole_file

APPLICATION, POSES = "self6d-studio", "camera/poses"
QUALITY = 90  # of the JPEG images
PER_METRE = 1000.0  # depth is stored in millimetres


class Shown(NamedTuple):
    """A pose of an object on a frame: model to camera, metres; score in [0, 1]."""

    object_id: int
    pose: Pose
    score: float = 1.0


Poses = Mapping[int, Sequence[Shown]]
"""By index of the frame."""
Curves = Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]
"""By run and quantity: steps (N,) and values (N,), as of `RunFolder.curves`."""


def have_rerun() -> bool:
    """Whether the package rerun-sdk is installed."""
    return find_spec("rerun") is not None


def poses_of(track: PoseTrack, dataset: Dataset) -> Poses:
    """A track's poses by index of the frame; where the object is lost there is none."""
    places = {key: index for index, key in enumerate(dataset.keys)}
    found: dict[int, list[Shown]] = {}
    for tracked in track.poses:
        if tracked.pose is not None:
            shown = Shown(tracked.object_id, tracked.pose, tracked.confidence)
            found.setdefault(places[tracked.key], []).append(shown)
    return found


def export_rrd(
    data: str | Path,
    track: str | Path | None,
    models: Paths | None,
    out: str | Path,
    *,
    unit: str = "auto",
    listener: Listener | None = None,
) -> Path:
    """`write_rrd` of a recording with a track's poses.

    Args:
        track: poses.json of a run of `track`; None: the recording alone.
        models: CAD files; None: those of the track's run, else the recording's own.
        unit: see `load_models`.
    """
    check_unit(unit)
    dataset = open_dataset(data)
    if track is None:
        return write_rrd(out, dataset, (), {}, listener)
    objects, poses = models_of_track(models, track, dataset, unit), read_pose_track(track)
    check_belongs(poses, track, dataset, [model.object_id for model in objects])
    return write_rrd(out, dataset, objects, {"track": poses_of(poses, dataset)}, listener)


def write_rrd(
    out: str | Path,
    dataset: Dataset,
    models: Sequence[ObjectModel],
    layers: Mapping[str, Poses],
    listener: Listener | None = None,
    curves: Curves | None = None,
    *,
    replace: bool = False,
) -> Path:
    """Images, depth, intrinsics, CAD models at their poses, and scores over the frames.

    The timeline is "frame", counted from 1 as in the window. Every frame stands in its own camera's
    frame: x right, y down, z forward, metres. Curves have a timeline of their own, "step".

    Args:
        out: file, ending in .rrd. layers: poses by the name they are shown under.
        curves: of runs, written under curves/RUN/NAME. replace: a file that is there gives way.

    Raises:
        MissingDependencyError: rerun-sdk is not installed.
        InputError: the file exists or does not end so. StorageError: it cannot be written.
    """
    out = Path(out)
    if not have_rerun():
        raise MissingDependencyError(
            "a .rrd file is written by the package rerun-sdk",
            remedy='Install it: pip install "self6d-studio[rerun]"',
        )
    if not replace:
        check_new(out)
    if out.suffix != ".rrd":
        raise InputError("is no name of a file of Rerun", path=out, remedy="End it in .rrd.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as part:
            _write(part, dataset, models, layers, listener, curves or {})
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror or error})", path=out,
            remedy="Free space or name another file.",
        ) from None  # fmt: skip
    return out


def _write(
    part: Path, dataset: Dataset, models: Sequence[ObjectModel], layers: Mapping[str, Poses],
    listener: Listener | None, curves: Curves,
) -> None:  # fmt: skip
    import rerun as rr

    known = {model.object_id: model for model in models}
    placed = _placed(layers, known)
    with rr.RecordingStream(APPLICATION) as stream:
        stream.save(part)
        stream.log("camera", rr.ViewCoordinates.RDF, static=True)
        names = {name: shown.object_id for frame in placed.values() for name, shown in frame}
        for name, object_id in names.items():
            stream.log(f"{POSES}/{name}/cad", _mesh(rr, known[object_id]), static=True)
        absent: set[str] = set()
        for index in range(len(dataset)):
            stream.set_time("frame", sequence=index + 1)
            frame = dataset.frame(index)
            height, width = frame.camera.size
            hole = rr.Pinhole(image_from_camera=frame.camera.K, width=width, height=height)
            stream.log("camera/image", hole, rr.Image(frame.rgb).compress(jpeg_quality=QUALITY))
            if frame.depth_m is not None:
                depth = np.round(np.nan_to_num(frame.depth_m) * PER_METRE).clip(0, 65535)
                image = rr.DepthImage(depth.astype(np.uint16), meter=PER_METRE)
                stream.log("camera/depth", hole, image)
            here = dict(placed.get(index, ()))
            for name, shown in here.items():
                at = rr.Transform3D(
                    translation=shown.pose.t_m2c, mat3x3=shown.pose.R_m2c, scale=1.0
                )
                stream.log(f"{POSES}/{name}", at)
                stream.log(f"scores/{name}", rr.Scalars(shown.score))
            for name in names.keys() - here.keys() - absent:
                # a CAD model without a pose would stand in the camera
                stream.log(f"{POSES}/{name}", rr.Transform3D(scale=0.0))
            absent = names.keys() - here.keys()
            if listener is not None:
                listener(Progress(index + 1, len(dataset), None, "rrd"))
        for run, series in curves.items():
            for name, (steps, values) in series.items():
                at_steps = rr.TimeColumn("step", sequence=np.asarray(steps, np.int64))
                columns = rr.Scalars.columns(scalars=values)
                stream.send_columns(f"curves/{run}/{name}", [at_steps], columns)
        stream.flush()


def _placed(
    layers: Mapping[str, Poses], known: Mapping[int, ObjectModel]
) -> dict[int, list[tuple[str, Shown]]]:
    """Poses by frame, under names of their own: layer/object, numbered from the second on."""
    placed: dict[int, list[tuple[str, Shown]]] = {}
    for layer, poses in layers.items():
        for index, frame in poses.items():
            count: Counter[int] = Counter()
            for shown in frame:
                count[shown.object_id] += 1
                number = count[shown.object_id]
                name = f"{layer}/{known[shown.object_id].name}"
                name = name if number == 1 else f"{name}-{number}"
                placed.setdefault(index, []).append((name, shown))
    return placed


def _mesh(rr: Any, model: ObjectModel) -> Any:
    colours = np.round(model.colors * 255).astype(np.uint8)
    return rr.Mesh3D(
        vertex_positions=model.vertices, triangle_indices=model.faces, vertex_colors=colours
    )
