"""What the confidence of tracking is worth, fitted and tested on generated recordings.

Poses near and far from the truth are pulled onto frames as tracking does it; a logistic model then
learns from their label-free measures which ended within a tenth of the diameter. The weights that
`self6d.tracking.evidence.DEFAULT` holds were made by this experiment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import torch

from self6d.datasets import Recording, load_models, open_dataset
from self6d.datasets.recording import upper_bound_truth
from self6d.evaluation.metrics import add_or_add_s
from self6d.events import Listener, Progress
from self6d.experiments.common import interrupted, new_figure, png
from self6d.experiments.track import disturbed, reliability
from self6d.files import read_json
from self6d.geometry import Pose
from self6d.losses.objective import SelfSupervision
from self6d.refinement.starts import half_turns
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.sample.sample import make_sample
from self6d.scene import GroundTruth, ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.storage import atomic_write
from self6d.tracking.coarse import Candidates
from self6d.tracking.evidence import DEFAULT, Calibration, Evidence, Measures
from self6d.tracking.fit import ObjectFitter
from self6d.tracking.look import PaintedFrame

NAMES = ("explained", "visible", "color", "close", "edge", "refiner")
FRAMES = 24  # of each generated recording, in two arrangements; four of three frames come with them
EVERY = 4  # frames one is looked at
RIGHT = 0.1  # diameters
RIDGE = 0.02
FREE = 0.3  # of it holds what is fitted of unknown measures
FIT, TEST = tuple(range(1, 12)), (12, 13, 14)  # seeds


@dataclass
class Cases:
    """Poses with their evidence.

    Attributes:
        evidence: N. error: N, ADD(-S) in diameters.
    """

    evidence: list[Evidence] = field(default_factory=list)
    error: list[float] = field(default_factory=list)

    @property
    def right(self) -> np.ndarray:
        """(N,) bool."""
        return np.array(self.error) < RIGHT

    @classmethod
    def of(cls, state: dict[str, Any]) -> Self:
        """Inverse of `asdict`."""
        return cls([Evidence(**row) for row in state["evidence"]], list(state["error"]))

    def extend(self, other: Self) -> None:
        """Take in others."""
        self.evidence += other.evidence
        self.error += other.error


def run_confidence(
    out: str | Path,
    *,
    fit_seeds: Sequence[int] = FIT,
    test_seeds: Sequence[int] = TEST,
    seed: int = 0,
    listener: Listener | None = None,
    control: Control | None = None,
) -> str:
    """Fit the calibration on generated recordings and test it, and the product's own, on others.

    What a recording gave is kept in `out`: the same command goes on where it stopped.

    Args:
        out: folder of recordings (made if absent), `table.json`, and what resources/results shows:
            `track-confidence.json` and the reliability diagram.
        fit_seeds, test_seeds: of the recordings.

    Returns:
        the table as text.
    """
    out = Path(out)
    cases = collected(
        out,
        "cases",
        Cases,
        gather,
        (fit_seeds, test_seeds),
        seed,
        listener,
        control or Control(patient=False),
    )
    if cases is None:
        raise interrupted(out)
    known, unseen = cases
    fitted = fit_calibration(known.evidence, known.right)
    threshold = build_config("track", stage="track").track.weak
    test = unseen.evidence, unseen.right
    table: dict[str, Any] = {
        "fit_seeds": list(fit_seeds), "test_seeds": list(test_seeds),
        "poses": [len(known.error), len(unseen.error)], "threshold": threshold,
        "bias": fitted.bias, "weights": fitted.weights, "means": fitted.means,
        "fitted": worth(fitted, *test, threshold), "default": worth(DEFAULT, *test, threshold),
    }  # fmt: skip
    atomic_write(out / "table.json", json.dumps(table, indent=1).encode())
    seeds_told = [", ".join(map(str, given)) for given in (fit_seeds, test_seeds)]
    results = results_of(
        table["fitted"],
        threshold,
        "What the confidence is worth where poses start anywhere and things cover the objects, on "
        "generated recordings it was not fitted to",
        "`self6d-studio experiment confidence --out OUT`: "
        f"{table['poses'][0]} poses of the seeds {seeds_told[0]} fitted, {table['poses'][1]} of "
        f"{seeds_told[1]} tested; `track` counts poses near the last one as likelier beforehand",
    )
    atomic_write(out / "track-confidence.json", json.dumps(results, indent=1).encode())
    atomic_write(out / "track-confidence.png", _diagram(table["fitted"]["reliability"]))
    return _text(table, threshold)


class Kept(Protocol):
    """Cases that a file can keep."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __init__(self) -> None: ...

    @classmethod
    def of(cls, state: dict[str, Any]) -> Self: ...

    def extend(self, other: Self) -> None: ...


AnyCases = TypeVar("AnyCases", bound=Kept)


def collected(
    out: Path,
    name: str,
    kind: type[AnyCases],
    gather: Callable[[Recording, int, Control], AnyCases],
    seeds: Sequence[Sequence[int]],
    seed: int,
    listener: Listener | None,
    control: Control,
) -> list[AnyCases] | None:
    """Cases of generated recordings by groups of their seeds; None: stopped.

    What a recording gave is kept in `out`, as is the recording.

    Args:
        name: of the files that keep cases of a `kind`. gather: makes them of a recording.
    """
    parts: dict[int, AnyCases] = {}
    every = [number for group in seeds for number in group]
    for done, number in enumerate(every):
        folder, kept = out / f"sample-{number}", out / f"{name}-{number}-{seed}.json"
        if kept.is_file():
            parts[number] = kind.of(read_json(kept, "cases", dict))
        else:
            if not folder.exists():
                make_sample(folder, seed=number, frames=FRAMES // 2, eval_frames=FRAMES // 2)
            parts[number] = gather(open_dataset(folder), seed, control)
            if control.stopping:
                return None
            atomic_write(kept, json.dumps(asdict(parts[number])).encode())
        if listener is not None:
            listener(Progress(done + 1, len(every), None, "confidence"))
    groups = []
    for group in seeds:
        groups.append(kind())
        for number in group:
            groups[-1].extend(parts[number])
    return groups


def gather(recording: Recording, seed: int, control: Control) -> Cases:
    """Poses pulled onto every frame of a recording whose truth may be used, good starts and bad."""
    config = build_config("track", stage="track")
    place, found = torch.device("cpu"), Cases()
    assert recording.models_path is not None
    for model in load_models(recording.models_path, "mm"):
        objective = SelfSupervision(config.loss, place)
        fitter = ObjectFitter(model, objective, config.track, DEFAULT, place)
        for i in range(1, len(recording), EVERY):
            if control.stopping:
                return found
            truth, before = true_pose(recording, i, model), true_pose(recording, i - 1, model)
            if truth is None:
                continue
            sensor = FrameBatch.of([recording.frame(i)], place)
            rng = np.random.default_rng([seed, model.object_id, i])
            # paint as learned from the frame before, and none at all in every fourth of them
            look = None
            if before is not None and (i // EVERY) % 4:
                last = PaintedFrame.seen(FrameBatch.of([recording.frame(i - 1)], place), None)
                look = fitter.look(last, before.pose.R_m2c, before.pose.t_m2c)
            cover(sensor, truth.pose, fitter.points.centre, model.diameter, rng)
            seen = PaintedFrame.seen(sensor, look, None)
            starts = _starts(fitter, seen, truth.pose, rng, search=(i // EVERY) % 2 == 0)
            for estimate in fitter.fit(seen, starts):
                R, t = estimate.R[None].astype(float), estimate.t[None].astype(float)
                true = truth.pose
                error = add_or_add_s(
                    R, t, true.R_m2c[None], true.t_m2c[None], model.vertices, model.symmetric
                )
                found.evidence.append(estimate.evidence)
                found.error.append(float(error[0]) / model.diameter)
    return found


def true_pose(recording: Recording, index: int, model: ObjectModel) -> GroundTruth | None:
    """Of an object that is visible to a tenth at least; of frames to adapt to likewise."""
    for truth in recording.truth(index) or upper_bound_truth(recording)(index):
        if truth.object_id == model.object_id:
            far = truth.visible_fraction is not None and truth.visible_fraction < 0.1
            return None if far else truth
    return None


def cover(
    sensor: FrameBatch, true: Pose, centre: np.ndarray, diameter: float, rng: np.random.Generator
) -> None:
    """Put things before and beside the object and holes into its depth, as hands and sensors do.

    The sample's own frames hide little; people's hide much, and what holds an object lies at its
    depth, where the surface seems to go on.
    """
    assert sensor.depth_m is not None
    middle = true.R_m2c @ centre + true.t_m2c
    K = sensor.K[0].cpu().numpy()
    pixel = (K @ (middle / middle[2]))[:2]
    reach = 0.5 * diameter * K[0, 0] / middle[2]
    height, width = sensor.images.shape[-2:]
    rows, columns = np.mgrid[:height, :width]
    for k in range(int(rng.integers(5))):
        place = pixel + reach * rng.uniform(-1, 1, 2)
        angle, long, short = rng.uniform(0, np.pi), rng.uniform(0.1, 1.5), rng.uniform(0.05, 0.4)
        x, y = columns - place[0], rows - place[1]
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        inside = torch.from_numpy((abs(along) < long * reach) & (abs(across) < short * reach))
        inside = inside.to(sensor.images.device)
        if k % 2:  # a hole, smaller than a thing
            sensor.depth_m[0][inside & torch.from_numpy(abs(along) < 0.4 * reach)] = 0.0
            continue
        sensor.depth_m[0][inside] = float(middle[2] - diameter * rng.uniform(0.0, 0.7))
        color = torch.from_numpy(rng.uniform(0, 1, 3)).to(sensor.images)
        sensor.images[0][:, inside] = color[:, None]


def _starts(
    fitter: ObjectFitter, seen: PaintedFrame, true: Pose, rng: np.random.Generator, *, search: bool
) -> Candidates:
    """Two near the truth, a half turn, a far one, and three of a search of the whole image."""
    centre = fitter.points.centre.astype(float)
    seeds = rng.integers(2**31, size=3)
    far = ((50, 30), (90, 60), (20, 80))[int(rng.integers(3))]
    poses = [
        disturbed(true, centre, *off, int(s))
        for off, s in zip(((3, 4), (10, 15), far), seeds, strict=True)
    ]
    R = true.R_m2c @ half_turns().numpy().astype(float)[1 + int(rng.integers(3))]
    poses.append(Pose(R, true.R_m2c @ centre + true.t_m2c - R @ centre))
    R = np.array([p.R_m2c for p in poses], np.float32)
    t = np.array([p.t_m2c for p in poses], np.float32)
    pulled = [fitter.near(seen, R[k, None], t[k, None], rng).best(1) for k in range(len(R))]
    if search:
        pulled.append(fitter.everywhere(seen, rng).best(3))
    return Candidates.joined(pulled)


def fit_calibration(
    evidence: Sequence[Measures], right: np.ndarray, names: Sequence[str] = NAMES
) -> Calibration:
    """Logistic regression by Newton's method, weights held by a ridge in units of spread.

    Of a measure that is no number in some cases, what it then counts as is fitted too: where the
    paint is not known, right poses are rarer than their colours' mean would make them.

    Args:
        evidence: of N poses. right: (N,) bool. names: of the measures that count.
    """
    values = np.array([[e.values()[n] for n in names] for e in evidence])
    values = np.minimum(values, 1.0)
    means = np.nanmean(values[right], axis=0)
    unknown = np.isnan(values)
    some = np.flatnonzero(unknown.any(0))
    x = np.where(unknown, means, values)
    spread = x.std(0).clip(1e-6)
    x = np.concatenate((np.ones((len(x), 1)), x / spread, unknown[:, some]), axis=1)
    y, w = right.astype(float), np.zeros(x.shape[1])
    each = RIDGE * len(x) / len(names)
    held = np.diag([0.0, *[each] * len(names), *[FREE * each] * len(some)])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ w).clip(-50, 50)))
        gradient = x.T @ (y - p) - held @ w
        hessian = (x * (p * (1 - p))[:, None]).T @ x + held
        w = w + np.linalg.solve(hessian + 1e-9 * np.eye(len(w)), gradient)
    weights = w[1 : 1 + len(names)] / spread
    # a weight near 0 must not move its measure far beyond what such measures are
    firm = np.sign(weights[some]) * np.abs(weights[some]).clip(0.1)
    means[some] = np.clip(means[some] + w[1 + len(names) :] / firm, 0.0, 1.0)
    return Calibration(
        round(float(w[0]), 3),
        dict(zip(names, weights.round(3).tolist(), strict=True)),
        dict(zip(names, means.round(3).tolist(), strict=True)),
    )


def worth(
    calibration: Calibration, evidence: Sequence[Measures], right: np.ndarray, threshold: float
) -> dict[str, Any]:
    """How often poses above the threshold are right, how many right ones are, and by bin."""
    confidence = np.array([calibration.confidence(e) for e in evidence])
    sure = confidence >= threshold
    return {
        "sure": int(sure.sum()),
        "sure_right": 100 * float(right[sure].mean()) if sure.any() else None,
        "right_sure": 100 * float(sure[right].mean()) if right.any() else None,
        "reliability": reliability(right, confidence),
    }


def results_of(fitted: dict[str, Any], threshold: float, title: str, made: str) -> dict[str, Any]:
    """What `worth` gave, as `evaluation.readme` writes it."""
    share = lambda v: "-" if v is None else f"{v:.0f} %"  # noqa: E731
    return {
        "title": title,
        "made": [made],
        "rows": [
            {
                "confidence": f"{row['from']:.2f} to {row['to']:.2f}",
                "poses": str(row["poses"]),
                "mean": f"{row['confidence']:.2f}",
                "right %": f"{100 * row['right']:.0f}",
            }
            for row in fitted["reliability"]
        ],
        "notes": [
            f"Above {threshold} lie {fitted['sure']} poses, of which "
            f"{share(fitted['sure_right'])} are within a tenth of the diameter (goal 97), and "
            f"{share(fitted['right_sure'])} of the right ones."
        ],
    }


def _diagram(rows: list[dict[str, float]]) -> bytes:
    """Share of right poses over mean confidence, by bin, as PNG; dots as large as bins are full."""
    figure, (axis,) = new_figure(1)
    axis.plot([0, 1], [0, 1], color="gray", linewidth=1)
    x, y, n = (np.array([row[k] for row in rows]) for k in ("confidence", "right", "poses"))
    axis.plot(x, y, color="tab:blue")
    axis.scatter(x, y, 8 + 200 * n / n.max(), color="tab:blue")
    axis.set(xlabel="mean confidence", ylabel="share that is right", aspect="equal")
    return png(figure)


def _text(table: dict[str, Any], threshold: float) -> str:
    lines = [f"calibration | above {threshold} | of them right % | of right ones above %"]
    for name in ("fitted", "default"):
        row = table[name]
        share = "-" if row["sure_right"] is None else f"{row['sure_right']:.1f}"
        lines.append(f"{name} | {row['sure']} | {share} | {row['right_sure']:.1f}")
    lines.append("confidence | poses | mean | right %")
    for row in table["fitted"]["reliability"]:
        lines.append(
            f"{row['from']:.2f} to {row['to']:.2f} | {row['poses']} | {row['confidence']:.2f} | "
            f"{100 * row['right']:.1f}"
        )
    lines.append(f"bias {table['bias']}, weights {table['weights']}, means {table['means']}")
    return "\n".join(lines)
