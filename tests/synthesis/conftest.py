"""Two small objects and a small camera."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from self6d.geometry import Camera
from self6d.scene import ObjectModel
from self6d.synthesis import SceneMaker, SynthesisConfig


def as_model(mesh: trimesh.Trimesh, object_id: int) -> ObjectModel:
    vertices = np.asarray(mesh.vertices, dtype=np.float32)
    rng = np.random.default_rng(object_id)
    colors = rng.uniform(0.2, 0.9, (len(vertices), 3)).astype(np.float32)
    distance = np.linalg.norm(vertices[:, None] - vertices, axis=-1)
    return ObjectModel(
        object_id=object_id,
        name=f"object {object_id}",
        vertices=vertices,
        faces=np.asarray(mesh.faces, dtype=np.int32),
        colors=colors,
        diameter=float(distance.max()),
    )


@pytest.fixture(scope="session")
def models() -> list[ObjectModel]:
    """A brick whose origin is off its middle, and a cone."""
    brick = trimesh.creation.box(extents=(0.06, 0.09, 0.14))
    brick.apply_translation((0.01, -0.02, 0.03))
    return [as_model(brick, 3), as_model(trimesh.creation.cone(0.05, 0.12, sections=16), 7)]


@pytest.fixture(scope="session")
def camera() -> Camera:
    return Camera(np.array([[150.0, 0, 70], [0, 160, 45], [0, 0, 1]]), 128, 96)


@pytest.fixture(scope="session")
def config() -> SynthesisConfig:
    return SynthesisConfig(
        height=96, instances_max=5, distractors_max=3, background_pool=8, apparent_min=0.25
    )


@pytest.fixture(scope="session")
def maker(models: list[ObjectModel], camera: Camera, config: SynthesisConfig) -> SceneMaker:
    return SceneMaker(models, camera, config)
