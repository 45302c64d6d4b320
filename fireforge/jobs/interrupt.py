# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C once ends the search with the best so far; twice stops, and the same command goes on from there."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from fireforge.base.deadline import Deadline
from fireforge.jobs.crew import Crew


@contextlib.contextmanager
def ends_early(clock: Deadline, crew: Crew) -> Iterator[None]:
    """While this lasts, the first SIGINT lets the clock run out; the second is a KeyboardInterrupt.

    Args:
      clock: of the search.
      crew: whose trials end after their present batch.

    Yields:
      Nothing. Outside the main thread, where Python takes no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        print("\nfinishing with the best so far; Ctrl-C again stops at once", file=sys.stderr)
        clock.stop()
        crew.stop()

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
