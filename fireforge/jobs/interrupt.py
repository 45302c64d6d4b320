# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C once ends a search with the best so far and a training with its state; twice stops; both can go on."""

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
def ends_early(clock: Deadline, crew: Crew | None = None) -> Iterator[None]:
    """While this lasts, the first SIGINT lets the clock run out; the second is a KeyboardInterrupt.

    One may stand within another: a first SIGINT inside counts outside too.

    Args:
      clock: of the build, or of a part of it.
      crew: whose trials end after their present batch; None where none trains.

    Yields:
      Nothing. Outside the main thread, where Python takes no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nfinishing with the best so far; Ctrl-C again stops at once", file=sys.stderr)
        clock.stop()
        if crew is not None:
            crew.stop()

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is first or not _is_ours(before):
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def halts(clock: Deadline) -> Iterator[None]:
    """While this lasts, the first SIGINT or SIGTERM halts the clock; the second is what it is without this.

    Args:
      clock: of a training, which keeps its state at its next step and ends.

    Yields:
      Nothing. Outside the main thread, where Python takes no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(number: int, frame: FrameType | None) -> None:
        put_back()
        print("\nkeeping the state at the next step; once more stops at once", file=sys.stderr)
        clock.halt()

    for number in before:
        signal.signal(number, first)
    try:
        yield
    finally:
        put_back()


def _is_ours(handler: object) -> bool:
    """Whether a handler is that of an `ends_early` around this one, which must not take a second SIGINT for a first."""
    return getattr(handler, "__qualname__", "").startswith(f"{ends_early.__name__}.")
