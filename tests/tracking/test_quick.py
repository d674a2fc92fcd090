"""What is read ahead, and work recorded for a GPU, seen without one."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
import torch
from host_free import replayed
from torch import Tensor

from self6d.cuda_graph import MOST_FORMS, Recorded
from self6d.tracking.quick.ahead import Ahead


def test_each_is_made_once_the_last_few_are_kept_and_expected_ones_in_a_thread() -> None:
    made, by = Counter[int](), set()

    def make(number: int) -> str:
        made[number] += 1
        by.add(threading.current_thread())
        return str(number)

    ahead = Ahead(make, 3)
    assert [ahead[i] for i in (0, 1, 0)] == ["0", "1", "0"]
    assert by == {threading.current_thread()}
    for number in (2, 2):
        ahead.expect(number)
    assert (ahead[2], ahead[1]) == ("2", "1")
    assert set(made.values()) == {1}
    assert len(by) == 2
    ahead[3]
    assert ahead[0] == "0"
    assert made[0] == 2  # it had to go


def test_what_is_expected_again_outstays_what_was_asked_for() -> None:
    made = Counter[int]()
    ahead = Ahead(lambda number: made.update([number]) or number, 3)
    ahead.expect(5)
    for number in (1, 2, 3, 4):
        ahead[number]
        ahead.expect(5)
    assert ahead[5] == 5
    assert made[5] == 1


def test_an_error_comes_when_it_is_asked_for_and_another_try_may_do_better() -> None:
    tries = iter([OSError("gone"), OSError("still gone"), None])

    def make(number: int) -> int:
        error = next(tries)
        if error is not None:
            raise error
        return number

    ahead = Ahead(make, 3)
    ahead.expect(7)
    for said in ("gone", "still gone"):
        with pytest.raises(OSError, match=f"^{said}$"):
            ahead[7]
    assert ahead[7] == 7


def test_a_form_is_recorded_when_it_comes_again_and_holds_fewer_rows() -> None:
    worked: list[int] = []

    def work(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        worked.append(len(a))
        return a + b, a * b

    run = Recorded(work, replayed)
    first = run(torch.ones(3, 2), torch.full((3, 2), 2.0))[0]
    assert worked == [3]  # as it is: what comes once is not worth a graph
    for rows in (3, 4, 3):
        a, b = torch.rand(rows, 2), torch.rand(rows, 2)
        total, product = run(a, b)
        torch.testing.assert_close((total, product), (a + b, a * b))
    assert set(worked[1:]) == {4}
    assert (first == 3).all()  # no later call wrote over it
    for width in range(3, 20):
        for _ in range(2):
            run(torch.ones(1, width), torch.ones(1, width))
    assert len(run._graphs) == MOST_FORMS
