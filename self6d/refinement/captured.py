"""Optimisers kept for problems of one form: a GPU captures their step once, not for each image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from self6d.cuda_graph import filled, places_of
from self6d.refinement.optimizer import PoseOptimiser, Trajectory, can_capture
from self6d.refinement.problem import PoseProblem

PLACES = (1, 2, 4, 8, 16, 24, 32, 48, 64)  # starts that a graph holds; fewer leave places unused
MOST_FORMS = 6  # kept; each keeps its memory


class KeptOptimisers:
    """Optimises problem after problem; on a GPU those of one form share a captured graph.

    A form is what a graph is fixed to: models, L_self and its weights, settings, sizes, and the
    number of starts rounded up to one of `PLACES`. All starts go to the end: nothing is raced.
    Larger problems, and all on a CPU, are optimised as `optimise_poses` does it.

    Args:
        always: also where no graph is captured, for tests.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._always = always
        self._kept: dict[tuple[Any, ...], PoseOptimiser] = {}  # the last used come last

    def run(self, problem: PoseProblem) -> Trajectory:
        """As `optimise_poses`."""
        places = places_of(len(problem), PLACES)
        graph = problem.R.is_cuda and can_capture(problem.objective, problem.config)
        if places is None or not (graph or self._always):
            return PoseOptimiser(problem).run()
        try:
            found = self._optimiser(problem, places).run()
        except torch.OutOfMemoryError:  # a graph keeps its memory
            self._kept.clear()
            torch.cuda.empty_cache()
            return PoseOptimiser(problem).run()
        own = torch.arange(len(problem), device=problem.R.device)
        return replace(found[own], group=problem.group)

    def _optimiser(self, problem: PoseProblem, places: int) -> PoseOptimiser:
        """One that is about to begin with a problem."""
        form = form_of(problem, places)
        optimiser = self._kept.pop(form, None)
        if optimiser is None:
            fill = filled(len(problem), places, problem.R.device)
            optimiser = PoseOptimiser(problem[fill], races=False)
        else:
            optimiser.restart(problem)
        self._kept[form] = optimiser
        while len(self._kept) > MOST_FORMS:
            del self._kept[next(iter(self._kept))]
        return optimiser


def form_of(problem: PoseProblem, places: int) -> tuple[Any, ...]:
    """What an optimiser of `places` starts can be begun anew with."""
    objective = problem.objective
    return (
        places,
        id(problem.models),
        id(objective),
        str(objective.config),
        str(problem.config),
        *objective.weights.values(),
        *((tuple(x.shape[1:]), x.dtype, x.device) for x in problem.target.tensors()),
        problem.R.dtype,
    )
