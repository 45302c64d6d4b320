# SPDX-License-Identifier: Apache-2.0
"""What a training is told: what it does, where it keeps its state, who watches it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from fireforge.base.deadline import Deadline
from fireforge.base.progress import Progress, silent
from fireforge.base.trial import Recipe
from fireforge.train.feed import Batching, Ready
from fireforge.train.world import World

WITHIN_S = 20.0  # between two states on disk, so that a kill costs less than half a minute
KEPT = 2  # states on disk: the newest, and the one before it should the newest be damaged


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a training does.

    Args:
      recipe: how.
      ready: on what.
      batching: how pictures become batches.
      world: where.
    """

    recipe: Recipe
    ready: Ready
    batching: Batching
    world: World


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Where a training keeps its state, and how often.

    Args:
      folder: of the states; None keeps none.
      owner: digest of what is trained.
      seconds: between two states, within an epoch too.
      kept: states on disk.
    """

    folder: Path | None = None
    owner: str = ""
    seconds: float = WITHIN_S
    kept: int = KEPT


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Who watches a training and when it must stop.

    Args:
      progress: receives an update an epoch, and one a second within it.
      deadline: the training stops after the batch in which it runs out, is finished and judged like a whole one; where
        it is halted, the training keeps its state and ends by a KeyboardInterrupt.
      judge_every: epochs between two looks at the validation part; the last epoch is always judged.
      until: epochs after which the training stops like one that the deadline cuts, such as 3.25; infinity for none.
    """

    progress: Progress = silent
    deadline: Deadline
    judge_every: int = 1
    until: float = math.inf

    def over(self, epochs: float) -> bool:
        """Whether a training that has come so far must stop."""
        return self.deadline.over() or epochs >= self.until
