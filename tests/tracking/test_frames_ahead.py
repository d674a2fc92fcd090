"""Frames made ahead: in order, few at a time, errors where they belong, and nothing changed."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest

from self6d.errors import InputError
from self6d.geometry import Camera
from self6d.scene import Frame
from self6d.tracking.quick.frames import COMING, READ, ComingFrames
from self6d.tracking.still.odometry import CameraPath
from self6d.tracking.work import Target, Walk, upcoming

CAMERA = Camera([[60, 0, 32], [0, 60, 24], [0, 0, 1]], 64, 48)
PAINT = np.random.default_rng(0).integers(0, 256, (48, 200, 3), np.uint8)


class Film:
    """Frames of a wall that slides by; `bad` ones cannot be read."""

    def __init__(self, bad: int | None = None) -> None:
        self.bad, self.made, self.threads = bad, Counter[int](), set[str]()

    def __call__(self, index: int) -> Frame:
        self.made[index] += 1
        self.threads.add(threading.current_thread().name)
        if index == self.bad:
            raise InputError(f"frame {index} is damaged")
        rgb = np.ascontiguousarray(PAINT[:, 2 * index : 2 * index + 64])
        return Frame(rgb, np.full((48, 64), 1.0, np.float32), CAMERA, 1, index)


def walked(frames: ComingFrames, order: list[int]) -> list[Frame]:
    """Frames looked at one after the other, as the task does it."""
    walk, seen, before = Walk("follow", Target(0), list(order)), [], order[0]
    while walk.frames:
        index = walk.frames.pop(0)
        seen.append(frames[index])
        frames.expect(upcoming(index, [walk], COMING))
        frames.camera.between(before, index)
        before = index
    return seen


@pytest.mark.parametrize("order", [list(range(20)), list(range(20))[::-1]])
def test_each_is_read_once_and_only_a_few_are_held(order: list[int]) -> None:
    film = Film()
    frames = ComingFrames(film)
    for index, frame in zip(order, walked(frames, order), strict=True):
        assert np.array_equal(frame.rgb, Film()(index).rgb)
    assert set(film.made.values()) == {1}
    assert any(name.startswith("ahead") for name in film.threads)
    assert len(frames._read._kept) <= READ


def test_no_more_is_read_than_is_coming() -> None:
    film = Film()
    frames = ComingFrames(film)
    walk = Walk("follow", Target(0), list(range(1, 50)))
    frames[0]
    frames.expect(upcoming(0, [walk], COMING))
    for index in range(1, 1 + COMING):
        frames.camera.between(index - 1, index)
    assert set(film.made) == set(range(1 + COMING))


def test_an_unreadable_frame_is_told_when_it_is_looked_at_and_not_before() -> None:
    film = Film(bad=5)
    frames = ComingFrames(film)
    for index in range(5):
        assert frames[index].image_id == index
        frames.expect([(index + 1, index), (index + 2, index + 1)])
    with pytest.raises(InputError, match=r"^frame 5 is damaged$"):
        frames[5]
    with pytest.raises(InputError):  # of the camera's way as well, for who asks for it
        frames.camera.between(4, 5)
    film.bad = None
    assert frames[5].image_id == 5


def test_the_cameras_way_is_the_same_whether_it_was_expected_or_not() -> None:
    def way(expected: bool, pairs: list[tuple[int, int]]) -> list[np.ndarray | None]:
        path = CameraPath(Film(), spread=0.05)
        if expected:
            for before, after in pairs:
                path.expect(before, after)
        moves = [path.between(*pair) for pair in pairs]
        return [None if m is None else np.concatenate((m.R.ravel(), m.t)) for m in moves]

    pairs = [(0, 1), (1, 2), (5, 4), (3, 3), (0, 9)]
    for own, other in zip(way(True, pairs), way(False, pairs), strict=True):
        assert (own is None and other is None) or np.array_equal(own, other)


def test_what_is_coming_goes_on_into_the_next_walk_and_says_whence_the_camera_came() -> None:
    forth = Walk("follow", Target(0), [5, 6])
    back = Walk("follow", Target(0), [3, 2, 1], begin=4)
    sought = Walk("seek", Target(1), [0, 1])
    assert upcoming(4, [forth, back], 4) == [(5, 4), (6, 5), (3, 4), (2, 3)]
    assert upcoming(0, [sought, back], 3) == [(0, None), (1, None), (3, 4)]
    assert upcoming(9, [], 3) == []
