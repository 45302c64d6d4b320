# SPDX-License-Identifier: Apache-2.0
"""What is not finite never reaches a weight: such a step is left out and counted; too many of them end a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError

MOST_IN_A_ROW = 10  # steps whose gradient is not finite, one after the other
SHOWN = 8  # pictures of a batch that are named


@dataclass(frozen=True, kw_only=True)
class Place:
    """A step, for messages.

    Args:
      step: from 1, of the epoch.
      epoch: from 1.
      rate: learning rate.
      names: of the pictures of its batch.
    """

    step: int
    epoch: int
    rate: float
    names: Sequence[str]

    def words(self) -> str:
        """The step in words; at most SHOWN pictures are named."""
        more = f" and {len(self.names) - SHOWN} more" if len(self.names) > SHOWN else ""
        pictures = f"{', '.join(self.names[:SHOWN])}{more}"
        return f"step {self.step} of epoch {self.epoch}, learning rate {self.rate:.3g}, pictures {pictures}"


class Guard:
    """Counts steps that were left out.

    Args:
      left_out: steps so far.
      row: of them those since the last good step.
    """

    def __init__(self, left_out: int = 0, row: int = 0) -> None:
        self.left_out = left_out
        self.row = row

    def good(self) -> None:
        """A step was taken."""
        self.row = 0

    def bad(self, loss: float, norm: float, place: Place, *, searching: bool = False) -> None:
        """A step was left out, since its loss or its gradient is not finite.

        Args:
          loss: of the batch.
          norm: of the gradient over all weights.
          place: where.
          searching: whether a loss scale is still being lowered, when nothing is counted as a row.

        Raises:
          FireforgeError: DIVERGED, if the loss is not finite, or MOST_IN_A_ROW steps were left out before this one.
        """
        if not math.isfinite(loss):
            raise _diverged(f"the loss is {loss}, the norm of the gradient {norm}, at {place.words()}")
        self.left_out += 1
        self.row += not searching
        if self.row > MOST_IN_A_ROW:
            raise _diverged(f"the norm of the gradient is {norm} in {self.row} steps in a row, at {place.words()}")


def _diverged(what: str) -> FireforgeError:
    return FireforgeError("DIVERGED", what, do="a lower learning rate, or a look at these pictures")
