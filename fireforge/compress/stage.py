# SPDX-License-Identifier: Apache-2.0
"""The one contract of all compression stages: a Model in, a Model and its report out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fireforge.base.deadline import Deadline
from fireforge.base.model import Model
from fireforge.base.progress import Progress, silent
from fireforge.base.record import Facts, StageReport

if TYPE_CHECKING:
    from torch import nn


class Finetune(Protocol):
    """Trains a changed network on, on pictures that the stage does not see."""

    def __call__(self, student: nn.Module, teacher: nn.Module, *, lr: float) -> int:
        """Train the student towards the teacher's answers, in place.

        Args:
          student: gives logits (N, K); its method `freeze`, where it has one, is called half-way.
          teacher: gives logits (N, K); is not trained.
          lr: greatest rate of Adam.

        Returns:
          Updates that were made; 0 where there was no time for any, and nothing is changed.
        """


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a stage may use beside the model.

    Args:
      calibration: float32 (N, C, H, W), normalized training pictures.
      evaluate: measures a model on pictures that the stage does not see.
      finetune: trains a network on; None where nothing may be trained.
      deadline: when the stage must be done.
      progress: receives updates.
    """

    calibration: np.ndarray
    evaluate: Callable[[Model], Facts]
    finetune: Finetune | None = None
    deadline: Deadline = field(default_factory=Deadline)
    progress: Progress = silent


Stage = Callable[[Model, Context], tuple[Model, StageReport]]
Work = Callable[[Model, Context], tuple[Model, tuple[str, ...]]]


def staged(name: str, work: Work, model: Model, *, ctx: Context) -> tuple[Model, StageReport]:
    """Do a stage's work and measure before and after it.

    Args:
      name: the stage's name in STAGES.
      work: gives the new model and notes; the same model object where there was nothing to do.
      model: what comes in.
      ctx: see Context.

    Returns:
      The new model and the report.
    """
    start = time.monotonic()
    before = ctx.evaluate(model)
    changed, notes = work(model, ctx)
    after = before if changed is model else ctx.evaluate(changed)
    return changed, StageReport(stage=name, before=before, after=after, notes=notes, seconds=time.monotonic() - start)
