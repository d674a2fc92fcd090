"""A small labelled recording in memory: two boxes before a wall, drawn by the renderer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from self6d.datasets.base import FrameKey
from self6d.errors import InputError
from self6d.evaluation import Prediction
from self6d.geometry import Camera, Pose
from self6d.rendering import pack_models, render
from self6d.scene import Frame, GroundTruth, ObjectModel, Symmetry

CAMERA = Camera(np.array([[120.0, 0, 64], [0, 120, 48], [0, 0, 1]]), 128, 96)
WALL_M = 0.9


def box_model(object_id: int, size, color, symmetric: bool = False) -> ObjectModel:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) - 0.5
    faces = [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]  # fmt: skip
    flip = np.diag([-1.0, -1, 1, 1])[None]
    return ObjectModel(
        object_id,
        f"box{object_id}",
        (corners * size).astype(np.float32),
        np.array(faces, np.int32),
        np.broadcast_to(np.float32(color), (8, 3)).copy(),
        float(np.linalg.norm(size)),
        Symmetry(discrete=flip) if symmetric else Symmetry(),
    )


@dataclass
class Recording:
    """Frames and labels in memory, with the split "eval" of all but the first frame."""

    frames: list[Frame]
    labels: list[tuple[GroundTruth, ...]]
    root: Path = Path("boxes")
    kind: str = "memory"
    targets: dict[FrameKey, dict[int, int]] | None = None

    @property
    def keys(self):
        return [FrameKey(f.scene_id, f.image_id) for f in self.frames]

    def __len__(self):
        return len(self.frames)

    def frame(self, index, *, depth=True):
        return self.frames[index]

    def truth(self, index):
        return self.labels[index]

    def split_names(self):
        return ("eval",)

    def split(self, name):
        if name not in self.split_names():
            raise InputError(f"no split is called {name!r}")
        return replace(self, frames=self.frames[1:], labels=self.labels[1:])

    def subset(self, indices):
        return replace(
            self, frames=[self.frames[i] for i in indices], labels=[self.labels[i] for i in indices]
        )


@pytest.fixture(scope="session")
def boxes() -> list[ObjectModel]:
    return [
        box_model(1, (0.10, 0.06, 0.04), (0.8, 0.2, 0.1)),
        box_model(2, (0.05, 0.05, 0.12), (0.1, 0.3, 0.9), symmetric=True),
    ]


@pytest.fixture(scope="session")
def recording(boxes) -> Recording:
    rng = np.random.default_rng(0)
    packed = pack_models(boxes)
    frames, labels = [], []
    for image in range(4):
        R = Rotation.random(2, random_state=image).as_matrix()
        t = np.array([[-0.08, 0.02, 0.5], [0.09, -0.01, 0.55]]) + rng.normal(0, 0.01, (2, 3))
        drawn = render(
            torch.tensor(R, dtype=torch.float32), torch.tensor(t, dtype=torch.float32),
            torch.tensor(CAMERA.K, dtype=torch.float32), packed, CAMERA.size,
            object_index=torch.tensor([0, 1]), soft_mask=False,
        )  # fmt: skip
        depth = np.where(drawn.depth_m > 0, drawn.depth_m, WALL_M).min(0).astype(np.float32)
        rgb = (255 * drawn.rgb.sum(0).permute(1, 2, 0).numpy().clip(0, 1)).astype(np.uint8)
        frames.append(Frame(rgb, depth, CAMERA, 1, image, f"{image}"))
        labels.append(tuple(GroundTruth(i + 1, Pose(R[i], t[i])) for i in range(2)))
    return Recording(frames, labels)


@pytest.fixture
def perfect(recording) -> list[Prediction]:
    """The labels themselves as predictions of score 0.9."""
    return [
        Prediction(k.scene_id, k.image_id, t.object_id, 0.9, t.pose.R_m2c, t.pose.t_m2c)
        for k, truth in zip(recording.keys, recording.labels, strict=True)
        for t in truth
    ]
