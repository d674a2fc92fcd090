"""Work handed to threads: in order, never too far ahead, errors where their results would come."""

from __future__ import annotations

import threading
import time

import pytest

from self6d.workers import in_order


def test_results_come_in_order_and_from_several_threads():
    threads = set()

    def work(i: int) -> int:
        threads.add(threading.get_ident())
        time.sleep(0.02 if i % 3 == 0 else 0.001)
        return i * i

    assert list(in_order(work, range(20), 4, 8)) == [i * i for i in range(20)]
    assert len(threads) > 1
    assert threading.get_ident() not in threads


def test_no_more_than_asked_for_is_begun():
    begun: list[int] = []
    results = in_order(lambda i: begun.append(i) or i, iter(range(100)), 2, 3)
    assert next(results) == 0
    assert len(begun) <= 3
    results.close()
    assert len(begun) <= 3


def test_an_error_comes_where_its_result_would_and_ends_it():
    done = []

    def work(i: int) -> int:
        if i == 3:
            raise ValueError("three")
        done.append(i)
        return i

    results = in_order(work, range(1000), 2, 4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert list(results) == []
    assert max(done) < 10
