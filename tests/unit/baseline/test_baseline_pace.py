# SPDX-License-Identifier: Apache-2.0
"""Sample sizes for a given time, with a clock that runs as a made-up baseline says: expected values by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.method import Method
from fireforge.baseline.pace import MOST, SAFETY, affordable


def lesson(count: int, classes: int = 10) -> Lesson:
    return Lesson(pixels=np.zeros((count, 1, 1, 1), np.uint8), labels=np.arange(count) % classes, classes=classes)


class Made:
    """A baseline that takes made-up seconds, and the clock that they go by on."""

    def __init__(self, learn_s: Callable[[int], float], answer_s: Callable[[int, int], float]) -> None:
        self.now = 0.0
        self.sizes: list[int] = []
        self._learn_s, self._answer_s = learn_s, answer_s

    def learn(self, given: Lesson) -> Fitted:
        self.sizes.append(len(given))
        self.now += self._learn_s(len(given))

        def answer(asked: np.ndarray) -> np.ndarray:
            self.now += self._answer_s(len(given), len(asked))
            return np.zeros(len(asked), np.int64)

        return Fitted(answer=answer, bytes=1)

    def affords(self, count: int, seconds: float, *, asked: int = 100, recalls: bool = False) -> tuple[int, str]:
        method = Method(name="made", learn=self.learn, weight=1.0, recalls=recalls)
        found = affordable(method, lesson(count), lesson(asked), seconds=seconds, timer=lambda: self.now)
        assert self.now <= seconds * 0.5 or not found[0], "measuring took most of the time"
        self.now += self._learn_s(found[0]) + self._answer_s(found[0], asked) if found[0] else 0.0
        return found


def test_linear_time_is_used_up_to_the_margin() -> None:
    """One ms a picture, 10 s: nothing else counts, so 70 % of what measuring leaves is used."""
    made = Made(lambda n: n / 1000, lambda n, m: 0.0)
    count, why = made.affords(50_000, 10.0)
    assert made.sizes[:4] == [50, 50, 200, 800]
    measured = sum(made.sizes) / 1000
    assert count == pytest.approx(SAFETY * (10 - measured) * 1000, rel=0.001)
    assert why == "its 10 s pay for no more"
    assert 0.6 * 10 <= made.now <= 10


def test_all_pictures_where_the_time_allows() -> None:
    made = Made(lambda n: n / 1e6, lambda n, m: 0.0)
    assert made.affords(3_000, 10.0) == (3_000, "")
    assert made.affords(100, 10.0) == (100, "")
    count, why = made.affords(50_000, 10.0)
    assert (count, why) == (MOST, "20,000 at most")


@pytest.mark.parametrize("power", [1.0, 1.3, 1.7, 2.0])
def test_learning_that_slows_down_is_seen(power: float) -> None:
    """Time grows with a power of the size: the whole stays within the time, and most of it is used."""
    made = Made(lambda n: 1e-5 * float(n**power), lambda n, m: 0.0)
    count, _ = made.affords(30_000, 3.0)
    assert 0 < made.now <= 3.0
    assert count == MOST or made.now > 1.5


def test_answers_that_slow_down_with_what_is_remembered() -> None:
    """A microsecond for each pair of a known and an asked picture, 5,000 asked: 5 ms a known picture."""
    made = Made(lambda n: 0.0, lambda n, m: n * m * 1e-6)
    count, _ = made.affords(50_000, 10.0, asked=5_000, recalls=True)
    assert 1_000 <= count <= 1_400
    assert made.now <= 10.0
    steady = Made(lambda n: n * 1e-4, lambda n, m: m * 1e-4)
    assert steady.affords(50_000, 3.0, asked=5_000)[0] > 10_000


def test_what_does_not_pay_is_left_out_with_the_reason() -> None:
    """10 ms a picture and 1.5 s: 50 pictures are measured in 0.5 s, twice, and 200 would take 2 s."""
    made = Made(lambda n: n / 100, lambda n, m: 0.0)
    assert made.affords(50_000, 1.5) == (0, "too little time: it needs 2 s, and 0.5 of its 1.5 s are left")
    assert made.sizes == [50, 50]


def test_measuring_ends_with_the_time() -> None:
    made = Made(lambda n: n / 10, lambda n, m: 0.0)
    assert made.affords(50_000, 2.0) == (0, "too little time: its 2 s ended before it was measured")
    assert made.sizes == [50]
    idle = Made(lambda n: n / 10, lambda n, m: 0.0)
    assert idle.affords(50_000, 0.0) == (0, "too little time: its 0 s ended before it was measured")
    assert not idle.sizes


def test_a_slow_first_call_does_not_count_as_a_rate() -> None:
    """A second at the first call only, such as an import; then 0.1 ms a picture."""
    made = Made(lambda n: 1.0 + n * 1e-4 if len(made.sizes) == 1 else n * 1e-4, lambda n, m: 0.0)
    assert made.affords(10_000, 4.0) == (10_000, "")


def test_many_classes_need_two_pictures_each() -> None:
    made = Made(lambda n: n / 100, lambda n, m: 0.0)
    method = Method(name="made", learn=made.learn, weight=1.0)
    few = lesson(5_000, classes=500)
    assert affordable(method, few, few, seconds=20.0, timer=lambda: made.now)[0] == 0
    assert made.sizes[0] == 1_000


def test_no_limit_of_time_is_ten_minutes() -> None:
    made = Made(lambda n: n / 10, lambda n, m: 0.0)
    count, _ = made.affords(50_000, float("inf"))
    assert 3_000 < count < 6_000
