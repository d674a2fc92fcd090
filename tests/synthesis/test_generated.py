"""Generated things are sound models, all different, the same again for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from self6d.synthesis.shapes.generated import DIAMETER_M, generated_models


@pytest.fixture(scope="module")
def models() -> list:
    return generated_models(60)


def test_each_is_a_sound_model_of_the_stated_size(models: list) -> None:
    for model in models:
        edges = model.vertices[model.faces]
        area = np.linalg.norm(
            np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1
        )
        assert area.sum() > 0
        assert model.diameter == pytest.approx(DIAMETER_M, rel=1e-3)
        assert np.abs(model.extents.mean(0)).max() < 1e-4
        assert 0 <= model.colors.min() <= model.colors.max() <= 1
        assert len(model.faces) < 20_000
    assert [model.object_id for model in models] == list(range(1, 61))


def test_some_have_pictures_some_patches_some_are_round(models: list) -> None:
    pictured = [m.texture is not None for m in models]
    assert 15 < sum(pictured) < 45
    assert any(m.symmetric for m in models)
    assert any(len(np.unique(m.colors, axis=0)) > 2 for m in models)
    sides = {tuple(np.round(m.extents[1], 4)) for m in models}
    assert len(sides) == len(models)


def test_round_ones_look_the_same_after_a_turn(models: list) -> None:
    model = next(m for m in models if m.symmetric)
    turn = model.symmetry.transforms(32)[5]
    moved = model.vertices @ turn[:3, :3].T + turn[:3, 3]
    nearest = np.linalg.norm(moved[:, None] - model.vertices[None], axis=2).min(1)
    assert nearest.max() < 1e-5


def test_the_seed_decides() -> None:
    a, b, c = (generated_models(4, seed=s) for s in (1, 1, 2))
    for x, y in zip(a, b):
        np.testing.assert_array_equal(x.vertices, y.vertices)
        np.testing.assert_array_equal(x.colors, y.colors)
    assert any(len(x.vertices) != len(z.vertices) for x, z in zip(a, c))
