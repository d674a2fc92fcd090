"""Single image as a task of the one loop: each step pulls all starts of one object's pose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from self6d.engine.clock import Clock
from self6d.events import Preview
from self6d.geometry import backproject, rotation_angle, transform
from self6d.losses.objective import SelfSupervision
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.hypotheses import choose_hypotheses
from self6d.refinement.optimizer import PoseOptimiser
from self6d.refinement.pose_search import search_around
from self6d.refinement.problem import PoseProblem
from self6d.refinement.regions import ModelBoxes, RegionCrops, project_boxes, square_boxes
from self6d.refinement.start_mask import mask_from_pose
from self6d.refinement.starts import with_starts
from self6d.rendering import pack_models, render
from self6d.rng import step_generator
from self6d.runs.checkpoint import pack, unpack
from self6d.scene import Frame, GroundTruth, ObjectModel
from self6d.scene.batch import FrameBatch

ROUGH_M = 0.05  # a pose given by hand may be off by about so much
SEARCHED_M = 0.015  # and by so much once it was searched for


def problem_of_pose(
    frame: Frame,
    R: Tensor,
    t: Tensor,
    model: ObjectModel,
    objective: SelfSupervision,
    config: OptimizeConfig,
    *,
    seed: int = 0,
) -> PoseProblem:
    """A rough pose and what it is to explain, its mask found without a network.

    With depth, a coarse search around the pose comes first; the mask is then the sensor surface
    near the found one, settled by colour.

    Args:
        R: (1, 3, 3). t: (1, 3), metres.

    Returns:
        one region, and the pose to start from.
    """
    models = pack_models([model], device=R.device)
    sensor = FrameBatch.of([frame], R.device)
    index = torch.zeros(1, dtype=torch.long, device=R.device)
    boxes = ModelBoxes.of(models)
    box = project_boxes(boxes, index, R, t, sensor.K)
    z = transform(boxes.centre[index][:, None], R, t)[0, 0, 2].clamp_min(0.01)
    margin = ROUGH_M * float(sensor.K[0, 0, 0] / z)
    box = square_boxes(box + box.new_tensor([-margin, -margin, margin, margin]), 1.0)
    size = config.region
    region = RegionCrops.cut(
        sensor.images, sensor.depth_m, sensor.K, box, torch.zeros_like(index), size
    )
    reach = ROUGH_M
    if region.depth_m is not None:
        generator = step_generator(seed, 0, stream=1)
        R_found, t_found, _ = search_around(
            region, models, 0, R[0], t[0], generator, use_color=model.has_color
        )
        R, t, reach = R_found[None], t_found[None], SEARCHED_M
    view = render(R, t, region.K, models, (size, size), object_index=index, soft_mask=False)
    sensor_points = None
    if region.depth_m is not None:
        sensor_points = backproject(region.depth_m, region.K)[0].cpu().numpy()
    mask = mask_from_pose(
        (region.rgb[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy(),
        sensor_points,
        backproject(view.depth_m, region.K)[0].cpu().numpy(),
        reach,
        float(region.K[0, 0, 0]),
    )
    visible = torch.from_numpy(mask)[None].to(R)
    target = objective.observe(
        region.rgb,
        region.depth_m,
        visible,
        region.K,
        observed=region.observed,
        diameter=boxes.diameter[index],
    )
    return PoseProblem(target, models, index, R, t, objective, config)


class ImageTask:
    """The task of single-image optimisation, run by `engine.loop.run_task`.

    Args:
        problem: one start pose and its region. model: its object.
        given: the pose asked about, R and t, where a search moved it to the start pose.
        truth: for the error curves only, where it is known.
        frame: for previews.
    """

    name = "optimize"

    def __init__(
        self,
        problem: PoseProblem,
        model: ObjectModel,
        frame: Frame,
        *,
        given: tuple[Tensor, Tensor] | None = None,
        truth: GroundTruth | None = None,
        seed: int = 0,
    ) -> None:
        self.problem, self.given = problem, (problem.R, problem.t) if given is None else given
        self.total_steps = problem.config.steps
        self.clock = Clock()
        self.model, self.frame, self.truth = model, frame, truth
        self.optimiser = PoseOptimiser(with_starts(problem, step_generator(seed, 0)))

    def step(self, step: int) -> dict[str, float | Tensor]:
        """One Adam step of every start; scalars of the one with the lowest loss before it."""
        self.optimiser.advance(step)
        logs = self.optimiser.term_log
        best = logs["total"][step].argmin()
        values: dict[str, float | Tensor] = {f"loss/{k}": v[step, best] for k, v in logs.items()}
        if self.truth is not None:
            o = self.optimiser
            angle, distance = pose_errors(
                o.R_log[step, best][None], o.t_log[step, best][None], self.truth, self.model
            )
            values |= {"error/rotation_deg": angle[0], "error/translation_mm": distance[0]}
        return values

    def previews(self, step: int) -> list[Preview]:
        """The frame with the pose of the lowest loss drawn in."""
        R, t = self._best_now(step)
        K = torch.tensor(self.frame.camera.K, dtype=R.dtype, device=R.device)[None]
        view = render(
            R[None], t[None], K, self.problem.models, self.frame.camera.size,
            object_index=self.problem.object_index, soft_mask=False,
        )  # fmt: skip
        drawn = (view.rgb[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8)
        arrays = {
            "rgb": self.frame.rgb,
            "rendered": drawn.cpu().numpy(),
            "rendered_mask": view.covered[0].to(torch.uint8).mul(255).cpu().numpy(),
        }
        pose = {
            "object_id": self.model.object_id,
            "R_m2c": R.tolist(),
            "t_m2c": t.tolist(),
            "score": 1.0,
        }
        frame = self.frame.scene_id, self.frame.image_id
        return [Preview(step, "probe/0", arrays, [pose], frame)]

    def state_dict(self) -> dict[str, Any]:
        o = self.optimiser
        return pack(
            {
                "rows": o.rows,
                "pose": {"R": o.pose.R, "position": o.pose.position},
                "moments": {"first": o.momentum, "second": o.square, "count": o.count},
                "log": {"R": o.R_log, "t": o.t_log, "terms": o.term_log},
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        tree, o = unpack(state), self.optimiser
        if len(tree["rows"]) < len(o.rows):  # some starts were left behind before it was saved
            o.count.fill_(1)
            o.keep(tree["rows"].to(o.rows.device))
        o.pose.R.copy_(tree["pose"]["R"])
        o.pose.position.copy_(tree["pose"]["position"])
        o.momentum.copy_(tree["moments"]["first"])
        o.square.copy_(tree["moments"]["second"])
        o.count.copy_(tree["moments"]["count"])
        o.R_log.copy_(tree["log"]["R"])
        o.t_log.copy_(tree["log"]["t"])
        o.term_log = {k: v.to(o.R_log.device) for k, v in tree["log"]["terms"].items()}

    def result(self) -> dict[str, Any]:
        """The chosen start's way: pose, terms and (where truth exists) errors at every step.

        "summary" holds name -> [at the pose given, at the end].
        """
        whole = self.optimiser.trajectory()
        best = int(choose_hypotheses(whole.final(), whole.group, 1)[0])
        R, t = whole.R[:, best], whole.t[:, best]
        curves = {f"loss/{k}": v[:, best].tolist() for k, v in whole.terms.items()}
        given = {f"loss/{k}": float(v) for k, v in self._terms(*self.given).items()}
        if self.truth is not None:
            names = ("error/rotation_deg", "error/translation_mm")
            errors = pose_errors(R, t, self.truth, self.model)
            curves |= {name: error.tolist() for name, error in zip(names, errors, strict=True)}
            errors = pose_errors(*self.given, self.truth, self.model)
            given |= {name: float(error) for name, error in zip(names, errors, strict=True)}
        return {
            "object_id": self.model.object_id,
            "R_m2c": R[-1].tolist(),
            "t_m2c": t[-1].tolist(),
            "summary": {name: [given[name], values[-1]] for name, values in curves.items()},
            "trajectory": {"R_m2c": R.tolist(), "t_m2c": t.tolist(), **curves},
        }

    def set_live(self, values: dict[str, float]) -> None:
        """Change weights such as {"loss.mask": 0.5}; a captured graph keeps the old ones."""
        for key, value in values.items():
            section, _, name = key.partition(".")
            if section == "loss" and name in self.problem.objective.weights:
                self.problem.objective.weights[name] = value

    def halve_batch(self) -> bool:
        return False

    @torch.no_grad()
    def _terms(self, R: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Terms (1,) at one pose, R (1, 3, 3) and t (1, 3)."""
        p = self.problem
        view = render(R, t, p.target.K, p.models, p.size, object_index=p.object_index)
        return p.objective.compare(p.target, view)

    def _best_now(self, step: int) -> tuple[Tensor, Tensor]:
        o = self.optimiser
        if step == 0:
            return o.pose.R[0], o.pose.translation(o.pose.R, o.pose.position)[0]
        best = o.term_log["total"][step - 1].argmin()
        return o.R_log[step - 1, best], o.t_log[step - 1, best]


def pose_errors(
    R: Tensor, t: Tensor, truth: GroundTruth, model: ObjectModel
) -> tuple[Tensor, Tensor]:
    """Distance of poses from the truth, or from the nearest pose that looks the same.

    Args:
        R: (S, 3, 3). t: (S, 3), metres.

    Returns:
        rotation (S,), degrees, and translation (S,), millimetres.
    """
    poses = torch.as_tensor(truth.pose.matrix @ model.symmetry.transforms()).to(R)
    angle = rotation_angle(poses[:, None, :3, :3], R[None])
    distance = (poses[:, None, :3, 3] - t[None]).norm(dim=-1)
    nearest = angle.argmin(0)
    pick = torch.arange(len(R), device=R.device)
    return angle[nearest, pick].rad2deg(), distance[nearest, pick] * 1000
