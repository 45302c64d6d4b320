# SPDX-License-Identifier: Apache-2.0
"""Where a training's time goes: a clock that is always on and asks for nothing but the time of day."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

STAGES = ("prepare", "collate", "copy", "augment", "forward", "backward", "update", "evaluate", "checkpoint")
EVERY = 20  # on an accelerator one step in so many is timed, and counts for all of them


class Stopwatch:
    """Seconds by stage; each lap takes the time since the one before it.

    What is left of a training's seconds when all stages are taken away is the loop around them. An accelerator works on
    while the program runs ahead of it: there one step in EVERY waits for it at the end of each stage, and no other.

    Args:
      device: where the stages work.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._waits = device if device.type == "cuda" else None
        self._steps = 0
        self._weight = 1
        self._last = 0.0
        self.start()

    def start(self) -> None:
        """Begin anew: what came before counts for no stage; what follows, for the next one by its full time."""
        self._weight = 1
        self._wait()
        self._last = time.perf_counter()

    def add(self, before: Mapping[str, float]) -> None:
        """Count what the same training took before it was interrupted.

        Args:
          before: seconds by stage.
        """
        for stage, seconds in before.items():
            self.seconds[stage] += seconds

    def step(self) -> None:
        """Begin the stages of one batch."""
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
