# SPDX-License-Identifier: Apache-2.0
"""Trials several at a time: one process with one thread for each core, or this process where a GPU trains."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType

import torch

from fireforge.base.deadline import Deadline
from fireforge.base.machine import usable_cores
from fireforge.base.record import RunRecord
from fireforge.base.trial import Trial
from fireforge.train.feed import Ready
from fireforge.train.trial import run_trial
from fireforge.train.world import make_world


class Crew:
    """Runs trials; small networks gain more from trials side by side than from threads inside one.

    Args:
      device: see `fireforge.train.world.make_world`; on a CPU, `size` is the number of cores, otherwise 1.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.size = usable_cores() if make_world(device).device.type == "cpu" else 1
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Crew:
        """Start the processes, where there are several."""
        if self.size > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.size, mp_context=context, initializer=_start)
            for _ in range(self.size):
                self._pool.submit(_awake)  # they import torch while this process goes on
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the processes; where something went wrong, without waiting for what they do."""
        if self._pool is None:
            return
        if error is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, trials: Sequence[Trial], *, folder: Path, ready: Ready, deadline: Deadline) -> Iterator[RunRecord]:
        """Train trials.

        Args:
          trials: what to train.
          folder: of the run.
          ready: pictures of all of them.
          deadline: each stops after the epoch in which it runs out.

        Yields:
          A record as soon as its trial is done.
        """
        if self._pool is None:
            for trial in trials:
                yield run_trial(trial, folder=folder, ready=ready, device=self._device, deadline=deadline)
            return
        pending: list[Future[RunRecord]] = [
            self._pool.submit(run_trial, trial, folder=folder, ready=ready, device=self._device, deadline=deadline)
            for trial in trials
        ]
        for future in as_completed(pending):
            yield future.result()


def _start() -> None:
    """One thread a process; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _awake() -> None:
    """Nothing: a process that can run this has imported what it needs."""
