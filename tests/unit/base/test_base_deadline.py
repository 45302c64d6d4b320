# SPDX-License-Identifier: Apache-2.0
"""A deadline against a clock that the test moves by hand."""

from __future__ import annotations

import math
import signal
import threading

import pytest

from fireforge.base import deadline
from fireforge.base.deadline import Deadline


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(deadline.time, "time", lambda: pytest.fail("the wall clock may jump"))
    return now


def test_by_hand(clock: list[float]) -> None:
    limit = Deadline(10.0)
    assert (limit.used(), limit.left(), limit.over()) == (0, 10, False)
    clock[0] += 4
    assert (limit.used(), limit.left(), limit.over()) == (4, 6, False)
    clock[0] += 7
    assert (limit.used(), limit.left(), limit.over()) == (11, 0, True)


def test_time_used_before_counts(clock: list[float]) -> None:
    limit = Deadline(10.0, used=8.0)
    assert limit.left() == 2
    clock[0] += 2
    assert limit.over()


def test_a_part_starts_now_and_ends_no_later(clock: list[float]) -> None:
    limit = Deadline(10.0)
    clock[0] += 2
    half = limit.part(0.5)
    assert (half.left(), half.used()) == (4, 0)
    whole = limit.part(1.0)
    clock[0] += 8
    assert half.over()
    assert whole.over()
    assert limit.over()


def test_no_limit(clock: list[float]) -> None:
    limit = Deadline()
    clock[0] += 1e9
    assert limit.left() == math.inf
    assert not limit.over()
    assert limit.part(0.1).left() == math.inf


def test_the_real_clock_only_moves_forward() -> None:
    limit = Deadline(100.0)
    readings = [limit.used() for _ in range(1000)]
    assert readings == sorted(readings)
    assert readings[0] >= 0


def test_a_stopped_deadline_is_over_by_hand_and_so_are_its_parts(clock: list[float]) -> None:
    limit = Deadline()
    half, inner = limit.part(0.5), limit.part(0.5).within(3.0)
    assert (half.over(), inner.left(), limit.stopped()) == (False, 3, False)
    limit.stop()
    for deadline_ in (limit, half, inner, limit.within(9.0)):
        assert deadline_.stopped()
        assert (deadline_.left(), deadline_.over()) == (0, True)


def test_a_stopped_part_leaves_the_whole_as_it_is(clock: list[float]) -> None:
    limit = Deadline(10.0)
    part = limit.within(4.0)
    part.stop()
    assert (part.over(), limit.over(), limit.left()) == (True, False, 10)


def test_what_is_within_ends_no_later(clock: list[float]) -> None:
    limit = Deadline(10.0, used=4.0)
    assert (limit.within(100.0).left(), limit.within(2.0).left()) == (6, 2)


def test_a_signal_handler_stops_a_deadline_while_it_is_being_read() -> None:
    """The handler runs in the thread that reads: with a lock in between it would wait for itself."""
    limit = Deadline(60.0)
    before = signal.signal(signal.SIGINT, lambda number, frame: limit.stop())
    try:
        threading.Timer(0.02, signal.raise_signal, (signal.SIGINT,)).start()
        while not limit.over():
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert limit.used() < 30
