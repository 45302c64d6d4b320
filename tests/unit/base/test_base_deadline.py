# SPDX-License-Identifier: Apache-2.0
"""A deadline against a clock that the test moves by hand."""

from __future__ import annotations

import math

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
