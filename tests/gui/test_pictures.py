"""Pictures and hand-made poses: checked on cases worked out by hand."""

import numpy as np
import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QWidget

from studio.engine import compose
from studio.engine.types import ModelCard, PoseData
from studio.posing import nudge
from studio.views.canvas import ImageCanvas, to_image
from studio.views.captions import notes_that_fit, paint_note
from studio.views.results import worst_instances
from studio.views.xray_layer import compressed, heat_picture

K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])


def box_model(low=(-0.05, -0.04, -0.03), high=(0.05, 0.04, 0.03)) -> ModelCard:
    return ModelCard(1, "box", "", 0.14, np.array([low, high]), 8, 12, False, True)


@pytest.fixture
def pose() -> PoseData:
    return PoseData(1, np.eye(3), np.array([0.0, 0.0, 1.0]))


def test_contour_runs_along_pixel_borders():
    mask = np.zeros((20, 30), bool)
    mask[5:9, 10:14] = True
    (outline,) = compose.contours(mask)
    assert outline[:, 0].min() == pytest.approx(10.25)
    assert outline[:, 0].max() == pytest.approx(13.75)
    assert outline[:, 1].min() == pytest.approx(5.25)
    assert outline[:, 1].max() == pytest.approx(8.75)


def test_notes_leave_half_of_a_low_picture_free_and_say_how_many_more():
    notes = [("frame 3, a", "red"), ("frame 3, b", "blue"), ("frame 3, c", "green")]
    assert notes_that_fit(notes, 230) == notes
    assert notes_that_fit(notes, 125) == [notes[0], ("and 2 more: see Layers", "white")]
    assert notes_that_fit(notes, 60) == [("and 2 more: see Layers. frame 3, a", "red")]
    assert notes_that_fit([], 60) == []


def test_hole_has_its_own_contour():
    mask = np.zeros((20, 20), bool)
    mask[2:18, 2:18] = True
    mask[8:12, 8:12] = False
    assert len(compose.contours(mask)) == 2
    assert compose.contours(np.zeros((4, 4), bool)) == []


def test_depth_difference_in_millimetres():
    sensor = np.array([[1.0, 1.0, 0.0, 1.0]], np.float32)
    drawn = np.array([[1.003, 0.999, 1.0, 0.0]], np.float32)
    picture, median = compose.depth_difference(sensor, drawn, 0.02)
    assert median == pytest.approx(0.002, abs=1e-6)
    assert picture[0, :, 3].tolist() == [230, 230, 0, 0]  # only where both are known
    red, blue = picture[0, 0].astype(int), picture[0, 1].astype(int)
    assert red[0] > red[2]  # behind the sensor's surface
    assert blue[2] >= blue[0]


def test_no_overlap_is_not_a_number():
    nothing = np.zeros((2, 2), np.float32)
    assert compose.depth_difference(nothing, nothing, 0.02)[1] is None


def test_projection_at_the_principal_point(pose):
    uv = compose.project(np.array([[0.0, 0, 0], [0.1, 0, 0]]), pose, K)
    np.testing.assert_allclose(uv, [[320, 240], [370, 240]])


def test_points_behind_the_camera_are_not_drawn(pose):
    uv = compose.project(np.array([[0.0, 0, -2.0]]), pose, K)
    assert np.isnan(uv).all()


def test_box_edges_join_neighbours():
    corners = compose.box_corners(box_model())
    for a, b in compose.BOX_EDGES:
        assert (corners[a] != corners[b]).sum() == 1


def test_shift_by_pixels_moves_the_centre_by_those_pixels(pose):
    model = box_model((0, 0, 0), (0.1, 0.1, 0.1))
    moved = nudge.shift_pixels(pose, model, K, 12.0, -7.0)
    before = compose.project(model.extents.mean(0)[None], pose, K)[0]
    after = compose.project(model.extents.mean(0)[None], moved, K)[0]
    np.testing.assert_allclose(after - before, [12, -7], atol=1e-9)


def test_turning_keeps_the_centre(pose):
    model = box_model((0, 0, 0), (0.1, 0.2, 0.3))
    turned = nudge.turn(pose, model, np.array([1.0, 2.0, 3.0]), 40.0)
    np.testing.assert_allclose(nudge.centre_of(turned, model), nudge.centre_of(pose, model))
    assert compose.rotation_error_deg(turned.R, pose.R) == pytest.approx(40.0)


def test_pushing_keeps_the_place_in_the_image(pose):
    model = box_model((0, 0, 0), (0.1, 0.2, 0.3))
    far = nudge.push(pose, model, 0.2)
    centre = model.extents.mean(0)[None]
    np.testing.assert_allclose(compose.project(centre, far, K), compose.project(centre, pose, K))
    assert nudge.centre_of(far, model)[2] == pytest.approx(1.15 + 0.2)


def test_perturbation_has_exactly_the_size_asked_for(pose):
    model = box_model()
    moved = nudge.perturb(pose, model, 10.0, 20.0, np.random.default_rng(3))
    assert compose.rotation_error_deg(moved.R, pose.R) == pytest.approx(10.0)
    shift = np.linalg.norm(nudge.centre_of(moved, model) - nudge.centre_of(pose, model))
    assert shift == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("key", "modifiers", "shift_mm", "degrees"),
    [
        (Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier, (-1, 0, 0), 0),
        (Qt.Key.Key_Down, Qt.KeyboardModifier.ControlModifier, (0, 10, 0), 0),
        (Qt.Key.Key_PageUp, Qt.KeyboardModifier.NoModifier, (0, 0, 1), 0),
        (Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier, (0, 0, 0), 1),
    ],
)
def test_keys(pose, key, modifiers, shift_mm, degrees):
    found = nudge.key_nudge(pose, box_model(), QKeyEvent(QEvent.Type.KeyPress, key, modifiers))
    assert found is not None
    np.testing.assert_allclose(1000 * (found[0].t - pose.t), shift_mm, atol=1e-9)
    assert compose.rotation_error_deg(found[0].R, pose.R) == pytest.approx(degrees, abs=1e-5)


def test_other_keys_mean_nothing(pose):
    event = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier)
    assert nudge.key_nudge(pose, box_model(), event) is None


def test_heat_is_clear_where_nothing_pulls():
    share = np.zeros((40, 40), np.float32)
    assert not heat_picture(share).any()
    share[10, 10], share[30, 30] = 1.0, -1.0
    picture = heat_picture(share).astype(int)
    assert picture[20, 20, 3] < picture[10, 10, 3]
    assert picture[10, 10, 0] > picture[10, 10, 2]  # red along the pull
    assert picture[30, 30, 2] > picture[30, 30, 0]  # blue against


def test_weak_pulls_stay_visible():
    np.testing.assert_allclose(np.linalg.norm(compressed(np.array([0.0, 0.01, 0]), 1.0)), 0.1)
    assert not compressed(np.zeros(3), 1.0).any()


def test_worst_instances_put_misses_first():
    def instance(object_id, add):
        return {"object_id": object_id, "add_m": add, "diameter_m": 0.1}

    run = {"instances": [instance(1, 0.01), instance(1, None), instance(2, 0.5), instance(1, 0.03)]}
    assert [i["add_m"] for i in worst_instances(run, 1)] == [None, 0.03, 0.01]
    assert len(worst_instances(run, None)) == 4


def test_a_model_is_drawn_wherever_its_origin_is():
    from block_shapes import block

    from self6d.rendering import pack_models
    from studio.engine.requests.drawing import draw

    shift = np.array([1.1, -0.9, 1.5], np.float32)
    small = np.array([[60.0, 0, 24], [0, 60, 24], [0, 0, 1]])
    pictures = []
    for centre in (0 * shift, shift):
        models = [block(centre=centre)]
        pose = PoseData(models[0].object_id, np.eye(3), np.array([0, 0, 0.6]) - centre)
        pictures.append(draw(models, pack_models(models), [pose], small, (48, 48)))
    assert (pictures[0].owner == 0).sum() > 20
    assert ((pictures[1].owner == 0) != (pictures[0].owner == 0)).sum() <= 2


def test_a_long_note_loses_its_middle_inside_a_window(qtbot):
    """It was cut at the picture's edge, as the painter told the width of the whole window."""
    window = QWidget()
    canvas = ImageCanvas("A picture", window)
    canvas.setGeometry(100, 50, 300, 200)
    canvas.set_image(to_image(np.full((20, 30, 3), 255, np.uint8)))
    canvas.layers.append(lambda painter, _: paint_note(painter, "a long name of a run " * 20))
    window.resize(900, 400)
    window.show()
    qtbot.waitExposed(window)
    picture = window.grab().toImage()  # the canvas paints as a part of the window
    line = [picture.pixelColor(x, 50 + 10).lightness() for x in range(100, 400)]
    assert line[20] < 150
    assert line[-4] > 200
