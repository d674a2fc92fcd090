"""What the confidence of tracking without depth is worth: fitted to generated recordings, tested.

As `experiments.confidence`, with the RGB refiner from starts as tracking has them. Two models are
fitted: for "within a tenth of the diameter", and for the same with the distance forgiven. Cameras
are exact here; what those of people are off comes on top (`rgb.evidence.camera_allows`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from self6d.datasets import Recording, load_models
from self6d.evaluation.metrics import add_or_add_s
from self6d.events import Listener
from self6d.experiments.common import interrupted
from self6d.experiments.confidence import (
    EVERY,
    RIGHT,
    collected,
    cover,
    fit_calibration,
    results_of,
    true_pose,
    worth,
)
from self6d.experiments.track import disturbed
from self6d.geometry import Pose
from self6d.refinement.starts import half_turns
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.scene import ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.storage import atomic_write
from self6d.tracking.coarse import Candidates
from self6d.tracking.look import Look
from self6d.tracking.rgb.evidence import AGREEMENT, CONFIDENCE, ColourEvidence
from self6d.tracking.rgb.fit import ColourEstimate, ColourFitter
from self6d.tracking.rgb.follow import once_more, surest

NAMES = ("refiner", "steady", "together", "mask", "visible", "color", "inside", "far")
FIT, TEST = tuple(range(1, 7)), (12, 13)  # seeds
STARTS = ((3, 4), (6, 8), (10, 15), (50, 30))  # degrees and millimetres off


@dataclass
class ColourCases:
    """Poses with their evidence.

    Attributes:
        evidence: N. error: N, ADD(-S) in diameters. aside: N, likewise with the distance forgiven.
    """

    evidence: list[ColourEvidence] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    aside: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, state: dict[str, Any]) -> Self:
        """Inverse of `asdict`."""
        rows = [ColourEvidence(**row) for row in state["evidence"]]
        return cls(rows, list(state["error"]), list(state["aside"]))

    def extend(self, other: Self) -> None:
        """Take in others."""
        self.evidence += other.evidence
        self.error += other.error
        self.aside += other.aside

    def right(self, *, aside: bool) -> np.ndarray:
        """(N,) bool: within a tenth of the diameter."""
        return np.array(self.aside if aside else self.error) < RIGHT


def run_colour_confidence(
    out: str | Path,
    *,
    fit_seeds: Sequence[int] = FIT,
    test_seeds: Sequence[int] = TEST,
    seed: int = 0,
    listener: Listener | None = None,
    control: Control | None = None,
) -> str:
    """Fit both calibrations on generated recordings and test them, and the product's, on others.

    What a recording gave is kept in `out`: the same command goes on where it stopped.

    Args:
        out: folder of recordings (made if absent), `table.json`, and what resources/results shows:
            `track-rgb-confidence.json`.
        fit_seeds, test_seeds: of the recordings.

    Returns:
        the table as text.
    """
    out = Path(out)
    cases = collected(
        out, "colour-cases", ColourCases, gather, (fit_seeds, test_seeds), seed, listener,
        control or Control(patient=False),
    )  # fmt: skip
    if cases is None:
        raise interrupted(out)
    known, unseen = cases
    threshold = build_config("track", stage="track").track.weak
    table: dict[str, Any] = {
        "fit_seeds": list(fit_seeds), "test_seeds": list(test_seeds),
        "poses": [len(known.error), len(unseen.error)], "threshold": threshold,
    }  # fmt: skip
    lines = ["calibration | above | of them right % | of right ones above %"]
    for name, default, aside in (
        ("confidence", CONFIDENCE, False), ("agreement", AGREEMENT, True),
    ):  # fmt: skip
        fitted = fit_calibration(known.evidence, known.right(aside=aside), NAMES)
        test = unseen.evidence, unseen.right(aside=aside)
        table[name] = {**asdict(fitted), "fitted": worth(fitted, *test, threshold),
                       "default": worth(default, *test, threshold)}  # fmt: skip
        for kind in ("fitted", "default"):
            row = table[name][kind]
            share = "-" if row["sure_right"] is None else f"{row['sure_right']:.1f}"
            lines.append(f"{name}, {kind} | {row['sure']} | {share} | {row['right_sure']:.1f}")
        lines.append(f"bias {fitted.bias}, weights {fitted.weights}, means {fitted.means}")
    made = (
        "`self6d-studio experiment confidence --rgb --out OUT`: "
        f"{len(known.error)} poses of the seeds {', '.join(map(str, fit_seeds))} fitted, "
        f"{len(unseen.error)} of {', '.join(map(str, test_seeds))} tested"
    )
    title = (
        "What the confidence is worth without depth, on generated recordings it was not fitted to"
    )
    results = results_of(table["confidence"]["fitted"], threshold, title, made)
    atomic_write(out / "table.json", json.dumps(table, indent=1).encode())
    atomic_write(out / "track-rgb-confidence.json", json.dumps(results, indent=1).encode())
    for row in table["confidence"]["fitted"]["reliability"]:
        lines.append(
            f"{row['from']:.2f} to {row['to']:.2f} | {row['poses']} | {row['confidence']:.2f} | "
            f"{100 * row['right']:.1f}"
        )
    return "\n".join(lines)


def gather(recording: Recording, seed: int, control: Control) -> ColourCases:
    """Poses moved onto every fourth frame of a recording whose truth may be used, from good starts
    and bad, past things put before the objects."""
    config = build_config("track", stage="track").track
    place, found = torch.device("cpu"), ColourCases()
    assert recording.models_path is not None
    for model in load_models(recording.models_path, "mm"):
        fitter = ColourFitter(model, config, place)
        for i in range(1, len(recording), EVERY):
            if control.stopping:
                return found
            truth, before = true_pose(recording, i, model), true_pose(recording, i - 1, model)
            if truth is None:
                continue
            rng = np.random.default_rng([seed, model.object_id, i])
            sensor = FrameBatch.of([recording.frame(i)], place)
            paint = None
            if before is not None and (i // EVERY) % 4:
                last = FrameBatch.of([recording.frame(i - 1)], place)
                own = Candidates.unscored(before.pose.R_m2c[None], before.pose.t_m2c[None])
                paint = fitter.learned(fitter.as_they_are(last, own, None)[0], None)
            cover(sensor, truth.pose, fitter.thing.centre, model.diameter, rng)
            for estimate in _ends(fitter, sensor, truth.pose, paint, rng):
                error, aside = _errors(model, estimate, truth.pose)
                found.evidence.append(estimate.evidence)
                found.error.append(error)
                found.aside.append(aside)
    return found


def _ends(
    fitter: ColourFitter,
    sensor: FrameBatch,
    true: Pose,
    paint: Look | None,
    rng: np.random.Generator,
) -> list[ColourEstimate]:
    """Where tracking ends from starts near and far, a half turn, and another place."""
    centre, config = fitter.thing.centre, fitter.config
    seeds = rng.integers(2**31, size=len(STARTS))
    poses = [disturbed(true, centre, *off, int(s)) for off, s in zip(STARTS, seeds, strict=True)]
    middle = true.R_m2c @ centre + true.t_m2c
    R = true.R_m2c @ half_turns().numpy().astype(float)[1 + int(rng.integers(3))]
    poses.append(Pose(R, middle - R @ centre))
    aside = np.append(rng.uniform(-1.5, 1.5, 2) * fitter.diameter, 0.0)
    poses.append(Pose(R, middle + aside - R @ centre))
    ends = []
    for k, pose in enumerate(poses):
        R, t = pose.R_m2c[None], pose.t_m2c[None]
        found = fitter.fit(sensor, fitter.spread(R, t, config.starts, rng), paint)
        if k >= len(STARTS) - 1:  # far off, as tracking looks for what is lost
            found = once_more(fitter, sensor, paint, found, rng)
        ends.append(surest(found))
    return ends


def _errors(model: ObjectModel, found: ColourEstimate, true: Pose) -> tuple[float, float]:
    """ADD(-S) in diameters, and with the pose moved along its ray to the true distance."""
    R, t = found.R[None].astype(float), found.t.astype(float)
    centre = model.extents.mean(0)
    middle, there = found.R @ centre + t, true.R_m2c @ centre + true.t_m2c
    moved = middle * np.linalg.norm(there) / np.linalg.norm(middle) - found.R @ centre
    error, aside = (
        float(
            add_or_add_s(
                R, x[None], true.R_m2c[None], true.t_m2c[None], model.vertices, model.symmetric
            )[0]
        )
        / model.diameter
        for x in (t, moved)
    )
    return error, aside
