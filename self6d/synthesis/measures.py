"""What the layout of scenes needs to know of models and camera, measured once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from self6d.geometry import Pose, egocentric_to_allocentric
from self6d.scene import ObjectModel
from self6d.synthesis.config import SynthesisConfig
from self6d.synthesis.resting import stable_rotations

CUBE = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)  # (8, 3) corners


@dataclass(frozen=True)
class Shapes:
    """What the layout needs to know of M models (all on the CPU, float32, metres).

    Attributes:
        centre: (M, 3) middle of the box. half: (M, 3) half its extents.
        radius: (M,) of the sphere about `centre`.
        rest_R: (M, S, 3, 3), rest_p: (M, S), rest_z: (M, S): see `stable_rotations`; p is 0 in
            places that only fill up.
        upright_z: (M,) lowest z of the model frame.
        diameter: (M,).
    """

    centre: Tensor
    half: Tensor
    radius: Tensor
    rest_R: Tensor
    rest_p: Tensor
    rest_z: Tensor
    upright_z: Tensor
    diameter: Tensor

    @classmethod
    def of(cls, models: Sequence[ObjectModel]) -> Shapes:
        """Measure the models."""
        rests = [stable_rotations(m.vertices) for m in models]
        most = max(len(p) for _, p, _ in rests)

        def padded(values: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(
                np.stack([np.concatenate((v, np.repeat(v[:1], most - len(v), 0))) for v in values])
            ).float()

        probability = torch.zeros(len(models), most)
        for row, (_, p, _) in zip(probability, rests):
            row[: len(p)] = torch.from_numpy(p)
        boxes = torch.from_numpy(np.stack([m.extents for m in models])).float()
        centre = boxes.mean(1)
        radius = [
            np.linalg.norm(m.vertices - c, axis=1).max() for m, c in zip(models, centre.numpy())
        ]
        return cls(
            centre=centre,
            half=(boxes[:, 1] - boxes[:, 0]) / 2,
            radius=torch.tensor(np.array(radius)).float(),
            rest_R=padded([r for r, _, _ in rests]),
            rest_p=probability,
            rest_z=padded([z for _, _, z in rests]),
            upright_z=boxes[:, 0, 2],
            diameter=torch.tensor([m.diameter for m in models]),
        )


@dataclass(frozen=True)
class Views:
    """Views of M objects, on the CPU.

    Attributes:
        R_allo: (M, V, 3, 3), viewing ray to object (allocentric); the first of each are known.
        count: (M,) int64, how many.
    """

    R_allo: Tensor
    count: Tensor

    @classmethod
    def of(cls, poses: Sequence[Sequence[Pose]], centres: Tensor) -> Views:
        """Views that poses show.

        Args:
            poses: of each of M objects. centres: (M, 3), metres, the middles of their boxes.
        """
        count = torch.tensor([len(own) for own in poses])
        R_allo = torch.eye(3).repeat(len(poses), max(1, int(count.max())), 1, 1)
        for i, own in enumerate(poses):
            if own:
                R = torch.from_numpy(np.stack([pose.R_m2c for pose in own])).float()
                t = torch.from_numpy(np.stack([pose.t_m2c for pose in own])).float()
                R_allo[i, : len(own)] = egocentric_to_allocentric(R, t + R @ centres[i])
        return cls(R_allo, count)


@dataclass(frozen=True)
class SceneSetting:
    """What all scenes of a maker have in common.

    Attributes:
        shapes: of the objects, then of the distractors.
        labelled: the first so many shapes are objects with a label.
        true_size: the first so many keep their size; the rest (primitives) are scaled at random.
        K: (3, 3) float32, pixels. size: (height, width), pixels.
        distances: nearest and farthest distance of an instance, metres.
        views: of the objects, that some instances are seen from; None: from anywhere.
    """

    shapes: Shapes
    labelled: int
    true_size: int
    K: Tensor
    size: tuple[int, int]
    distances: tuple[float, float]
    config: SynthesisConfig
    views: Views | None = None


@dataclass(frozen=True)
class Things:
    """n places for things in each of B images: instances first, then distractors.

    Attributes:
        shape: (B, n) int64. scale: (B, n). radius: (B, n), metres.
        used: (B, n) bool, whether the place is taken. instance: (n,) bool, or a distractor.
        K: (B, 3, 3), pixels.
    """

    shape: Tensor
    scale: Tensor
    radius: Tensor
    used: Tensor
    instance: Tensor
    K: Tensor
