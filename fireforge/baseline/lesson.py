# SPDX-License-Identifier: Apache-2.0
"""What a baseline learns from, and what it has become when it has learned."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fireforge.baseline.sample import stratified_order


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """Pictures with their classes.

    Args:
      pixels: uint8 (N, C, H, W), N at least 1.
      labels: int (N,).
      classes: K.
      seed: of everything that is drawn.
    """

    pixels: np.ndarray
    labels: np.ndarray
    classes: int
    seed: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Lesson:
        """A stratified sample of so many pictures; the same lesson where there are no more."""
        if count >= len(self):
            return self
        kept = np.sort(self._order[:count])
        return Lesson(pixels=self.pixels[kept], labels=self.labels[kept], classes=self.classes, seed=self.seed)

    @functools.cached_property
    def _order(self) -> np.ndarray:
        return stratified_order(self.labels, seed=self.seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A baseline that has learned.

    Args:
      answer: takes pictures uint8 (M, C, H, W) of the size that it learned from and gives classes int64 (M,).
      bytes: that would have to be stored to answer.
      held: the arrays that are in memory to answer.
      notes: what was chosen, one line each.
    """

    answer: Callable[[np.ndarray], np.ndarray]
    bytes: int
    held: tuple[np.ndarray, ...] = ()
    notes: tuple[str, ...] = ()


Learner = Callable[[Lesson], Fitted]
