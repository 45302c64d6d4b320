# SPDX-License-Identifier: Apache-2.0
"""How long the networks of a rung train, by hand; when all cores and compiled kernels are tried."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from fireforge.base.deadline import Deadline
from fireforge.jobs.courses import COMPILE_LEAST_S, JUDGED, LEAST_PICTURES, LOOK, WHOLE_EPOCHS, _length, courses_of
from fireforge.jobs.search import Course
from fireforge.space.halving import Rung, Step
from fireforge.train.loop import NORMS_LEAST

SAMPLES, VAL, BATCH = 1_000, 3_000, 100


def test_lengths_of_trainings_by_hand() -> None:
    """1,000 pictures. 3.5 epochs become 4 of 875; 7.9 become 7 whole ones; 0.1 is held at the least pictures."""
    assert _length(3_500, 1_000, 15) == {"epochs": 4, "pictures": 875}
    assert _length(7_900, 1_000, 15) == {"epochs": 7, "pictures": 0}
    assert _length(WHOLE_EPOCHS * 1_000, 1_000, 15) == {"epochs": WHOLE_EPOCHS, "pictures": 0}
    assert _length(99_000, 1_000, 15) == {"epochs": 15, "pictures": 0}
    assert _length(math.inf, 1_000, 15) == {"epochs": 15, "pictures": 0}
    assert _length(100, 1_000, 15) == {"epochs": 1, "pictures": LEAST_PICTURES}
    assert _length(-100, 1_000, 15) == {"epochs": 1, "pictures": LEAST_PICTURES}
    assert _length(60, 100, 15) == {"epochs": 1, "pictures": 0}  # all that there are
    assert _length(3_000, 1_000, 15) == {"epochs": 3, "pictures": 0}


class Pace:
    """So many seconds a picture; all cores and compiled kernels gain what they are told to."""

    def __init__(self, *, speedup: float = 1.0, compiled: float = 1.0, picture_s: float = 1e-3) -> None:
        self.asked: list[str] = []
        self._speedup, self._compiled, self._picture_s = speedup, compiled, picture_s

    def seconds(self, one: str) -> float:
        return self._picture_s

    def speedup(self, trial: SimpleNamespace) -> float:
        self.asked.append("speedup")
        return self._speedup

    def compiled_gain(self, trial: SimpleNamespace, *, samples: int) -> float:
        assert samples == SAMPLES
        self.asked.append(f"compiled on {trial.course.threads}")
        return self._compiled


def courses(pace: Pace, *, seconds: float, rung: int, last: bool, names: str = "ab") -> list[Course]:
    """Of a rung with a share of a half, on two cores, where the clock has just started."""
    clock = Deadline(seconds)
    scene = SimpleNamespace(part=lambda name: range(SAMPLES if name == "train" else VAL))
    run = SimpleNamespace(choice=lambda name, choose, why: choose())
    plan = SimpleNamespace(
        search=SimpleNamespace(scene=scene, run=run, clock=clock),
        trial=lambda one, course: SimpleNamespace(course=course, recipe=SimpleNamespace(batch=BATCH)),
    )
    step = Step(number=2, share=0.5, least_epochs=1, least_pictures=1, most_epochs=10**6)
    told = Rung(index=rung, step=step, candidates=tuple(names), last=last)  # type: ignore[arg-type]
    return courses_of(plan, told, SimpleNamespace(size=2), pace)  # type: ignore[arg-type]


def test_candidates_share_the_time_and_look_at_part_of_the_validation_pictures() -> None:
    """100 s: half of that for four networks on two cores is 25 s each, so 25,000 pictures but those looked at."""
    for rung, judged in ((0, JUDGED[0]), (1, JUDGED[1]), (2, 0)):
        pace = Pace(speedup=2.0, compiled=2.0)
        found = courses(pace, seconds=100.0, rung=rung, last=False, names="abcd")
        looked = LOOK * ((judged or VAL) + NORMS_LEAST)
        assert [course.epochs for course in found] == [pytest.approx((25_000 - looked) / SAMPLES, abs=1)] * 4
        assert {(course.threads, course.judged, course.compile) for course in found} == {(1, judged, False)}
        assert pace.asked == []  # only the last rung tries


def test_all_cores_train_the_best_network_where_that_pays() -> None:
    alone, both = (courses(Pace(speedup=gain), seconds=200.0, rung=3, last=True) for gain in (1.5, 1.0))
    assert [(course.threads, course.epochs) for course in alone] == [(2, pytest.approx(148, abs=2))]
    assert [(course.threads, course.epochs) for course in both] == [(1, pytest.approx(98, abs=2))] * 2


@pytest.mark.parametrize("gain", [1.0, 1.25])
def test_compiled_kernels_are_tried_for_long_last_trainings_on_the_threads_that_they_get(gain: float) -> None:
    pace = Pace(speedup=1.5, compiled=gain)
    found = courses(pace, seconds=2.2 * COMPILE_LEAST_S, rung=3, last=True)
    assert pace.asked == ["speedup", "compiled on 2"]
    wanted = 1.1 * COMPILE_LEAST_S * 1.5 * gain  # thousands of pictures, each an epoch
    assert [(course.compile, course.epochs) for course in found] == [(gain > 1, pytest.approx(wanted, abs=4))]
    pace = Pace(compiled=gain)
    assert [course.compile for course in courses(pace, seconds=2.2 * COMPILE_LEAST_S, rung=3, last=True)] == [
        gain > 1
    ] * 2
    assert pace.asked == ["speedup", "compiled on 1", "compiled on 1"]


@pytest.mark.parametrize("seconds", [1.8 * COMPILE_LEAST_S, math.inf])
def test_short_and_endless_trainings_try_none(seconds: float) -> None:
    pace = Pace(compiled=2.0)
    found = courses(pace, seconds=seconds, rung=3, last=True)
    assert not any(course.compile for course in found)
    assert not any(name.startswith("compiled") for name in pace.asked)


@pytest.mark.parametrize(("picture_s", "tried"), [(3e-3, True), (5e-3, False)])
def test_a_try_that_costs_over_a_twentieth_of_the_training_is_left_out(picture_s: float, tried: bool) -> None:
    """Two times 42 batches of 100 pictures take 25 and 42 s; a twentieth of 660 s is 33 s."""
    pace = Pace(speedup=1.5, compiled=2.0, picture_s=picture_s)
    found = courses(pace, seconds=2.2 * COMPILE_LEAST_S, rung=3, last=True)
    assert [course.compile for course in found] == [tried]
    assert ("compiled on 2" in pace.asked) is tried
