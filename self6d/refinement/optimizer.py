"""Single image: L_self optimised over the pose itself (Self6D, Fig. 3), many starts at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from self6d.cuda_graph import capture
from self6d.layers.usable import usable
from self6d.losses.objective import SelfSupervision
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.hypotheses import may_win
from self6d.refinement.pose_parameters import PoseParameters
from self6d.refinement.problem import PoseProblem
from self6d.refinement.regions import ModelBoxes
from self6d.rendering import render

RECENT = 5  # steps whose mean terms decide the race: the points compared change at each
FEW = 32  # starts: a GPU takes about as long for fewer, and would have to capture its graph again


@dataclass
class Trajectory:
    """Everything that happened to N poses in S steps, as data.

    Attributes:
        terms: name -> (S + 1, N) unweighted loss term before each step and at the end; "total" is
            weighted, with the whole weight of the mask at every step.
        R: (S + 1, N, 3, 3). t: (S + 1, N, 3), metres. Model to camera.
        group: (N,) int64, which image a start belongs to.
    """

    terms: dict[str, Tensor]
    R: Tensor
    t: Tensor
    group: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))

    def __len__(self) -> int:
        return self.R.shape[1]

    def __getitem__(self, index: Tensor) -> Trajectory:
        """The poses `index` (M,) int64 alone."""
        terms = {k: v[:, index] for k, v in self.terms.items()}
        return Trajectory(terms, self.R[:, index], self.t[:, index], self.group[index])

    def final(self) -> dict[str, Tensor]:
        """Each term at the end, (N,)."""
        return {name: values[-1] for name, values in self.terms.items()}


class PoseOptimiser:
    """Adam on N poses; nothing in `step` waits for the device, so a GPU runs it as one graph.

    Args:
        problem: N start poses. backend: renderer, see `self6d.rendering.render`.
        races: stop the starts that others of their image have left behind, see `race`.

    Attributes:
        rows: (M,) int64, which of the N starts still go on; `pose` and the moments are theirs.
        R_log, t_log, term_log: by step, of all N; of a start that stopped, its last values.
    """

    def __init__(self, problem: PoseProblem, backend: str = "auto", *, races: bool = True) -> None:
        boxes, R = ModelBoxes.of(problem.models), problem.R
        self.target, self.models = problem.target, problem.models
        self.object_index = object_index = problem.object_index
        self.objective, self.config, self.backend = problem.objective, problem.config, backend
        self.races = races
        config = problem.config
        self.pose = PoseParameters(R, problem.t, boxes.centre[object_index])
        n, steps = len(R), config.steps
        self.rows = torch.arange(n, device=R.device)
        self.group = problem.group
        self.scale = self._step_sizes(problem)
        k = torch.arange(steps + 1, dtype=R.dtype, device=R.device)
        self.rate = 0.5 * (1 + torch.cos(math.pi * k / max(steps, 1)))
        # golden ratio steps visit all pixels evenly; first and last term values are alike
        self.jitter = (0.5 + k * 0.6180339887) % 1
        self.jitter[-1] = 0.5
        self.momentum = R.new_zeros(n, 6)
        self.square = R.new_zeros(n, 6)
        self.count = torch.zeros(1, dtype=torch.long, device=R.device)
        self.R_log = R.new_zeros(steps + 1, n, 3, 3)
        self.t_log = R.new_zeros(steps + 1, n, 3)
        self.term_log: dict[str, Tensor] = {}
        self._replay: Callable[[], None] | None = None
        self._restarted = False
        self._judge: tuple[Callable[[], None], dict[str, Tensor]] | None = None

    def _step_sizes(self, problem: PoseProblem) -> Tensor:
        """(N, 6): of turns, radians, and shifts, metres."""
        config, n = self.config, len(problem)
        turn = problem.R.new_full((n, 3), config.rotation_step)
        diameter = ModelBoxes.of(problem.models).diameter[problem.object_index]
        shift = (config.translation_step * diameter).to(problem.R.dtype)
        return torch.cat((turn, shift[:, None].expand(n, 3)), 1)

    def restart(self, problem: PoseProblem) -> None:
        """Begin anew with another problem, in the same memory, so that a captured step holds.

        Args:
            problem: at most N starts, all else as in the first one (`form_of` tells whether it
                is). What is left of the N goes on with whatever it had.
        """
        n = len(problem)
        centre = ModelBoxes.of(problem.models).centre[problem.object_index]
        pose = PoseParameters(problem.R, problem.t, centre)
        pairs = [
            *zip(self.target.tensors(), problem.target.tensors(), strict=True),
            (self.object_index, problem.object_index),
            (self.scale, self._step_sizes(problem)),
            (self.pose.R, pose.R), (self.pose.position, pose.position),
            (self.pose.centre, pose.centre),
        ]  # fmt: skip
        for place, value in pairs:
            place[:n].copy_(value)
        for x in (self.momentum, self.square, self.count):
            x.zero_()
        self._restarted = True

    def evaluate(self, R: Tensor, position: Tensor) -> dict[str, Tensor]:
        """Terms (N,) at poses given by R and their centres; also writes the logs' present row."""
        t = self.pose.translation(R, position)
        size = (self.target.mask.shape[-2], self.target.mask.shape[-1])
        rendering = render(
            R,
            t,
            self.target.K,
            self.models,
            size,
            object_index=self.object_index,
            backend=self.backend,
        )
        jitter = self.jitter.gather(0, self.count)[0]
        terms = self.objective.compare(self.target, rendering, jitter=jitter)
        place = (self.count, self.rows)
        self.R_log.index_put_(place, R.detach())
        self.t_log.index_put_(place, t.detach())
        for name, value in terms.items():
            if name not in self.term_log:
                self.term_log[name] = value.new_zeros(self.R_log.shape[:2])
            self.term_log[name].index_put_(place, value.detach())
        return terms

    def step(self) -> None:
        """One Adam step of every pose (bias-corrected moments, 0.9 and 0.99)."""
        R, position = (x.detach().requires_grad_() for x in (self.pose.R, self.pose.position))
        rate = self.rate.gather(0, self.count)
        terms = self.evaluate(R, position)
        total = terms["total"]
        if "mask" in terms and self.config.mask_end < 1:
            less = (1 - self.config.mask_end) * (1 - rate)
            total = total - less * self.objective.weights["mask"] * terms["mask"]
        of_R, of_position = torch.autograd.grad(total.sum(), (R, position))
        self._update(of_R.contiguous(), of_position.contiguous(), rate)

    @torch.no_grad()
    def _update(self, of_R: Tensor, of_position: Tensor, rate: Tensor) -> None:
        pose = self.pose
        moved = (of_R, of_position, pose.R, pose.position, self.scale, self.momentum, self.square)
        kernels = usable("self6d.refinement.pose_kernels", *moved)
        if kernels is not None:
            kernels.update(*moved, self.rate, self.count)
        else:
            gradient = pose.gradient(of_R, of_position).nan_to_num(0.0, 0.0, 0.0) * self.scale
            self.momentum.lerp_(gradient, 0.1)
            self.square.lerp_(gradient.square(), 0.01)
            done = self.count + 1
            momentum = self.momentum / (1 - 0.9**done)
            square = self.square / (1 - 0.99**done)
            pose.move(-rate * self.scale * momentum / (square.sqrt() + 1e-12))
        self.count += 1

    def keep(self, chosen: Tensor) -> None:
        """Go on with the starts at positions `chosen` (M,) int64 of those that still go on."""
        stopped = torch.ones_like(self.rows, dtype=torch.bool)
        stopped[chosen] = False
        now, left = int(self.count), self.rows[stopped]
        for log in (self.R_log, self.t_log, *self.term_log.values()):
            log[now:, left] = log[now - 1, left].clone()
        self.target, self.pose = self.target[chosen], self.pose[chosen]
        for name in ("rows", "object_index", "scale", "momentum", "square"):
            setattr(self, name, getattr(self, name)[chosen])
        self._replay = None  # it holds the memory of all

    def race(self) -> None:
        """Stop the starts that others of their image have left behind."""
        images, group = self.group[self.rows].unique(return_inverse=True)
        if len(images) < len(self.rows):
            now = int(self.count)
            recent = slice(max(now - RECENT, 0), now)
            terms = {name: log[recent, self.rows].mean(0) for name, log in self.term_log.items()}
            self.keep(may_win(terms, group, len(images)))

    def advance(self, done: int) -> None:
        """`step`, as a graph on a GPU; `done` steps came before."""
        config, on_gpu = self.config, self.pose.R.is_cuda
        many = len(self.rows) > FEW or not on_gpu
        if self.races and many and done and done == round(config.race * config.steps):
            self.race()
        # a warm-up step must not outrun the logs
        if self._replay is None and on_gpu and can_capture(self.objective, config):
            self._replay = self.capture()
        (self._replay or self.step)()

    def _state(self) -> list[Tensor]:
        return [self.pose.R, self.pose.position, self.momentum, self.square, self.count]

    def capture(self) -> Callable[[], None]:
        """`step` recorded as a CUDA graph; the poses stay where they are."""
        saved = [x.clone() for x in self._state()]
        replay, _ = capture(self.step, warm_up=1)
        for x, value in zip(self._state(), saved, strict=True):
            x.copy_(value)
        return replay

    def run(self, progress: Callable[[int], bool] | None = None) -> Trajectory:
        """All steps, then the terms at the final poses.

        Args:
            progress: called with the number of finished steps; False ends the run early.
        """
        done = 0
        for done in range(1, self.config.steps + 1):
            self.advance(done - 1)
            if progress is not None and not progress(done):
                break
        return self.trajectory()

    @torch.no_grad()
    def trajectory(self) -> Trajectory:
        """What happened up to now, the terms at the present poses included."""
        done = int(self.count)
        self.jitter[done] = 0.5
        terms = self._judged()
        if done == self.config.steps and done:
            self._return(terms["total"] > self.term_log["total"][0, self.rows])
        rows = slice(0, done + 1)
        terms = {name: log[rows].clone() for name, log in self.term_log.items()}
        return Trajectory(terms, self.R_log[rows].clone(), self.t_log[rows].clone(), self.group)

    def _return(self, worse: Tensor) -> None:
        """Take starts that end worse than they began, (M,) bool, back to their best pose."""
        if not worse.any():
            return
        best = self.term_log["total"][: int(self.count), self.rows].argmin(0)
        R, t = self.R_log[best, self.rows], self.t_log[best, self.rows]
        back = PoseParameters(R, t, self.pose.centre)
        self.pose.R[worse], self.pose.position[worse] = back.R[worse], back.position[worse]
        self._judged()

    def _judged(self) -> dict[str, Tensor]:
        """Terms at the present poses; a graph as well where more problems come."""
        if self._judge is None and self._restarted and self._replay is not None:
            here = self.pose.R, self.pose.position
            self._judge = capture(lambda: self.evaluate(*here), warm_up=1)
        if self._judge is None:
            return self.evaluate(self.pose.R, self.pose.position)
        replay, terms = self._judge
        replay()
        return terms


def can_capture(objective: SelfSupervision, config: OptimizeConfig) -> bool:
    """Whether a GPU can hold a step as a graph; the published losses copy constants."""
    return config.graph and not objective.config.reference and config.steps >= 10


def optimise_poses(
    problem: PoseProblem,
    *,
    backend: str = "auto",
    progress: Callable[[int], bool] | None = None,
) -> Trajectory:
    """Pull N start poses to where their renderings explain N image regions.

    Args:
        problem: the start poses and their regions.
        progress: called with the number of finished steps; return False to stop early.

    Returns:
        Trajectory with S + 1 rows. Starts of different images do not influence one another.
    """
    return PoseOptimiser(problem, backend).run(progress)
