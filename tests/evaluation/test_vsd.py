"""VSD on surfaces that face the camera, where everything can be counted."""

import numpy as np
import pytest

from self6d.errors import InputError
from self6d.evaluation.vsd import vsd
from self6d.geometry import Camera
from self6d.rendering import pack_models
from self6d.scene import ObjectModel

# a plate 0.2 m wide and high at 1 m with focal length 100 covers 20 x 20 pixels
CAMERA = Camera.from_opencv(np.array([[100.0, 0, 40], [0, 100, 30], [0, 0, 1]]), 80, 60)
EYE, FRONT = np.eye(3), np.array([0, 0, 1.0])


def beside(*by):
    return FRONT + np.array(by)


@pytest.fixture(scope="module")
def plate():
    corners = np.array([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    model = ObjectModel(
        1, "plate", corners.astype(np.float32), faces, np.ones((4, 3), np.float32), 0.2828
    )
    return pack_models([model])


def error_of(plate, t, depth_m, R=EYE, **more):
    return vsd(R, t, EYE, FRONT, depth_m, CAMERA, plate, [0], [0.2], **more)[0]


EMPTY = np.zeros(CAMERA.size, np.float32)


def test_truth_has_no_error(plate):
    np.testing.assert_array_equal(error_of(plate, FRONT, EMPTY), np.zeros(10))


def test_half_beside_is_two_thirds(plate):
    # shifted by half its width: 200 pixels in common, 600 in the union
    np.testing.assert_allclose(error_of(plate, beside(0.1, 0, 0), EMPTY), np.full(10, 2 / 3))


def test_distance_counts_from_tau_diameters_on(plate):
    # 5.5 cm behind is 27.5 % of the diameter 0.2: wrong up to tau 0.25 (all common pixels), right
    # above. It reaches 9.48 pixels to each side: 18 x 18 of the truth's 20 x 20 pixels are common.
    error = error_of(plate, beside(0, 0, 0.055), EMPTY)
    assert (error[:5] == 1).all()
    np.testing.assert_allclose(error[5:], 1 - 18**2 / 20**2)


def test_hidden_pixels_do_not_count(plate):
    # something half a metre before the left half of the truth: 200 of its pixels are left
    depth = np.zeros(CAMERA.size, np.float32)
    depth[:, :40] = 0.5
    np.testing.assert_array_equal(error_of(plate, FRONT, depth), np.zeros(10))
    # the estimate half beside to the right has 200 of its own pixels too: 200 common of 400
    np.testing.assert_allclose(error_of(plate, beside(0.1, 0, 0), depth), np.full(10, 0.5))


def test_nothing_in_the_image_is_an_error_of_one(plate):
    away = np.array([5.0, 0, 1])
    both = vsd(EYE, away, EYE, away, EMPTY, CAMERA, plate, [0], [0.2])
    np.testing.assert_array_equal(both, np.ones((1, 10)))
    np.testing.assert_array_equal(error_of(plate, np.array([0, 0, -1.0]), EMPTY), np.ones(10))


def test_given_tolerances(plate):
    error = error_of(plate, beside(0, 0, 0.05), EMPTY, taus=(0.1, 0.4))
    assert error.shape == (2,)
    assert error[0] == 1 > error[1]


def test_poses_that_are_no_numbers_or_do_not_pair_up(plate):
    np.testing.assert_array_equal(error_of(plate, beside(np.nan, 0, 0), EMPTY), np.ones(10))
    np.testing.assert_array_equal(error_of(plate, FRONT, EMPTY, R=EYE * np.nan), np.ones(10))
    with pytest.raises(InputError, match="2 pose pairs have 1 object indices and 1 diameters"):
        error_of(plate, np.stack([FRONT, FRONT]), EMPTY)
