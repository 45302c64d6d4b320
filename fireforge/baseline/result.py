# SPDX-License-Identifier: Apache-2.0
"""From a baseline's answers to its result."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fireforge.base.baseline import BaselineResult
from fireforge.base.metrics import wilson
from fireforge.baseline.lesson import Fitted, Learner, Lesson

TIMED = 50  # answers to one picture that the latency is the median of ...
MOST_TIMED_S = 0.2  # ... or as many as fit into so many seconds


def examine(name: str, learn: Learner, lesson: Lesson, exam: Lesson) -> tuple[BaselineResult, Fitted]:
    """Let a baseline learn and answer.

    Args:
      name: of the baseline.
      learn: makes it.
      lesson: what it learns from.
      exam: pictures that it has not seen, M at least 1.

    Returns:
      Its result, without latency and memory, and what it has become.
    """
    start = time.perf_counter()
    fitted = learn(lesson)
    predicted = fitted.answer(exam.pixels)
    seconds = time.perf_counter() - start
    right, total = int(np.sum(exam.labels == predicted)), len(exam)
    result = BaselineResult(
        name=name,
        accuracy=right / total,
        interval=wilson(right, total),
        bytes=fitted.bytes,
        seconds=seconds,
        samples=total,
        notes=fitted.notes,
        trained_on=len(lesson),
    )
    return result, fitted


def one_answer_ms(answer: Callable[[Any], object], shown: Sequence[Any]) -> float:
    """Median milliseconds of one answer, after one that does not count.

    Args:
      answer: takes one of `shown`.
      shown: what is asked, at least one; taken in turn.

    Returns:
      Milliseconds, over fifty answers, or over fewer where they take more than 0.2 s.
    """
    answer(shown[0])
    times: list[float] = []
    while len(times) < TIMED and sum(times) < MOST_TIMED_S:
        asked = shown[len(times) % len(shown)]
        start = time.perf_counter()
        answer(asked)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def memory_of(fitted: Fitted, pictures: np.ndarray) -> int | None:
    """Bytes that a baseline holds in arrays, with the most that the answer to one picture takes beside them.

    Args:
      fitted: the baseline.
      pictures: uint8 (M, C, H, W), M at least 1; the first one is asked.

    Returns:
      Bytes, as Python's tracemalloc counts them; None where somebody else traces allocations already.
    """
    if tracemalloc.is_tracing():
        return None
    held = sum(array.nbytes for array in fitted.held)
    tracemalloc.start()
    try:
        fitted.answer(pictures[:1])
        return held + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def left_out(name: str, why: str) -> BaselineResult:
    """The entry of a baseline that was not run.

    Args:
      name: of the baseline.
      why: in words.

    Returns:
      A result that ranks below every other and says why.
    """
    return BaselineResult(name=name, accuracy=0.0, interval=(0.0, 1.0), bytes=0, seconds=0.0, samples=0, left_out=why)


def label_bytes(classes: int) -> int:
    """Bytes to store one class number: 1 for up to 256 classes, 2 up to 65,536, otherwise 4."""
    return 1 if classes <= 256 else 2 if classes <= 65_536 else 4
