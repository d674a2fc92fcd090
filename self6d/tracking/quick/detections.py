"""What a network sees of the objects in a recording's frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from self6d.errors import InputError
from self6d.network import PoseNetwork
from self6d.runs.load_network import TrainedNetwork
from self6d.scene import ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.evidence import likelier
from self6d.tracking.fit import Estimate, ObjectFitter
from self6d.tracking.look import PaintedFrame
from self6d.tracking.points import ModelPoints

LOWEST_SCORE = 0.1  # of a detection; the image decides
MOST = 4  # of one object in a frame
BESIDE = 0.5  # of the model's diagonal


class NetworkDetections:
    """Rough poses in frames, each looked at once, however many objects are followed.

    Args:
        network: finds the objects. places: of each model that is followed, its place among the
            network's objects.
    """

    def __init__(self, network: PoseNetwork, places: Sequence[int]) -> None:
        self.network, self.places = network, list(places)
        self._seen: dict[int, list[Candidates]] = {}

    @classmethod
    def of_trained(
        cls, trained: TrainedNetwork, models: Sequence[ObjectModel], path: str | Path
    ) -> NetworkDetections:
        """What a network sees of the models.

        Args:
            path: of its run or package, for what is said.

        Raises:
            InputError: it does not know one of them.
        """
        ids = [model.object_id for model in trained.models]
        absent = [model.object_id for model in models if model.object_id not in ids]
        if absent:
            raise InputError(
                f"the network does not know object {absent[0]}",
                path=path,
                remedy=f"It knows {ids}: name one with --object.",
            )
        return cls(trained.network, [ids.index(model.object_id) for model in models])

    def __call__(self, sensor: FrameBatch, index: int, model: int) -> Candidates:
        """Of the model at a position in the frame at an index, best first."""
        if index not in self._seen:
            self._seen[index] = self._look(sensor)
        return self._seen[index][model]

    def _look(self, sensor: FrameBatch) -> list[Candidates]:
        seen = self.network.predict(sensor.images, sensor.K, score_threshold=LOWEST_SCORE)
        R, t, score = (x.float().cpu().numpy() for x in (seen.R, seen.t, seen.score))
        found = Candidates(R, t, score)
        objects = seen.object_index.cpu().numpy()
        return [found[np.flatnonzero(objects == place)].best(MOST) for place in self.places]


def with_around(
    seen: Candidates, fitter: ObjectFitter, sensor: PaintedFrame, rng: np.random.Generator
) -> Candidates:
    """Detections, moved to where the depth is, and poses around the surest one.

    Distance is what a network that knows colours alone errs in most. The surest one comes along as
    it is: what the depth shows may be something before the object.
    """
    if not len(seen):
        return seen
    first, moved = seen.best(1), at_the_depth(seen, fitter.points, sensor)
    starts = Candidates.joined([first, moved.best(1)])
    around = fitter.near(sensor, starts.R, starts.t, rng, wide=True, pull=0)
    return Candidates.joined([first, moved, fitter.distinct(around, fitter.config.hypotheses)])


def at_the_depth(poses: Candidates, model: ModelPoints, sensor: FrameBatch) -> Candidates:
    """Poses moved along their rays by the median of what lies between them and the depth."""
    assert sensor.depth_m is not None
    depth, K = sensor.depth_m[0].cpu().numpy(), sensor.K[0].cpu().numpy()
    moved = []
    for R, t in zip(poses.R, poses.t, strict=True):
        centre = R @ model.centre + t
        shown = model.seen[(model.directions @ (-R.T @ centre)).argmax()]
        points = model.points[shown] @ R.T + t
        points = points[points[:, 2] > 0]
        column, row = (points @ K.T / points[:, 2:])[:, :2].round().astype(int).T
        inside = (row >= 0) & (row < depth.shape[0]) & (column >= 0) & (column < depth.shape[1])
        there = depth[row[inside], column[inside]]
        gap = (there - points[inside, 2])[there > 0]
        moved.append(t * (1 + np.median(gap) / centre[2]) if len(gap) else t)
    return Candidates(poses.R, np.array(moved, np.float32).reshape(-1, 3), poses.score)


def challenged(
    fitter: ObjectFitter,
    sensor: PaintedFrame,
    found: Estimate,
    seen: Candidates,
    rng: np.random.Generator,
) -> Estimate:
    """The object where a network sees it, if that is surer than where it was followed to and the
    network sees nothing there: else what was once taken for it is followed to the end."""
    others = elsewhere(seen, fitter.points, found.R, found.t)
    there = fitter.fit(sensor, with_around(others, fitter, sensor, rng))
    if not there or there[0].confidence < fitter.config.found:
        return found
    return there[0] if likelier(there[0].confidence) > found.confidence else found


def elsewhere(seen: Candidates, model: ModelPoints, R: np.ndarray, t: np.ndarray) -> Candidates:
    """Detections, if in the image all lie beside a pose (3, 3) and (3,), metres; else none."""
    ways = seen.R @ model.centre + seen.t
    ways = ways[:, :2] / ways[:, 2:]
    place = R @ model.centre + t
    apart = np.linalg.norm(ways - place[:2] / place[2], axis=1)
    beside = apart * place[2] > BESIDE * np.linalg.norm(np.ptp(model.points, axis=0))
    return seen if beside.all() else seen[:0]
