# SPDX-License-Identifier: Apache-2.0
"""A baseline as the table holds it: its way of learning, and its part of the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fireforge.base.baseline import BaselineResult
from fireforge.baseline.lesson import Learner, Lesson
from fireforge.baseline.result import examine


@dataclass(frozen=True, kw_only=True)
class Method:
    """One baseline.

    Args:
      name: in the table and in the report.
      learn: takes a Lesson and gives what answers.
      weight: its part of the time of all baselines, beside the others' weights; 0 for one that takes none, which
        always learns from everything.
      recalls: whether an answer takes the longer the more pictures were learned from.
    """

    name: str
    learn: Learner
    weight: float
    recalls: bool = False

    def __call__(
        self,
        train_x: np.ndarray,
        train_y: np.ndarray,
        val_x: np.ndarray,
        val_y: np.ndarray,
        classes: int,
        *,
        seed: int = 0,
    ) -> BaselineResult:
        """Learn from all of one part and answer all of another.

        Args:
          train_x: uint8 (N, C, H, W).
          train_y: int (N,).
          val_x: uint8 (M, C, H, W).
          val_y: int (M,).
          classes: K.
          seed: of everything that is drawn.

        Returns:
          The result, without latency and memory.
        """
        lesson = Lesson(pixels=train_x, labels=train_y, classes=classes, seed=seed)
        exam = Lesson(pixels=val_x, labels=val_y, classes=classes, seed=seed)
        return examine(self.name, self.learn, lesson, exam)[0]
