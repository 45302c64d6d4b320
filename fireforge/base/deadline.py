# SPDX-License-Identifier: Apache-2.0
"""A clock that only moves forward and can be shared out among stages."""

from __future__ import annotations

import math
import time


class Deadline:
    """So many seconds from its making, by the monotonic clock; clock changes do not move it.

    Args:
      seconds: from now; infinity for no limit.
      used: seconds that an earlier run has already used.
    """

    def __init__(self, seconds: float = math.inf, *, used: float = 0.0) -> None:
        self.seconds = seconds
        self._start = time.monotonic() - used

    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.seconds - self.used())

    def over(self) -> bool:
        """Whether the time is up."""
        return self.left() <= 0.0

    def part(self, share: float) -> Deadline:
        """A deadline for a share of the time that is left.

        Args:
          share: in (0, 1].

        Returns:
          A new deadline that starts now and ends no later than this one.
        """
        return Deadline(self.left() * share)
