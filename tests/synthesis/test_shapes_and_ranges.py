"""Distractors, simplified meshes, distances from depth, galleries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from self6d.geometry import Camera
from self6d.scene import Frame, ObjectModel
from self6d.synthesis import gallery, ranges_from_depth
from self6d.synthesis.shapes import distractor_shapes, simplified, vertex_colors


def test_distractors_have_unit_size_and_few_faces() -> None:
    shapes = distractor_shapes(16)
    again = distractor_shapes(16)
    for shape, same in zip(shapes, again):
        assert np.linalg.norm(shape.vertices, axis=1).max() == pytest.approx(0.5, abs=1e-5)
        assert len(shape.faces) <= 1300
        assert np.array_equal(shape.vertices, same.vertices)
    assert len({len(s.faces) for s in shapes}) >= 5


@pytest.fixture
def ball() -> ObjectModel:
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=0.1)
    vertices = np.asarray(mesh.vertices, np.float32)
    return ObjectModel(
        1, "ball", vertices, np.asarray(mesh.faces, np.int32), vertices * 4 + 0.5, 0.2
    )


def test_simplified_meshes_keep_shape_and_colour(ball) -> None:
    small = simplified(ball, 1500)
    assert 300 < len(small.faces) <= 1500
    assert np.linalg.norm(small.vertices, axis=1) == pytest.approx(0.1, rel=0.05)
    assert np.abs(small.vertices * 4 + 0.5 - small.colors).max() < 0.05
    assert small.diameter == ball.diameter
    assert simplified(ball, 0) is ball
    assert simplified(small, 2000) is small


def test_textures_become_vertex_colours() -> None:
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0] = (255, 0, 0)  # the top row
    texture[1] = (0, 0, 255)
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    model = ObjectModel(
        1, "t", vertices, np.array([[0, 1, 2]], np.int32), np.full((3, 3), 0.5, np.float32), 1.4,
        uv=np.array([[[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]]], np.float32), texture=texture,
    )  # fmt: skip
    assert vertex_colors(model).tolist() == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]


def frame(depth: np.ndarray | None) -> Frame:
    camera = Camera(np.array([[100.0, 0, 40], [0, 100, 30], [0, 0, 1]]), 80, 60)
    return Frame(np.zeros((60, 80, 3), np.uint8), depth, camera)


def test_distances_come_from_the_middle_of_the_depth() -> None:
    depth = np.full((60, 80), 3.0, np.float32)
    depth[20:40, 25:55] = 0.8
    depth[:5] = 0.1
    depth[25, 30] = 0
    near, far = ranges_from_depth([frame(depth), frame(None), frame(depth * 1.2)])
    assert 0.7 < near < 0.8
    assert 3.0 < far < 4.2


def test_no_depth_no_distances() -> None:
    assert ranges_from_depth([frame(None)]) is None


def test_gallery_is_one_sheet_with_labels_drawn(maker) -> None:
    batch = maker.make(5, 0, 0)
    sheet = gallery(batch, columns=3)
    assert sheet.shape == (2 * 96, 3 * 128, 3)
    assert sheet.dtype == np.uint8
    plain = gallery(batch, columns=3, overlay=False)
    first = (batch.images[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    assert np.array_equal(plain[:96, :128], first)
    assert (sheet != plain).any()
    assert (sheet[96:, 2 * 128 :] == 0).all()  # no sixth image
