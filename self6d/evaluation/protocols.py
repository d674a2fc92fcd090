"""Evaluation of predictions against a recording's labels: the paper's and BOP's protocols."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections import defaultdict, deque
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from self6d.datasets.base import Dataset, FrameKey
from self6d.errors import InputError
from self6d.evaluation import metrics
from self6d.evaluation.detection import COCO_THRESHOLDS, detection_scores, pairwise_box_iou
from self6d.evaluation.masks import compare_masks, forget_unmasked, projected_box
from self6d.evaluation.predictions import NetworkPredictor, Prediction, Predictor, with_predictions
from self6d.evaluation.recalls import Group, average_recall, match
from self6d.evaluation.results import InstanceResult, ObjectResult, Results, mean, median
from self6d.evaluation.vsd import BOP_DELTA_ITODD_M, BOP_DELTA_M, BOP_TAUS, vsd
from self6d.events import Listener, Progress
from self6d.rendering import PackedModels, pack_models
from self6d.scene import Frame, GroundTruth, ObjectModel
from self6d.workers import in_order

READERS = SCORERS = min(8, os.cpu_count() or 1)  # threads
READ = 4 * READERS  # frames read and not yet predicted, at most


@dataclass(eq=False)
class _Sight:
    """One object in one image: its targets (G) and the estimates (E) of it, best score first."""

    object_id: int
    key: FrameKey
    K: np.ndarray
    width: int
    targets: list[GroundTruth]
    estimates: list[Prediction]
    overlap: np.ndarray  # (all estimates that count, G) box IoU
    overlap_scores: np.ndarray
    vsd: np.ndarray | None
    masks: dict[int, tuple[float, float]] = field(default_factory=dict)  # target -> IoU, F1


def evaluate(
    dataset: Dataset,
    models: Sequence[ObjectModel],
    predictions: Predictor | Sequence[Prediction],
    split: str | None = None,
    *,
    label: str = "",
    min_visible: float = 0.1,
    bop: bool = False,
    error_models: Sequence[ObjectModel] | None = None,
    listener: Listener | None = None,
) -> Results:
    """Score predictions on labelled frames.

    Of an object that is in an image n times, the n best-scored estimates count (BOP's rule; n = 1
    is LineMOD's protocol); in the order of score each is compared with the free target it fits
    best. A target without an estimate is a miss. Frames without any label are left out.

    On a split that a BOP targets file makes, n is what the file says, the n most visible instances
    are the targets, and what it does not name is not scored.

    Args:
        dataset: a recording with labels. models: the objects to score; others are ignored.
        predictions: records, or a function from a frame to its records.
        split: name of the dataset's split; None takes all frames.
        label: what is evaluated, for tables.
        min_visible: targets less visible than this share are no targets, where visibility is known
            and no targets file says what counts.
        bop: also VSD, MSSD, MSPD and their average recalls (VSD where there is depth).
        error_models: what the pose errors are taken on, such as BOP's models_eval, for each of
            `models`; None: these themselves. Boxes and masks are always those of `models`.
        listener: receives `Progress`.

    Raises:
        InputError: no frame has a label of one of the models, or the split is unknown.
    """
    if split is not None:
        dataset = dataset.split(split)
    by_id = {model.object_id: model for model in models}
    measured = by_id | {m.object_id: m for m in error_models or () if m.object_id in by_id}
    scene = _Scene(by_id, pack_models(models), measured, _delta_m(dataset), min_visible, bop)
    predictor = predictions if callable(predictions) else _look_up(predictions)
    needs_depth = bop or not isinstance(predictor, NetworkPredictor) or predictor.refine is not None
    sights: dict[int, list[_Sight]] = defaultdict(list)
    frames = 0
    seconds: list[float] = []
    kept: list[Prediction] = []
    began = time.monotonic()
    labelled: deque[tuple[int, list[GroundTruth]]] = deque()  # frames not yet predicted

    def read(index: int) -> tuple[int, list[GroundTruth], Frame] | None:
        truth = [t for t in dataset.truth(index) if t.object_id in by_id]
        if truth and (dataset.targets is None or dataset.keys[index] in dataset.targets):
            depth = needs_depth or any(t.mask_visible is None for t in truth)
            return index, truth, dataset.frame(index, depth=depth)
        return None

    def labelled_frames() -> Iterator[Frame]:
        for found in in_order(read, range(len(dataset)), READERS, READ):
            if found is not None:
                labelled.append(found[:2])
                yield found[2]

    def predicted() -> Iterator[tuple[int, list[GroundTruth], Frame, Sequence[Prediction]]]:
        for frame, found in with_predictions(labelled_frames(), predictor):
            seconds.extend(p.seconds for p in found[:1] if p.seconds >= 0)
            kept.extend(replace(p, mask=None) for p in found)
            yield *labelled.popleft(), frame, found

    def compared(
        at: tuple[int, list[GroundTruth], Frame, Sequence[Prediction]],
    ) -> tuple[int, list[_Sight]]:
        index, truth, frame, found = at
        key = dataset.keys[index]
        counts = None if dataset.targets is None else dataset.targets[key]
        return index, _sights(key, frame, truth, counts, found, scene)

    def in_groups() -> Iterator[tuple[int, list[_Sight]]]:
        # not beside prediction: each of its many short calls would wait for the interpreter lock
        found, together = predicted(), getattr(predictor, "together", SCORERS)
        while group := list(itertools.islice(found, together)):
            yield from in_order(compared, group, SCORERS, len(group))

    for index, of_frame in in_groups():
        for sight in of_frame:
            sights[sight.object_id].append(sight)
        frames += 1
        if listener is not None:
            left = (time.monotonic() - began) / (index + 1) * (len(dataset) - index - 1)
            listener(Progress(index + 1, len(dataset), left, "evaluate"))
    if not any(s.targets for of_object in sights.values() for s in of_object):
        raise InputError(
            "no frame has a label of one of the models, so there is nothing to score",
            path=dataset.root,
            remedy="Name a split with labels, and models with the dataset's object numbers.",
        )
    forget_unmasked([s for of_object in sights.values() for s in of_object])
    speed = float(np.mean(seconds)) if seconds else None
    if isinstance(predictor, NetworkPredictor):
        speed = predictor.seconds_per_image
    rows, instances = [], []
    for object_id, of_object in sorted(sights.items()):
        if any(s.targets for s in of_object):
            row, records = _score(measured[object_id], by_id[object_id].name, of_object, bop)
            rows.append(row)
            instances += records
    return Results(
        label,
        dataset.root.name,
        split or "all",
        frames,
        tuple(rows),
        tuple(instances),
        speed,
        tuple(kept),
        "; ".join(_remarks(dataset, by_id, bop)),
    )


def _remarks(dataset: Dataset, models: Container[int], bop: bool) -> list[str]:
    """What a targets file names but is not scored, and a tolerance that is not the usual one."""
    named = [(k, o, n) for k, counts in (dataset.targets or {}).items() for o, n in counts.items()]
    here = set(dataset.keys)
    remarks = []
    if objects := sorted({o for _, o, _ in named if o not in models}):
        count = sum(n for _, o, n in named if o not in models)
        ids = ", ".join(map(str, objects))
        remarks.append(f"{count} targets are of objects not scored here ({ids})")
    if away := {k for k, _, _ in named if k not in here}:
        remarks.append(f"{len(away)} images of the targets file are not in the recording")
    if bop and _delta_m(dataset) != BOP_DELTA_M:
        remarks.append(f"VSD's visibility within {1000 * _delta_m(dataset):g} mm, as ITODD has it")
    return remarks


def _look_up(predictions: Sequence[Prediction]) -> Predictor:
    """A predictor that knows its records beforehand."""
    table: dict[FrameKey, list[Prediction]] = defaultdict(list)
    for p in predictions:
        table[FrameKey(p.scene_id, p.image_id)].append(p)
    return lambda frame: table.get(FrameKey(frame.scene_id, frame.image_id), [])


@dataclass(frozen=True, eq=False)
class _Scene:
    """What all frames are scored with: `evaluate`'s arguments, by object number."""

    models: dict[int, ObjectModel]
    packed: PackedModels
    measured: dict[int, ObjectModel]
    delta_m: float
    min_visible: float
    bop: bool
    surfaces: PackedModels = field(init=False)  # the models of the errors, to be drawn for VSD

    def __post_init__(self) -> None:
        own = not self.bop or all(self.measured[i] is self.models[i] for i in self.models)
        surfaces = self.packed if own else pack_models([self.measured[i] for i in self.models])
        object.__setattr__(self, "surfaces", surfaces)


def _sights(
    key: FrameKey,
    frame: Frame,
    truth: list[GroundTruth],
    counts: Mapping[int, int] | None,
    found: Sequence[Prediction],
    scene: _Scene,
) -> list[_Sight]:
    """A frame's targets and estimates, object by object."""
    sights = []
    for object_id, model in sorted(scene.models.items()):
        same = [t for t in truth if t.object_id == object_id]
        if counts is None:
            least = scene.min_visible
            shown = [t.visible_fraction is None or t.visible_fraction >= least for t in same]
            count = sum(shown)
        else:
            count = counts.get(object_id, 0)
            shown = _most_visible(same, count)
        targets = [t for t, s in zip(same, shown, strict=True) if s]
        ranked = sorted((p for p in found if p.object_id == object_id), key=lambda p: -p.score)
        if not targets and (counts is not None or not ranked):
            continue
        overlap = _overlaps(ranked, same, model, frame)
        wanted = np.array(shown, bool)
        # an estimate of an instance too hidden to be a target is neither right nor wrong
        fits = overlap[:, wanted].max(1, initial=0) >= overlap[:, ~wanted].max(1, initial=0)
        estimates = ranked[:count]
        errors = None
        if scene.bop and frame.depth_m is not None:
            errors = _vsd(object_id, frame, targets, estimates, scene)
        scores = np.array([p.score for p in ranked])
        sights.append(
            _Sight(
                object_id, key, frame.camera.K, frame.camera.width, targets, estimates,
                overlap[fits][:, wanted], scores[fits], errors,
            )
        )  # fmt: skip
    compare_masks(frame, truth, sights, scene.packed)
    return sights


def _most_visible(same: Sequence[GroundTruth], count: int) -> list[bool]:
    """Which instances are the `count` most visible; the first of equal ones (BOP)."""
    if count >= len(same):
        return [True] * len(same)
    visible = [-1.0 if t.visible_fraction is None else t.visible_fraction for t in same]
    order = np.argsort(-np.array(visible), kind="stable")
    return [i in order[:count] for i in range(len(same))]


def _vsd(
    object_id: int,
    frame: Frame,
    targets: Sequence[GroundTruth],
    estimates: Sequence[Prediction],
    scene: _Scene,
) -> np.ndarray:
    """VSD (E, G, T) of all estimates to all targets of an object."""
    shape = (len(estimates), len(targets), len(BOP_TAUS))
    if not shape[0] or not shape[1]:
        return np.ones(shape)
    assert frame.depth_m is not None
    pairs = [(p, t) for p in estimates for t in targets]
    return vsd(
        np.stack([p.R for p, _ in pairs]),
        np.stack([p.t for p, _ in pairs]),
        np.stack([t.pose.R_stated for _, t in pairs]),
        np.stack([t.pose.t_m2c for _, t in pairs]),
        frame.depth_m,
        frame.camera,
        scene.surfaces,
        [scene.surfaces.object_ids.index(object_id)] * len(pairs),
        [scene.measured[object_id].diameter] * len(pairs),
        delta_m=scene.delta_m,
    ).reshape(shape)


def _delta_m(dataset: Dataset) -> float:
    """BOP's tolerance of visibility, which is another for ITODD."""
    names = [part.lower() for part in dataset.root.absolute().parts[-3:]]
    return BOP_DELTA_ITODD_M if "itodd" in names else BOP_DELTA_M


def _overlaps(
    estimates: Sequence[Prediction], truth: Sequence[GroundTruth], model: ObjectModel, frame: Frame
) -> np.ndarray:
    """Box IoU (E, G), against the visible or the whole silhouette's box, whichever fits better."""
    if not estimates or not truth:  # of most objects a weak network sees what is not there
        return np.zeros((len(estimates), len(truth)))
    boxes = [
        projected_box(p.R, p.t, model, frame.camera) if p.box is None else p.box for p in estimates
    ]
    whole = [projected_box(t.pose.R_m2c, t.pose.t_m2c, model, frame.camera) for t in truth]
    visible = [
        w if t.box_visible is None else t.box_visible for t, w in zip(truth, whole, strict=True)
    ]
    return np.maximum(pairwise_box_iou(boxes, whole), pairwise_box_iou(boxes, visible))


def _score(
    model: ObjectModel, name: str, sights: list[_Sight], bop: bool
) -> tuple[ObjectResult, list[InstanceResult]]:
    """Scores of one object over all its sights."""
    pairs = [(p, t, s) for s in sights for p in s.estimates for t in s.targets]
    points = model.error_points
    add = np.zeros(0)
    angle, distance, pixels = add, add, add
    mssd, mspd = add, add
    if pairs:
        poses = (
            np.stack([p.R for p, _, _ in pairs]),
            np.stack([p.t for p, _, _ in pairs]),
            np.stack([t.pose.R_stated for _, t, _ in pairs]),
            np.stack([t.pose.t_m2c for _, t, _ in pairs]),
        )
        K = np.stack([s.K for _, _, s in pairs])
        add = metrics.add_or_add_s(*poses, points, model.symmetric)
        angle, distance = metrics.rotation_translation_errors(*poses, model.symmetry)
        pixels = metrics.projection_2d(*poses, K, points)
        if bop:
            same = model.symmetry.transforms(metrics.BOP_SYMMETRY_STEPS)
            mssd = metrics.mssd(*poses, points, same) / model.diameter
            mspd = metrics.mspd(*poses, K, points, same)
            mspd *= 640 / np.array([s.width for _, _, s in pairs])
    records, groups = [], []
    start = 0
    for s in sights:
        shape = (len(s.estimates), len(s.targets))
        part = slice(start, start := start + shape[0] * shape[1])
        scores = np.array([p.score for p in s.estimates])
        choice = match(add[part].reshape(shape), scores, np.inf)
        for g, e in enumerate(choice):
            at = part.start + e * shape[1] + g
            iou, f1 = s.masks.get(g, (None, None))
            hit = e >= 0
            records.append(
                InstanceResult(
                    s.key.scene_id,
                    s.key.image_id,
                    model.object_id,
                    float(scores[e]) if hit else None,
                    float(add[at]) if hit else math.inf,
                    model.diameter,
                    float(angle[at]) if hit else math.inf,
                    float(distance[at]) if hit else math.inf,
                    float(pixels[at]) if hit else math.inf,
                    iou,
                    f1,
                    float(s.overlap[:, g].max(initial=0.0)),
                )
            )
        if bop and s.targets:
            groups.append(
                Group(scores, s.vsd, mssd[part].reshape(shape), mspd[part].reshape(shape))
            )
    return _row(replace(model, name=name), sights, records, groups), records


def _row(
    model: ObjectModel, sights: list[_Sight], records: list[InstanceResult], groups: list[Group]
) -> ObjectResult:
    share = [r.add_share for r in records]
    found, precision = detection_scores(
        [s.overlap for s in sights], [s.overlap_scores for s in sights], COCO_THRESHOLDS
    )
    found_ones = [r for r in records if r.box_iou >= COCO_THRESHOLDS[0]]
    ar = average_recall(groups) if groups else None
    return ObjectResult(
        model.object_id,
        model.name,
        model.symmetric,
        len(records),
        recall_10=metrics.recall(share, 0.10),
        recall_5=metrics.recall(share, 0.05),
        recall_2=metrics.recall(share, 0.02),
        auc=metrics.area_under_curve([r.add_m for r in records]),
        rotation_deg=median([r.rotation_deg for r in records]),
        translation_mm=median([1000 * r.translation_m for r in records]),
        projection_5px=metrics.recall([r.projection_px for r in records], 5.0),
        detection_recall=float(found[0]),
        ap_50=float(precision[0]),
        ap=float(precision.mean()),
        mask_iou=mean([r.mask_iou for r in records]),
        mask_iou_found=mean([r.mask_iou for r in found_ones]),
        mask_f1=mean([r.mask_f1 for r in records]),
        ar_vsd=ar.vsd if ar else None,
        ar_mssd=ar.mssd if ar else None,
        ar_mspd=ar.mspd if ar else None,
        ar=ar.mean if ar else None,
    )
