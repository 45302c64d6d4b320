# SPDX-License-Identifier: Apache-2.0
"""How far a training has come."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import torch

from fireforge.base.gradients import Gradients
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Part(Value):
    """What was trained of an epoch that is not whole.

    Args:
      steps: batches.
      seen: pictures in them.
      loss: sum of the pictures' losses, as the loop adds them in float32.
      right: number of right answers.
      rate: the last learning rate.
    """

    steps: int = 0
    seen: int = 0
    loss: float = 0.0
    right: float = 0.0
    rate: float = 0.0

    def of(self, sums: torch.Tensor) -> Part:
        """The same part with what the loop added up: loss and right answers, (2,) on any device."""
        loss, right = sums.tolist()
        return dataclasses.replace(self, loss=loss, right=right)


@dataclass(frozen=True, kw_only=True)
class Course(Value):
    """How far a training has come.

    Args:
      epochs: passes over the training part; a share of one counts as that.
      metrics: name to numbers by epoch so far.
      seconds: of training behind it, those before an interruption too.
      stages: of these seconds, those of each of `fireforge.train.stopwatch.STAGES`.
      finish: seconds after the last epoch, for the norms and the last look at the validation part.
      part: of the epoch under way; None between two epochs.
      left_out: steps whose gradient was not finite.
      row: of them those since the last good step.
      resumed: times that it was taken up after an interruption.
      gradients: what was seen of them.
    """

    epochs: float = 0.0
    metrics: dict[str, tuple[float, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    finish: float = 0.0
    part: Part | None = None
    left_out: int = 0
    row: int = 0
    resumed: int = 0
    gradients: Gradients = field(default_factory=Gradients)

    def told(self, found: dict[str, float]) -> Course:
        """The course with one more number for each of some metrics."""
        more = {name: (*self.metrics.get(name, ()), value) for name, value in found.items()}
        return dataclasses.replace(self, metrics=self.metrics | more)
