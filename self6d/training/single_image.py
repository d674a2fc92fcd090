"""Single image: L_self optimised over the pose itself (Self6D, Fig. 3), many starts at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from self6d.geometry import axis_angle_to_matrix
from self6d.losses.objective import SelfSupervision, Target
from self6d.render import render
from self6d.render.models import PackedModels
from self6d.training.regions import ModelBoxes


@dataclass
class OptimizeConfig:
    """How a pose is optimised on one image."""

    steps: int = 200
    """Adam steps."""
    rotation_step: float = 0.02
    """First step size of the rotation, radians; falls to zero along a cosine."""
    translation_step: float = 0.02
    """First step size of the translation, in diameters of the object (4 mm for 20 cm)."""
    region: int = 256
    """Side of the square image region that is rendered and compared, pixels."""
    padding: float = 1.4
    """Side of the region against the longer side of the object's box."""
    flips: bool = True
    """Also start from half turns about the model's three axes; the colour terms choose."""
    starts: int = 1
    """Starts per pose (and per flip), the first one unperturbed."""
    start_angle: float = 0.15
    """Standard deviation of the perturbed starts' rotation, radians."""
    start_shift: float = 0.03
    """Standard deviation of the perturbed starts' translation, diameters."""
    graph: bool = True
    """Capture the step as one CUDA graph on a GPU."""


@dataclass
class Trajectory:
    """Everything that happened to N poses in S steps, as data.

    Attributes:
        terms: name -> (S + 1, N) unweighted loss term before each step and at the end; "total" is
            weighted.
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


class PoseParameters:
    """Poses on their manifold: a left turn about the object's centre, and the centre's position.

    With c the centre in the model frame and p = R c + t the centre in the camera frame, a step
    delta = (w, a, b, d) gives R' = exp(w) R and p' = (p + (a, b, 0)) (1 + d / p_z): turning does
    not move the object and changing its distance does not move it in the image.

    Args:
        R: (N, 3, 3). t: (N, 3), metres. centre: (N, 3), metres, model frame.
    """

    def __init__(self, R: Tensor, t: Tensor, centre: Tensor) -> None:
        self.R = R.clone()
        self.centre = centre
        self.position = (R @ centre[..., None])[..., 0] + t

    def at(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """R (N, 3, 3) and centre position (N, 3) after `delta` (N, 6), differentiable."""
        shift = torch.nn.functional.pad(delta[:, 3:5], (0, 1))
        scale = (1 + delta[:, 5:] / self.position[:, 2:]).clamp_min(0.1)
        return axis_angle_to_matrix(delta[:, :3]) @ self.R, (self.position + shift) * scale

    def translation(self, R: Tensor, position: Tensor) -> Tensor:
        """t (N, 3), metres, of a pose given by its rotation and centre position."""
        return position - (R @ self.centre[..., None])[..., 0]

    def move(self, delta: Tensor) -> None:
        """Take the step, in place; one Newton step keeps R orthonormal over many of them."""
        R, position = self.at(delta)
        self.R.copy_(R @ (1.5 * torch.eye(3, dtype=R.dtype, device=R.device) - 0.5 * R.mT @ R))
        self.position.copy_(position)


class PoseOptimiser:
    """Adam on N poses; nothing in `step` waits for the device, so a GPU runs it as one graph.

    Args:
        target: N regions.
        models: packed models. object_index: (N,) int64.
        R: (N, 3, 3). t: (N, 3), metres. Start poses.
        objective: L_self. config: see `OptimizeConfig`.
        backend: renderer, see `self6d.render.render`.
    """

    def __init__(
        self,
        target: Target,
        models: PackedModels,
        object_index: Tensor,
        R: Tensor,
        t: Tensor,
        objective: SelfSupervision,
        config: OptimizeConfig,
        backend: str = "auto",
    ) -> None:
        boxes = ModelBoxes.of(models)
        self.target, self.models, self.object_index = target, models, object_index
        self.objective, self.config, self.backend = objective, config, backend
        self.pose = PoseParameters(R, t, boxes.centre[object_index])
        n, steps = len(R), config.steps
        turn = R.new_full((n, 3), config.rotation_step)
        shift = (config.translation_step * boxes.diameter[object_index]).to(R.dtype)
        self.scale = torch.cat((turn, shift[:, None].expand(n, 3)), 1)
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

    def evaluate(self, delta: Tensor) -> dict[str, Tensor]:
        """Terms (N,) at `delta` (N, 6) from the present pose; also writes the logs' present row."""
        R, position = self.pose.at(delta)
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
        self.R_log.index_copy_(0, self.count, R.detach()[None])
        self.t_log.index_copy_(0, self.count, t.detach()[None])
        for name, value in terms.items():
            if name not in self.term_log:
                self.term_log[name] = value.new_zeros(len(self.R_log), len(value))
            self.term_log[name].index_copy_(0, self.count, value.detach()[None])
        return terms

    def step(self) -> None:
        """One Adam step of every pose (bias-corrected moments, 0.9 and 0.99)."""
        delta = torch.zeros_like(self.momentum, requires_grad=True)
        total = self.evaluate(delta)["total"].sum()
        (gradient,) = torch.autograd.grad(total, delta)
        with torch.no_grad():
            gradient = gradient.nan_to_num(0.0, 0.0, 0.0) * self.scale
            self.momentum.lerp_(gradient, 0.1)
            self.square.lerp_(gradient.square(), 0.01)
            done = self.count + 1
            momentum = self.momentum / (1 - 0.9**done)
            square = self.square / (1 - 0.99**done)
            rate = self.rate.gather(0, self.count)
            self.pose.move(-rate * self.scale * momentum / (square.sqrt() + 1e-12))
            self.count += 1

    def _state(self) -> list[Tensor]:
        return [self.pose.R, self.pose.position, self.momentum, self.square, self.count]

    def capture(self) -> Callable[[], None]:
        """`step` recorded as a CUDA graph; the poses stay where they are."""
        saved = [x.clone() for x in self._state()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries allocate and choose kernels on their first calls
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        for x, value in zip(self._state(), saved, strict=True):
            x.copy_(value)
        return graph.replay

    def run(self, progress: Callable[[int], bool] | None = None) -> Trajectory:
        """All steps, then the terms at the final poses.

        Args:
            progress: called with the number of finished steps; False ends the run early.
        """
        step = self.step
        # two warm-up steps must not outrun the logs
        if self.config.graph and self.pose.R.is_cuda and self.config.steps >= 10:
            step = self.capture()
        done = 0
        for done in range(1, self.config.steps + 1):
            step()
            if progress is not None and not progress(done):
                break
        self.jitter[done] = 0.5
        with torch.no_grad():
            self.evaluate(torch.zeros_like(self.momentum))
        rows = slice(0, done + 1)
        terms = {name: log[rows].clone() for name, log in self.term_log.items()}
        group = torch.arange(len(self.pose.R), device=self.pose.R.device)
        return Trajectory(terms, self.R_log[rows].clone(), self.t_log[rows].clone(), group)


def optimise_poses(
    target: Target,
    models: PackedModels,
    object_index: Tensor,
    R: Tensor,
    t: Tensor,
    objective: SelfSupervision,
    config: OptimizeConfig,
    *,
    backend: str = "auto",
    progress: Callable[[int], bool] | None = None,
) -> Trajectory:
    """Pull N start poses to where their renderings explain N image regions.

    Args:
        target: N regions from `SelfSupervision.observe`; index it to give one image many starts.
        models: packed models. object_index: (N,) int64, position in `models`.
        R: (N, 3, 3). t: (N, 3), metres. Start poses, model to camera.
        objective: L_self with its weights.
        config: steps and step sizes.
        progress: called with the number of finished steps; return False to stop early.

    Returns:
        Trajectory with S + 1 rows. Items do not influence one another.
    """
    optimiser = PoseOptimiser(target, models, object_index, R, t, objective, config, backend)
    return optimiser.run(progress)
