# SPDX-License-Identifier: Apache-2.0
"""What a baseline reached: the figures that a network must beat."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class BaselineResult(Value):
    """A baseline's accuracy on pictures that it has not seen, and what it would take to ship it.

    Args:
      name: of the baseline.
      accuracy: share of right answers, in [0, 1].
      interval: 95 % interval of the accuracy, by Wilson.
      bytes: of what would have to be stored to answer.
      seconds: to choose, fit and answer all questions.
      samples: pictures that were asked about.
      notes: what was chosen or left out, one line each.
    """

    name: str
    accuracy: float
    interval: tuple[float, float]
    bytes: int
    seconds: float
    samples: int
    notes: tuple[str, ...] = ()
