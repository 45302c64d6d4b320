# SPDX-License-Identifier: Apache-2.0
"""From how many pictures a baseline can learn in the time it is given: measured on growing samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from fireforge.baseline.lesson import Lesson
from fireforge.baseline.method import Method

FIRST = 50  # pictures of the first sample, or two of each class where that is more
LEAST = 200  # pictures that a baseline must be able to learn from, likewise
ASKED = 500  # questions that a sample answers, at most
STEP = 4  # from one sample to the next
TRIED_SHARE = 0.2  # of the time left that one more sample may take
SAFETY = 0.7  # of the time left that the chosen size should take by its rate
GROWTH = (1.0, 2.0)  # powers of the sample's size by which learning may slow down
MOST = 20_000  # pictures, so that their features fit into memory


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a sample took.

    Args:
      pictures: that were learned from.
      learn_s: seconds to learn.
      answer_s: seconds that all questions would take.
    """

    pictures: int
    learn_s: float
    answer_s: float

    def seconds(self, pictures: int, *, growth: float, recalls: bool) -> float:
        """Seconds that a larger sample is expected to take.

        Args:
          pictures: of it.
          growth: power of the size by which learning slows down.
          recalls: whether answers slow down with the size too.

        Returns:
          Seconds.
        """
        times = pictures / self.pictures
        return self.learn_s * float(times**growth) + self.answer_s * (times if recalls else 1.0)


def affordable(
    method: Method,
    lesson: Lesson,
    exam: Lesson,
    *,
    seconds: float,
    timer: Callable[[], float] = time.perf_counter,
) -> tuple[int, str]:
    """How many of a lesson's pictures fit into a time, by the rates of samples that are four times larger each.

    Measuring counts: what it takes is taken off the time.

    Args:
      method: the baseline.
      lesson: all pictures that there are.
      exam: all questions.
      seconds: for measuring, learning and answering; at most ten minutes are used.
      timer: gives seconds.

    Returns:
      Pictures, and why not all of them; 0 pictures and why, where the time does not pay for the least number.
    """
    start, seconds = timer(), min(seconds, 600.0)
    most = min(len(lesson), MOST)
    count, least = (min(most, max(few, 2 * lesson.classes)) for few in (FIRST, LEAST))
    growth = GROWTH[0]
    before: Rate | None = None
    if seconds > 0:
        _measure(method, lesson.first(count), exam, timer)  # what a first call takes beside counts for no rate
    if timer() - start >= seconds:
        return 0, f"too little time: its {seconds:.2g} s ended before it was measured"
    while True:
        rate = _measure(method, lesson.first(count), exam, timer)
        if before is not None and before.learn_s > 0:
            slope = math.log(max(rate.learn_s, 1e-9) / before.learn_s) / math.log(rate.pictures / before.pictures)
            growth = min(max(slope, GROWTH[0]), GROWTH[1])
        left = seconds - (timer() - start)
        fits = _fits(rate, left * SAFETY, most, growth=growth, recalls=method.recalls)
        if fits < least:
            took = rate.seconds(least, growth=growth, recalls=method.recalls)
            return 0, too_little(took, seconds, left)
        larger = min(most, count * STEP)
        expected = rate.seconds(larger, growth=growth, recalls=method.recalls)
        if count == most or fits <= count or expected > TRIED_SHARE * left:
            return fits, "" if fits == len(lesson) else f"{MOST:,} at most" if fits == MOST else pays_for(seconds)
        before, count = rate, larger


def _measure(method: Method, lesson: Lesson, exam: Lesson, timer: Callable[[], float]) -> Rate:
    asked = exam.pixels[:ASKED]
    start = timer()
    fitted = method.learn(lesson)
    learned = timer()
    fitted.answer(asked)
    return Rate(
        pictures=len(lesson), learn_s=learned - start, answer_s=(timer() - learned) * len(exam) / max(1, len(asked))
    )


def _fits(rate: Rate, seconds: float, most: int, *, growth: float, recalls: bool) -> int:
    """The greatest number of pictures, up to `most`, whose expected time is within the seconds; 0 for none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if rate.seconds(middle, growth=growth, recalls=recalls) <= seconds:
            low = middle
        else:
            high = middle - 1
    return low


def pays_for(seconds: float) -> str:
    """Why a baseline learns from so few pictures: one line."""
    return f"its {seconds:.2g} s pay for no more"


def too_little(need_s: float, given_s: float, left_s: float) -> str:
    """Why a baseline is left out.

    Args:
      need_s: seconds that the least amount of learning takes, with all questions.
      given_s: seconds that it was given.
      left_s: seconds that are left of them after measuring.

    Returns:
      One line.
    """
    return f"too little time: it needs {need_s:.2g} s, and {max(0.0, left_s):.2g} of its {given_s:.2g} s are left"
