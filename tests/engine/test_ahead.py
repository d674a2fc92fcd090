"""What a step learns from is the same made ahead or not, and is made while the step before runs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch

from self6d.engine.ahead import Ahead, _Lane, tensors_in
from self6d.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_next_is_made_beside_this_one(two_threads) -> None:
    begun, go_on, made_in = threading.Event(), threading.Event(), {}

    def make(step: int, size: int) -> tuple[int, int]:
        made_in[step] = threading.current_thread()
        if step == 1:
            begun.set()
            assert go_on.wait(10)
        return step, size

    ahead = Ahead(make, 2, CPU)
    assert ahead.take(0, 4) == (0, 4)
    ahead.start(1, 4)
    assert begun.wait(10)  # while nobody has asked for it
    go_on.set()
    assert ahead.take(1, 4) == (1, 4)
    assert made_in[0] is threading.main_thread()
    assert made_in[1] is not made_in[0]
    ahead.start(2, 4)  # there is none
    assert sorted(made_in) == [0, 1]


def test_another_size_is_made_anew(two_threads) -> None:
    ahead = Ahead(lambda step, size: (step, size), 9, CPU)
    ahead.start(3, 8)
    assert ahead.take(3, 4) == (3, 4)  # the batch was halved
    ahead.start(4, 4)
    assert ahead.take(7, 4) == (7, 4)  # resumed elsewhere


def test_its_error_comes_where_it_is_taken(two_threads) -> None:
    def make(step: int, size: int) -> int:
        raise InputError("a frame is gone")

    ahead = Ahead(make, 9, CPU)
    ahead.start(1, 4)
    with pytest.raises(InputError, match="a frame is gone"):
        ahead.take(1, 4)


def test_one_thread_makes_it_when_asked() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ahead = Ahead(lambda step, size: threading.current_thread(), 9, CPU)
        ahead.start(1, 4)
        assert ahead.take(1, 4) is threading.main_thread()
    finally:
        torch.set_num_threads(before)


@dataclass
class Nested:
    first: torch.Tensor
    others: list[torch.Tensor | None]
    more: tuple[Nested, ...] = ()
    name: str = ""


def test_all_tensors_are_found_wherever_they_are() -> None:
    """Memory of one that is not would be written to by the next while it is still read."""
    a, b, c, d = (torch.full((), float(i)) for i in range(4))
    made = Nested(a, [b, None], (Nested(c, [d]),))
    assert [float(x) for x in tensors_in(made)] == [0, 1, 2, 3]
    assert list(tensors_in("none")) == []


def test_several_are_made_at_once_each_in_a_thread(two_threads) -> None:
    """As on a GPU, where the threads have streams besides."""
    begun = [threading.Event() for _ in range(4)]
    made_in = {}

    def make(step: int, size: int) -> tuple[int, int]:
        made_in[step] = threading.current_thread()
        begun[step].set()
        if step in (1, 2):
            assert begun[3 - step].wait(10)  # the other is being made meanwhile
        return step, size

    ahead = Ahead(make, 4, CPU)
    ahead._lanes.append(_Lane(ThreadPoolExecutor(1)))
    assert ahead.take(0, 4) == (0, 4)
    ahead.start(1, 4)
    assert ahead.take(1, 4) == (1, 4)
    ahead.start(2, 4)
    assert begun[3].wait(10)
    assert ahead.take(2, 4) == (2, 4)
    assert ahead.take(3, 2) == (3, 2)  # halved: made anew, and what was begun forgotten
    assert not ahead._coming
    assert made_in[1] is not made_in[2]
