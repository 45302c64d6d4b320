# SPDX-License-Identifier: Apache-2.0
"""Trials several at a time: one process with one thread for each core, or this process where a GPU trains."""

from __future__ import annotations

import json
import math
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from fireforge.base.deadline import Deadline
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.machine import usable_cores
from fireforge.base.record import RunRecord
from fireforge.base.trial import Trial
from fireforge.base.value import Json, canonical_json
from fireforge.train.trial import lost_trial, make_ready, run_trial
from fireforge.train.worker import first_pictures
from fireforge.train.world import make_world

WORKER = "fireforge.train.worker"


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a crew does at once.

    Args:
      trials: what to train.
      folder: of the run.
      deadline: each stops after the epoch in which it runs out.
      most_pictures: of the training part that are used; 0 for all.
    """

    trials: Sequence[Trial]
    folder: Path
    deadline: Deadline = field(default_factory=Deadline)
    most_pictures: int = 0

    def line(self, place: int, device: str) -> str:
        """One order as a worker reads it."""
        left = self.deadline.left()
        order = {
            "trial": self.trials[place].to_json(),
            "folder": str(self.folder),
            "device": device,
            "seconds": left if math.isfinite(left) else None,
            "most_pictures": self.most_pictures,
        }
        return canonical_json(order) + "\n"


class Crew:
    """Runs trials; small networks gain more from trials side by side than from threads inside one.

    Args:
      device: see `fireforge.train.world.make_world`; on a CPU, `size` is the number of cores, otherwise 1.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.size = usable_cores() if make_world(device).device.type == "cpu" else 1
        self._workers: list[_Worker] = []

    def __enter__(self) -> Crew:
        """Start the processes, where there are several; they import torch while this one goes on."""
        if self.size > 1:
            self._workers = [_Worker() for _ in range(self.size)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the processes, without waiting for what they do."""
        for worker in self._workers:
            worker.stop()

    def run(self, orders: Orders) -> Iterator[RunRecord | float]:
        """Train trials.

        Args:
          orders: what to do.

        Yields:
          A record as soon as its trial is done, and between them the share of all epochs that is done, in [0, 1].

        Raises:
          FireforgeError: what a trial raises, or WORKER_DIED.
        """
        if not self._workers:
            yield from self._alone(orders)
            return
        answers: queue.Queue[tuple[int, _Worker, Json]] = queue.Queue()
        waiting = list(range(len(orders.trials)))[::-1]
        shares = [0.0] * len(orders.trials)
        busy = 0
        for worker in self._workers[: len(waiting)]:
            place = waiting.pop()
            worker.send(orders.line(place, self._device), place, answers)
            busy += 1
        while busy:
            place, worker, answer = answers.get()
            if "share" in answer:
                shares[place] = answer["share"]
                yield sum(shares) / len(shares)
                continue
            busy -= 1
            shares[place] = 1.0
            record = _record(answer, orders.trials[place])
            if waiting:
                place = waiting.pop()
                worker.send(orders.line(place, self._device), place, answers)
                busy += 1
            yield record

    def _alone(self, orders: Orders) -> Iterator[RunRecord]:
        for trial in orders.trials:
            ready = first_pictures(make_ready(trial), orders.most_pictures)
            try:
                yield run_trial(trial, folder=orders.folder, ready=ready, device=self._device, deadline=orders.deadline)
            except FireforgeError as error:
                yield _lost(trial, error)


class _Worker:
    """One child process and the thread that listens to it."""

    def __init__(self) -> None:
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        command = [sys.executable, "-m", WORKER]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True
        )

    def send(self, line: str, place: int, answers: queue.Queue[tuple[int, _Worker, Json]]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the listener finds the process gone and says so
        threading.Thread(target=self._listen, args=(place, answers), daemon=True).start()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            if stream is not None:
                _close(stream)

    def _listen(self, place: int, answers: queue.Queue[tuple[int, _Worker, Json]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            answers.put((place, self, answer))
            if "share" not in answer:
                return
        answers.put((place, self, {"died": self._last_words()}))

    def _last_words(self) -> str:
        code = self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return f"exit code {code}" + (f", {lines[-1]}" if lines else "")


def _record(answer: Json, trial: Trial) -> RunRecord:
    if "record" in answer:
        return RunRecord.from_json(answer["record"])
    if "error" in answer:
        fields = dict(answer["error"])
        code, what = fields.pop("code"), fields.pop("what")
        return _lost(trial, FireforgeError(code, what, **{**fields, "exit_code": Exit(fields["exit_code"])}))
    raise FireforgeError(
        "WORKER_DIED",
        f"a training process ended: {answer['died']}",
        do="the same command, which goes on from here; less memory if it was killed",
        exit_code=Exit.ENVIRONMENT,
    )


def _lost(trial: Trial, error: FireforgeError) -> RunRecord:
    """A trial that diverged is a result of the search; every other error ends it."""
    if error.code != "DIVERGED":
        raise error
    return lost_trial(trial, error)


def _close(stream: IO[str] | IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return  # a half-written order to a process that is gone
