# SPDX-License-Identifier: Apache-2.0
"""What a baseline reached: the figures that a network must beat."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.record import RunRecord
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class BaselineResult(Value):
    """A baseline's accuracy on pictures that it has not seen, and what it would take to ship it.

    Args:
      name: of the baseline.
      accuracy: share of right answers, in [0, 1]; 0 where it was left out.
      interval: 95 % interval of the accuracy, by Wilson; 0 to 1 where it was left out.
      bytes: of what would have to be stored to answer.
      seconds: to learn and to answer all questions.
      samples: pictures that were asked about; 0 where it was left out.
      notes: what was chosen or cut, one line each.
      trained_on: pictures that it learned from.
      latency_ms: median time of the answer to one picture, from pixels in memory; None where it was not measured.
      memory_bytes: of the arrays that it holds and the most that one answer takes beside them; None where it was not
        measured.
      left_out: why it was not run; "" where it was.
      record: of the training, where the baseline is a network; its weights lie in the run's folder.
    """

    name: str
    accuracy: float
    interval: tuple[float, float]
    bytes: int
    seconds: float
    samples: int
    notes: tuple[str, ...] = ()
    trained_on: int = 0
    latency_ms: float | None = None
    memory_bytes: int | None = None
    left_out: str = ""
    record: RunRecord | None = None

    def figures(self) -> dict[str, float]:
        """What was measured of what `fireforge.base.budget.LIMITS` is held against; nothing where it was left out."""
        if self.left_out:
            return {}
        found = {
            "bytes": self.bytes,
            "latency_ms": self.latency_ms,
            "memory_bytes": self.memory_bytes,
            "accuracy": self.accuracy,
        }
        return {name: value for name, value in found.items() if value is not None}
