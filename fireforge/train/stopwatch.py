# SPDX-License-Identifier: Apache-2.0
"""Where a training's time goes: a clock that is always on and asks for nothing but the time of day."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import torch

from fireforge.base.feeding import BESIDE

STAGES = (
    *("prepare", "read", "decode", "wait", "collate", "copy", "augment"),
    *("forward", "backward", "update", "evaluate", "checkpoint"),
)
QUEUE = "loop/queue"  # seconds that the loop waited for a core: no stage, they lie within the stages
EVERY = 20  # on an accelerator one step in so many is timed, and counts for all of them


class Stopwatch:
    """Seconds by stage; each lap takes the time since the one before it.

    What is left of a training's seconds when all stages are taken away is the loop around them. An accelerator works on
    while the program runs ahead of it: there one step in EVERY waits for it at the end of each stage, and no other.

    Args:
      device: where the stages work.
    """

    def __init__(self, device: torch.device) -> None:
        self.halted: Callable[[], bool] = bool  # whether the training is to end: who waits for data looks at it
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._waits = device if device.type == "cuda" else None
        self._steps = 0
        self._weight = 1
        self._last = 0.0
        self._queue = 0.0
        self.start()

    def start(self) -> None:
        """Begin anew: what came before counts for no stage; what follows, for the next one by its full time."""
        self._weight = 1
        self._wait()
        self._queue = waited_for_core()  # of steps alone, not of what came between them
        self._last = time.perf_counter()

    def add(self, before: Mapping[str, float]) -> None:
        """Count what the same training took before it was interrupted.

        Args:
          before: seconds by stage.
        """
        for stage, seconds in before.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def beside(self, spent: Mapping[str, float]) -> None:
        """Count what is no stage of the loop, such as the seconds of data workers, which pass while it works.

        Args:
          spent: seconds by name, which is kept as "feed/" and the name.
        """
        self.add({f"{BESIDE}{name}": seconds for name, seconds in spent.items()})

    def step(self) -> None:
        """Begin the stages of one batch."""
        queue = waited_for_core()
        self.add({QUEUE: queue - self._queue})
        self._queue = queue
        if self._waits is None:
            return
        timed = self._steps % EVERY == 0
        self._steps += 1
        if timed:
            self.start()
        self._weight = EVERY if timed else 0

    def lap(self, stage: str) -> None:
        """End a stage.

        Args:
          stage: one of STAGES.
        """
        if not self._weight:
            return
        self._wait()
        now = time.perf_counter()
        self.seconds[stage] += self._weight * (now - self._last)
        self._last = now

    def _wait(self) -> None:
        if self._waits is not None:
            torch.cuda.synchronize(self._waits)


def waited_for_core() -> float:
    """Seconds in which this thread could have run and others did; 0 where the system does not tell."""
    try:
        handle = os.open("/proc/thread-self/schedstat", os.O_RDONLY)  # cheaper than a stream, and asked at each step
        try:
            return int(os.read(handle, 100).split()[1]) / 1e9
        finally:
            os.close(handle)
    except (OSError, IndexError, ValueError):
        return 0.0
