"""Colours off a recording: what was seen comes back, what hid it does not, the rest is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from block_shapes import block

from self6d import cli
from self6d.datasets.base import FrameKey
from self6d.datasets.pose_track import TrackedPose, TrackState, write_pose_track
from self6d.geometry import Pose, axis_angle_to_matrix
from self6d.labelling import label
from self6d.recolouring.fill import filled, from_lab, to_lab
from self6d.recolouring.finer import finer, longest_edge
from self6d.recolouring.fuse import FuseOptions, VertexColors, robust_mean
from self6d.rendering import pack_models, render
from self6d.scene import ObjectModel, Symmetry
from self6d.scene.appearance import surface_points
from self6d.scene.formats.gltf import to_linear, to_srgb
from self6d.scene.mesh_io import load_models
from self6d.scene.models_copy import save_models

WIDTH, HEIGHT = 200, 150
K = np.array([[250.0, 0, 100], [0, 250, 75], [0, 0, 1]])
MAGENTA = np.array([255, 0, 255])
EXPOSURE = (1.0, 1.0, 0.7, 1.0, 1.3, *[1.0] * 15)
COVERED, UNSURE = 3, 6  # a frame in which all is hidden, one whose pose is not sure


def painted(points: np.ndarray) -> np.ndarray:
    """Colours (n, 3), sRGB, of points (n, 3), metres: they vary smoothly over the thing."""
    x, y, z = 30 * points.T
    return np.stack((0.5 + 0.2 * np.sin(x + z), 0.45 + 0.2 * np.cos(y), 0.4 + 0.15 * np.sin(z)), 1)


def brick(n: int) -> ObjectModel:
    """Sides of 5, 7.5 and 10 cm, each an n x n grid."""
    model = block(n=n)
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])  # not its own, but carried along
    return replace(
        model, object_id=5, colors=painted(model.vertices).astype(np.float32),
        symmetry=Symmetry(discrete=turn[None]),
    )  # fmt: skip


def pose_at(i: int) -> Pose:
    """A twentieth of a turn a frame; its lower side (-z) is never seen."""
    tilt = axis_angle_to_matrix(torch.tensor([-2.2, 0.0, 0.0])).double().numpy()
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.0, i * np.pi / 10])).double().numpy()
    return Pose(tilt @ turn, np.array([0.0, 0.0, 0.35]))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A recording with a bar before the thing, its CAD without colour, a track of it."""
    root = tmp_path_factory.mktemp("recolour")
    scene = root / "data" / "test" / "000001"
    for name in ("rgb", "depth"):
        (scene / name).mkdir(parents=True)
    packed, camera, poses = pack_models([brick(40)]), {}, []
    for i, exposure in enumerate(EXPOSURE):
        pose = pose_at(i)
        R, t = (torch.tensor(x[None], dtype=torch.float32) for x in (pose.R_m2c, pose.t_m2c))
        view = render(R, t, torch.tensor(K).float(), packed, (HEIGHT, WIDTH), soft_mask=False)
        linear = to_linear(view.rgb[0].permute(1, 2, 0).double().numpy()) * exposure
        covered = view.covered[0].numpy()
        rgb = np.where(covered[..., None], np.round(255 * to_srgb(linear)), 90)
        depth = np.where(covered, view.depth_m[0].numpy(), 0.8) * 1000
        left = 65 + 7 * i % 60
        bar = np.s_[:, :] if i == COVERED else np.s_[:, left : left + 10]
        rgb[bar], depth[bar] = MAGENTA, 200
        cv2.imwrite(str(scene / "rgb" / f"{i:06d}.png"), rgb[..., ::-1].astype(np.uint8))
        cv2.imwrite(str(scene / "depth" / f"{i:06d}.png"), depth.round().astype(np.uint16))
        camera[str(i)] = {"cam_K": (K - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]).ravel().tolist(),
                          "depth_scale": 1.0}  # fmt: skip
        sure = 0.5 if i == UNSURE else 0.95
        poses.append(TrackedPose(FrameKey(1, i), 5, 0, TrackState.TRACKED, pose, sure))
    (scene / "scene_camera.json").write_text(json.dumps(camera))
    save_models([replace(brick(1), has_color=False)], root / "cad")
    write_pose_track(root / "poses.json", poses)
    return root


@pytest.fixture(scope="module")
def written(place) -> Path:
    assert run(place, place / "new") == 0
    return place / "new"


def run(place: Path, out: Path, *more: str) -> int:
    words = ["recolour", str(place / "data"), "--poses", str(place / "poses.json")]
    return cli.run([*words, "--models", str(place / "cad"), "--out", str(out), "--quiet", *more])


def test_seen_colours_come_back(written):
    """Of the side that nobody saw nothing is known; it is the lower one, and it is told."""
    (model,) = load_models(written)
    table = json.loads((written / "recolour.json").read_text())["objects"][0]
    low = model.vertices[:, 2] < model.vertices[:, 2].min() + 1e-5
    wrong = 255 * np.abs(model.colors - painted(model.vertices)).max(1)
    assert np.median(wrong[~low]) < 3
    assert np.quantile(wrong[~low], 0.95) < 10
    unlike = np.abs(255 * model.colors - MAGENTA).max(1)
    assert unlike.min() > 60  # the bar's colour is nowhere
    assert 0.6 < table["seen"] / table["vertices"] < 1 - low.mean()
    assert (table["frames"], table["gave"], table["filling"]) == (19, 18, "diffused")


def test_against_held_out_frames_it_is_nearly_the_true_paint(place, written, tmp_path, capsys):
    """`experiment colours` on frames with the track's masks."""
    label(place / "data", place / "poses.json", place / "cad", tmp_path / "labelled")
    save_models([brick(40)], tmp_path / "true")
    folders = [str(tmp_path / "true"), str(written), str(place / "cad")]
    words = ["experiment", "colours", str(tmp_path / "labelled"), *folders, "--quiet"]
    assert cli.run([*words, "--json", str(tmp_path / "found.json")]) == 0
    assert "LAB distance" in capsys.readouterr().out
    true, taken, grey = json.loads((tmp_path / "found.json").read_text())
    assert [r["instances"] for r in (true, taken, grey)] == [18] * 3  # not where all is hidden
    assert true["chroma"] < 1
    assert true["lab"] < 2  # two frames have another exposure
    assert taken["lab"] < true["lab"] + 1.5
    assert grey["lab"] > 15


def test_exposure_is_evened_out(written):
    low, high = json.loads((written / "recolour.json").read_text())["objects"][0]["gains"]
    assert low == pytest.approx(1 / 1.3, rel=0.03)
    assert high == pytest.approx(1 / 0.7, rel=0.03)


def test_all_but_the_colour_is_the_models_own(place, written):
    (old,), (new,) = load_models(place / "cad"), load_models(written)
    assert (new.object_id, new.name, new.diameter) == (5, old.name, old.diameter)
    np.testing.assert_array_equal(new.symmetry.discrete, old.symmetry.discrete)
    np.testing.assert_allclose(new.vertices[: len(old.vertices)], old.vertices, atol=1e-8)
    np.testing.assert_allclose(new.extents, old.extents, atol=1e-8)
    assert {p.name for p in written.glob("*.ply")} == {"obj_000005.ply"}
    np.testing.assert_allclose(new.error_points, old.error_points, atol=1e-8)  # scores stay theirs
    table = json.loads((written / "recolour.json").read_text())["objects"][0]
    assert longest_edge(new) <= 1.001 * table["wanted_m"]
    assert table["wanted_m"] == pytest.approx(2 * 0.35 / 250, rel=0.01)  # two pixels
    assert len(new.vertices) == table["vertices"] > table["before"] == 8
    assert new.has_color


def test_the_command_tells_and_overwrites_nothing(place, written, capsys):
    before = sorted(p.stat().st_mtime_ns for p in written.iterdir())
    assert run(place, written) == 2
    assert "not empty" in capsys.readouterr().err
    assert sorted(p.stat().st_mtime_ns for p in written.iterdir()) == before
    assert run(place, place / "sure", "--confidence", "0.99") == 2
    assert "Its surest has 0.95" in capsys.readouterr().err
    assert not (place / "sure").exists()


def test_unseen_parts_of_a_coloured_cad_change_as_the_seen_ones_did():
    rng = np.random.default_rng(0)
    own = rng.uniform(0.3, 0.7, (400, 3)).astype(np.float32)
    wanted = from_lab(to_lab(own) @ np.diag([0.8, 0.9, 1.1]) + [5, 8, -6])
    seen = np.arange(0, 300)
    given = wanted[seen].copy()
    given[:30] = rng.uniform(0, 1, (30, 3))  # a tenth of it wrong
    found = filled(own, True, seen, given, rng.uniform(size=(400, 3)), np.zeros((0, 3), int))
    assert found.filling == "changed"
    np.testing.assert_array_equal(found.color[seen], given)
    assert np.linalg.norm(to_lab(found.color[300:]) - to_lab(wanted[300:]), axis=1).max() < 1.5


def test_without_a_cads_colours_neighbours_fill_in():
    model = brick(10)
    low = model.vertices[:, 2] < -0.03  # its whole lower end
    seen = np.flatnonzero(~low)
    red = np.tile(np.float32([0.6, 0.2, 0.2]), (len(seen), 1))
    found = filled(model.colors, False, seen, red, model.vertices, model.faces)
    assert found.filling == "diffused"
    np.testing.assert_allclose(found.color[low], red[: low.sum()], atol=0.01)


@pytest.mark.parametrize("textured", [False, True])
def test_splitting_moves_no_surface_and_no_colour(textured):
    model = brick(1)
    if textured:
        ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3))
        uv = (model.vertices[model.faces][..., [2, 1]] + 0.05) / 0.1
        model = replace(model, uv=uv.astype(np.float32), texture=ramp)
    fine = finer(model, 0.004, 20_000)
    assert fine.texture is None
    assert longest_edge(fine) <= 0.004
    corners = fine.vertices[fine.faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sides = np.array([0.05, 0.075, 0.1])
    area = 2 * (sides[0] * sides[1] + sides[1] * sides[2] + sides[0] * sides[2])
    assert np.linalg.norm(normal, axis=1).sum() / 2 == pytest.approx(area, rel=1e-5)
    edges = np.sort(fine.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, count = np.unique(fine.vertices[edges].reshape(-1, 6).round(7), axis=0, return_counts=True)
    assert (count % 2 == 0).all()  # every edge has a face on both sides: no gap
    if textured:
        np.testing.assert_allclose(fine.colors[:, 0], 10 * fine.vertices[:, 2] + 0.5, atol=0.02)
    else:
        points, colors = surface_points(fine, 500, np.random.default_rng(0))
        assert np.isfinite(colors).all()
        assert (np.abs(points).max(0) <= sides / 2 + 1e-7).all()
    few = finer(model, 0.001, 500)
    assert len(few.faces) <= 500  # and says that its edges are longer than asked
    assert longest_edge(few) > 0.001


def test_the_clearest_looks_stay_and_outliers_go():
    options = FuseOptions(best=4, gains=False)
    colors = VertexColors(3, options)
    for i in range(8):
        value = 0.9 if i == 5 else 0.3 + 0.001 * i
        colors.add(np.array([0, 2]), np.full((2, 3), value, np.float32), np.full(2, 1.0 + i))
    colors.add(np.array([1]), np.full((1, 3), 0.5, np.float32), np.ones(1))
    found = colors.fused(3)
    assert found.seen.tolist() == [0, 2]
    np.testing.assert_allclose(found.color, 0.3057, atol=5e-4)  # of 4, 6 and 7, not 5
    np.testing.assert_array_equal(colors.count, [8, 1, 8])
    assert robust_mean(np.zeros((0, 4, 3)), np.zeros((0, 4))).shape == (0, 3)


def test_a_look_at_another_thing_is_left_out_and_counted():
    """Four of twelve show something else, where each vertex has few looks."""
    rng = np.random.default_rng(0)
    paint = rng.uniform(0.1, 0.5, (300, 3)).astype(np.float32)
    colors = VertexColors(300, FuseOptions())
    for i in range(12):
        vertex = np.arange(300)
        shown = np.roll(paint, 50, axis=0)[:, [2, 0, 1]] if i in (2, 3, 7, 8) else paint
        noise = rng.normal(0, 0.01, shown.shape)
        colors.add(vertex, (shown + noise).clip(0, 1).astype(np.float32), np.ones(300))
    found = colors.fused(3)
    assert found.refused == 4
    np.testing.assert_allclose(found.color, paint, atol=0.03)
