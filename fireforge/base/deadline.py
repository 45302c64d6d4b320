# SPDX-License-Identifier: Apache-2.0
"""A clock that only moves forward, can be shared out among stages and can be stopped."""

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
        self._stopped = self._halted = False
        self._whole: Deadline | None = None

    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def left(self) -> float:
        """Seconds left, never below 0; none after `stop`."""
        return 0.0 if self.stopped() else max(0.0, self.seconds - self.used())

    def over(self) -> bool:
        """Whether the time is up."""
        return self.left() <= 0.0

    def stop(self) -> None:
        """Let the time be up from now on, here and in every part; safe in a signal handler and from any thread."""
        self._stopped = True  # one store, no lock that the interrupted code could hold

    def stopped(self) -> bool:
        """Whether `stop` was called, here or on what this is a part of."""
        return self._stopped or (self._whole is not None and self._whole.stopped())

    def halt(self) -> None:
        """Ask for an end that keeps what was begun, to go on with it later; safe where `stop` is."""
        self._halted = True

    def halted(self) -> bool:
        """Whether `halt` was called, here or on what this is a part of."""
        return self._halted or (self._whole is not None and self._whole.halted())

    def part(self, share: float) -> Deadline:
        """A deadline for a share of the time that is left.

        Args:
          share: in (0, 1].

        Returns:
          A new deadline that starts now and ends, or is stopped, no later than this one.
        """
        return self.within(self.left() * share)

    def within(self, seconds: float) -> Deadline:
        """A deadline of its own length inside this one.

        Args:
          seconds: from now.

        Returns:
          A new deadline that starts now and ends, or is stopped, no later than this one.
        """
        part = Deadline(min(seconds, self.left()))
        part._whole = self
        return part

    def ending_before(self, seconds: float) -> Deadline:
        """The same clock with an earlier end, so that something is left when it is over.

        Args:
          seconds: that are left of this one then.

        Returns:
          A deadline that has used as much and is stopped where this one is.
        """
        other = Deadline(max(0.0, self.seconds - seconds), used=self.used())
        other._whole = self
        return other
