"""Tracking held against reference poses: from rough starts, backward, and searched for."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from self6d import jobs
from self6d.datasets import Recording, open_dataset
from self6d.datasets.pose_track import PoseTrack, TrackState, read_pose_track
from self6d.datasets.recording import upper_bound_truth
from self6d.errors import InputError
from self6d.evaluation.metrics import add_or_add_s
from self6d.events import Listener, Progress
from self6d.experiments.common import interrupted
from self6d.geometry import Pose
from self6d.jobs.prepare import Changes
from self6d.losses.objective import SelfSupervision
from self6d.paths import POSES
from self6d.refinement.task import pose_errors
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.runs.load_network import Paths, load_given_models
from self6d.scene import GroundTruth, ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.storage import atomic_write
from self6d.tracking.evidence import DEFAULT
from self6d.tracking.fit import ObjectFitter
from self6d.tracking.follow import seek

BINS = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


@dataclass
class Score:
    """Poses of one object against the truth of the frames that have one.

    Attributes:
        error: (N,) ADD(-S) in diameters; infinite where lost. degrees, mm: (N,), NaN where lost.
        confidence: (N,), 0 where lost. seconds: of the whole, by frame.
    """

    error: list[float] = field(default_factory=list)
    degrees: list[float] = field(default_factory=list)
    mm: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def add(
        self, model: ObjectModel, truth: GroundTruth, pose: Pose | None, confidence: float
    ) -> None:
        """One frame."""
        if pose is None:
            row = (float("inf"), float("nan"), float("nan"), 0.0)
        else:
            R, t = pose.R_m2c[None], pose.t_m2c[None]
            true = truth.pose
            error = add_or_add_s(
                R, t, true.R_m2c[None], true.t_m2c[None], model.vertices, model.symmetric
            )
            angle, distance = pose_errors(torch.from_numpy(R), torch.from_numpy(t), truth, model)
            row = (float(error[0]) / model.diameter, float(angle), float(distance), confidence)
        for values, value in zip(
            (self.error, self.degrees, self.mm, self.confidence), row, strict=True
        ):
            values.append(value)

    def summary(self, threshold: float) -> dict[str, Any]:
        """Recalls in %, medians of what is not lost, how often sure poses are right."""
        error, confidence = np.array(self.error), np.array(self.confidence)
        sure = confidence >= threshold
        found = np.isfinite(error)
        median = lambda x: float(np.median(np.array(x)[found])) if found.any() else None  # noqa: E731
        return {
            "frames": len(error),
            **{f"recall_{k}": 100 * float((error < k / 100).mean()) for k in (10, 5, 2)},
            "rotation_deg": median(self.degrees),
            "translation_mm": median(self.mm),
            "lost": int((~found).sum()),
            "sure": int(sure.sum()),
            "sure_right": 100 * float((error[sure] < 0.1).mean()) if sure.any() else None,
            "reliability": reliability(error < 0.1, confidence),
            "seconds_a_frame": self.seconds,
        }


def reliability(right: np.ndarray, confidence: np.ndarray) -> list[dict[str, float]]:
    """By bin of confidence: how many poses, their mean confidence and the share that is right."""
    rows = []
    for low, high in itertools.pairwise(BINS):
        last = high == BINS[-1]
        own = (confidence >= low) & ((confidence <= high) if last else (confidence < high))
        own &= confidence > 0
        if own.any():
            rows.append(
                {
                    "from": low,
                    "to": high,
                    "poses": int(own.sum()),
                    "confidence": float(confidence[own].mean()),
                    "right": float(right[own].mean()),
                }
            )
    return rows


def disturbed(pose: Pose, centre: np.ndarray, degrees: float, mm: float, seed: int) -> Pose:
    """A pose turned about the model's centre and shifted by so much, each in a random direction."""
    rng = np.random.default_rng(seed)
    axis, way = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    R = Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix() @ pose.R_m2c
    middle = pose.R_m2c @ centre + pose.t_m2c + mm / 1000 * way
    return Pose(R, middle - R @ centre)


def run_track(
    data: str | Path,
    models: Paths | None,
    out: str | Path,
    *,
    object_id: int | None = None,
    starts: int = 10,
    degrees: float = 10.0,
    mm: float = 20.0,
    backward: bool = False,
    search: int = 0,
    cuts: Sequence[int] = (),
    overrides: Changes = None,
    device: str = "cpu",
    seed: int = 0,
    listener: Listener | None = None,
    control: Control | None = None,
) -> str:
    """Follow objects from disturbed reference poses and score what comes; goes on where it stopped.

    Args:
        data: recording with reference poses, in some frames at least.
        out: folder of results: `table.json`, and a run for each start.
        object_id: only this one. starts: how many random starts. degrees, mm: how far off.
        backward: start from the last frame that has a reference pose instead of the first.
        search: also look for the object in so many frames without any start.
        cuts: image numbers before which the recording was interrupted: each piece gets start poses
            of its own and nothing is followed across.

    Returns:
        the table as text.

    Raises:
        InputError: no frame has a reference pose of an object.
    """
    out = Path(out)
    recording = open_dataset(data)
    source = models if models is not None else recording.models_path
    if source is None:
        raise InputError("the recording brings no CAD models", remedy="Name them with --models.")
    chosen = [m for m in load_given_models(source) if object_id in (None, m.object_id)]
    threshold = build_config("track", stage="track").track.weak
    table: dict[str, Any] = {"data": str(data), "starts": starts, "degrees": degrees, "mm": mm}
    scores: dict[str, Score] = {}
    control = control or Control(patient=False)
    for model in chosen:
        for k in range(starts):
            name = f"{model.name}-{'back' if backward else 'forth'}-{seed + k:02d}"
            init = _starts(recording, model, degrees, mm, seed + k, backward, cuts)
            began = time.monotonic()
            run = jobs.track(
                data, source, out / name, init=init, object_id=model.object_id, cuts=cuts,
                overrides=overrides, seed=seed + k, device=device, resume=True, listener=listener,
                control=control,
            )  # fmt: skip
            if run.status != "done":
                raise interrupted(out)
            track = read_pose_track(run.path / POSES)
            score = _scored(recording, model, track)
            score.seconds = (time.monotonic() - began) / len(recording)
            scores[name] = score
            table[name] = score.summary(threshold)
            _write(out, table)
        if search:
            name = f"{model.name}-search"
            scores[name] = _searched(
                recording, model, search, overrides, device, seed, listener, control
            )
            if control.stopping:  # a part of the frames is no result
                raise interrupted(out)
            table[name] = scores[name].summary(threshold)
            _write(out, table)
    everything = Score()
    for score in scores.values():
        for name in ("error", "degrees", "mm", "confidence"):
            getattr(everything, name).extend(getattr(score, name))
    everything.seconds = float(np.mean([s.seconds for s in scores.values()]))
    table["all"] = everything.summary(threshold)
    _write(out, table)
    return _text(table)


def _starts(
    recording: Recording,
    model: ObjectModel,
    degrees: float,
    mm: float,
    seed: int,
    backward: bool,
    cuts: Sequence[int],
) -> PoseTrack:
    """Disturbed reference poses; of frames to adapt to, their references serve for this alone."""
    from self6d.datasets.pose_track import TrackedPose

    known = upper_bound_truth(recording)
    indices = list(range(len(recording)))
    firsts = sorted({0, *(recording.index(i) for i in cuts)})
    rows = []
    for first, end in zip(firsts, [*firsts[1:], len(indices)], strict=True):
        part = indices[first:end]
        for i in reversed(part) if backward else part:
            labels = recording.truth(i) or known(i)
            own = [g for g in labels if g.object_id == model.object_id]
            if own:
                pose = disturbed(own[0].pose, model.extents.mean(0), degrees, mm, seed)
                rows.append(
                    TrackedPose(
                        recording.keys[i], model.object_id, 0, TrackState.TRACKED, pose, 1.0
                    )
                )
                break
    if not rows:
        raise InputError(f"no frame has a pose of object {model.object_id}", path=recording.root)
    return PoseTrack(tuple(rows))


def _scored(recording: Recording, model: ObjectModel, track: PoseTrack) -> Score:
    poses = {p.key: p for p in track if p.object_id == model.object_id and p.instance == 0}
    score = Score()
    for i, key in enumerate(recording.keys):
        for truth in recording.truth(i):
            if truth.object_id == model.object_id and _visible(truth):
                score.add(model, truth, poses[key].pose, poses[key].confidence)
                break
    return score


def _visible(truth: GroundTruth) -> bool:
    return truth.visible_fraction is None or truth.visible_fraction >= 0.1


def _searched(
    recording: Recording,
    model: ObjectModel,
    count: int,
    overrides: Changes,
    device: str,
    seed: int,
    listener: Listener | None,
    control: Control,
) -> Score:
    """The object looked for in single frames, spread evenly over those that have a pose of it."""
    config = build_config("track", overrides, stage="track")
    place = torch.device("cpu" if device == "auto" else device)
    fitter = ObjectFitter(model, SelfSupervision(config.loss, place), config.track, DEFAULT, place)
    known = [
        (i, truth)
        for i in range(len(recording))
        for truth in recording.truth(i)
        if truth.object_id == model.object_id and _visible(truth)
    ]
    score, began = Score(), time.monotonic()
    picked = [known[k] for k in np.linspace(0, len(known) - 1, min(count, len(known))).astype(int)]
    for done, (i, truth) in enumerate(picked):
        if control.stopping:
            break
        sensor = FrameBatch.of([recording.frame(i)], place)
        found = seek(fitter, sensor, np.random.default_rng([seed, i]))
        pose = None if found is None else Pose(found.R, found.t)
        score.add(model, truth, pose, 0.0 if found is None else found.confidence)
        if listener is not None:
            listener(Progress(done + 1, len(picked), None, "search"))
    score.seconds = (time.monotonic() - began) / max(len(picked), 1)
    return score


def _write(out: Path, table: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / "table.json", json.dumps(table, indent=1).encode())


def _text(table: dict[str, Any]) -> str:
    show: Callable[[Any], str] = lambda v: "-" if v is None else f"{v:.1f}"  # noqa: E731
    lines = ["run | frames | 10 % | 5 % | 2 % | deg | mm | lost | sure right % | s a frame"]
    for name, row in table.items():
        if isinstance(row, dict):
            values = [row[k] for k in ("recall_10", "recall_5", "recall_2", "rotation_deg")]
            values += [row["translation_mm"]]
            lines.append(
                " | ".join(
                    [name, str(row["frames"]), *map(show, values), str(row["lost"]),
                     f"{show(row['sure_right'])} of {row['sure']}",
                     f"{row['seconds_a_frame']:.2f}"]
                )
            )  # fmt: skip
    return "\n".join(lines)
