"""Networks held against a recording, frame by frame: what `Did it help?` is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.engine.types import JudgedFrame, JudgedPose, PoseData
from studio.jobs.run_info import network_key

RIGHT = 0.1  # ADD(-S) below this share of the diameter counts as right
KEPT = 2  # judges: before and after


class Judges:
    """The networks used last, kept loaded."""

    def __init__(self) -> None:
        self._judges: dict[tuple[str, str, int], Any] = {}

    def judge(
        self, run: str, dataset: Any, indices: Sequence[int], score: float
    ) -> tuple[int, list[JudgedFrame]]:
        """Step of a run's best checkpoint, and its network's poses on frames, judged.

        Raises:
            CheckpointError: there is no intact checkpoint.
        """
        from self6d.refinement.agreement import AgreementJudge
        from self6d.runs.folder import RunFolder
        from self6d.runs.load_network import load_network

        checkpoint = RunFolder.open(run).best_checkpoint()
        key = network_key(run, checkpoint)
        if key not in self._judges:
            while len(self._judges) >= KEPT:
                self._judges.pop(next(iter(self._judges)))
            trained = load_network(run, checkpoint=checkpoint)
            judge = AgreementJudge(trained.network, trained.models, score_threshold=score)
            self._judges[key] = (judge, {m.object_id: m for m in trained.models})
        judge, models = self._judges[key]
        step = int(Path(str(checkpoint)).stem.removeprefix("step_"))
        return step, [_judged(judge, models, dataset, index) for index in indices]


def _judged(judge: Any, models: dict[int, Any], dataset: Any, index: int) -> JudgedFrame:
    found = judge(dataset.frame(index))
    poses = tuple(
        JudgedPose(
            PoseData(p.object_id, p.R, p.t, p.score), p.mask_iou, p.depth_inliers, p.depth_gap_m,
            p.trust,
        )
        for p in found
    )  # fmt: skip
    truth = [t for t in dataset.truth(index) if t.object_id in models]
    return JudgedFrame(index, poses, _right(found, truth, models), len(truth))


def _right(found: Sequence[Any], truth: Sequence[Any], models: dict[int, Any]) -> int:
    """How many of the true poses are found, by ADD(-S) at a tenth of the diameter."""
    from self6d.evaluation.metrics import add_or_add_s
    from self6d.evaluation.recalls import match

    right = 0
    for number in {t.object_id for t in truth}:
        model = models[number]
        form = (model.error_points, model.symmetric)
        mine = [p for p in found if p.object_id == number]
        theirs = [t.pose for t in truth if t.object_id == number]
        if not mine:
            continue
        errors = np.array([
            [float(add_or_add_s(p.R, p.t, t.R_m2c, t.t_m2c, *form)[0]) for t in theirs]
            for p in mine
        ])  # fmt: skip
        right += int((match(errors, [p.score for p in mine], RIGHT * model.diameter) >= 0).sum())
    return right
