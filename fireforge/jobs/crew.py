# SPDX-License-Identifier: Apache-2.0
"""Trials several at a time: one process with one thread for each core, or this process where a GPU trains."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from fireforge.base.deadline import Deadline
from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.machine import this_machine, usable_cores
from fireforge.base.record import RunRecord
from fireforge.base.trial import Trial
from fireforge.base.value import Json, canonical_json
from fireforge.train.shelf import Shelf
from fireforge.train.trial import lost_trial, run_trial
from fireforge.train.world import make_world

WORKER = "fireforge.train.worker"
DATA_SHARE = 0.25  # of the memory that the pictures of all workers may take
LOOK_S = 0.2  # between two looks whether the deadline was stopped
Answers = queue.Queue[tuple[int, "_Worker", Json]]  # place of a trial, who trains it, what it says


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a crew does at once.

    Args:
      trials: what to train.
      folder: of the run.
      deadline: each training stops after the batch in which it runs out, and no other begins.
      cache: folder of pictures made ready; None for none.
      until: digest of a trial to the epochs after which its training stops, where an earlier run stopped it.
      keep: whether checkpoints are written and taken up.
      at_least_one: whether the first of the trials begins, for a batch, even when the deadline is over.
    """

    trials: Sequence[Trial]
    folder: Path
    deadline: Deadline = field(default_factory=Deadline)
    cache: Path | None = None
    until: Mapping[str, float] = field(default_factory=dict)
    keep: bool = True
    at_least_one: bool = True

    def begins(self, place: int) -> bool:
        """Whether the trial at this place may begin now."""
        return not self.deadline.over() or (self.at_least_one and place == 0)

    def line(self, place: int, device: str) -> str:
        """One order as a worker reads it."""
        left = self.deadline.left()
        order = {
            "trial": self.trials[place].to_json(),
            "folder": str(self.folder),
            "device": device,
            "seconds": left if math.isfinite(left) else None,
            "cache": str(self.cache) if self.cache else None,
            "keep": self.keep,
            "until": self.until.get(self.trials[place].digest()),
        }
        return canonical_json(order) + "\n"


class Crew:
    """Runs trials; small networks gain more from trials side by side than from threads inside one.

    Args:
      device: see `fireforge.train.world.make_world`; on a CPU, `size` is the number of cores, otherwise 1;
        `on_cpu` tells which.
      data_bytes: of the pictures, which each worker holds for itself; there are no more workers than a quarter of the
        memory holds. 0 where unknown.
    """

    def __init__(self, device: str, *, data_bytes: int = 0) -> None:
        self._device = device
        self.on_cpu = make_world(device).device.type == "cpu"
        self.size = _size(data_bytes) if self.on_cpu else 1
        self._workers: list[_Worker] = []
        self._shelf: tuple[Path | None, Shelf] | None = None
        self._limit = Deadline()  # of the orders that it follows now
        self._stopped = False

    def __enter__(self) -> Crew:
        """Start the processes, where there are several; they import torch while this one goes on."""
        if self.size > 1:
            self._workers = [_Worker() for _ in range(self.size)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes, without waiting for what they do."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def stop(self) -> None:
        """Let every training end after its batch and no other begin; safe in a signal handler and from any thread.

        `run` still yields what was trained so far. From then on the time of all orders is up.
        """
        self._stopped = True
        self._limit.stop()
        for worker in self._workers:
            worker.interrupt()

    def run(self, orders: Orders) -> Iterator[RunRecord | float]:
        """Train trials.

        Args:
          orders: what to do; its deadline may be stopped meanwhile.

        Yields:
          A record as soon as its trial is done, and between them the share of all epochs that is done, in [0, 1]. A
          trial that the deadline keeps from beginning is not yielded.

        Raises:
          FireforgeError: what a trial raises, or WORKER_DIED.
        """
        self._limit = orders.deadline.within(math.inf)  # so that stop() leaves the caller's own alone
        if self._stopped:
            self._limit.stop()
        orders = dataclasses.replace(orders, deadline=self._limit)
        yield from self._together(orders) if self._workers else self._alone(orders)

    def _together(self, orders: Orders) -> Iterator[RunRecord | float]:
        # who still trains what a caller lost interest in cannot take orders
        self._workers = [worker.renewed() if worker.busy else worker for worker in self._workers]
        answers: Answers = queue.Queue()
        places = iter(range(len(orders.trials)))
        shares = [0.0] * len(orders.trials)
        busy = sum(self._begin(worker, next(places, None), orders, answers) for worker in self._workers)
        told = False
        while busy:
            if orders.deadline.stopped() and not told:
                told = True
                for worker in self._workers:
                    worker.interrupt()
            try:
                place, worker, answer = answers.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if "share" in answer:
                shares[place] = answer["share"]
                yield sum(shares) / len(shares)
                continue
            worker.busy = "died" in answer
            shares[place] = 1.0
            record = _record(answer, orders.trials[place])
            busy += self._begin(worker, next(places, None), orders, answers) - 1
            yield record

    def _begin(self, worker: _Worker, place: int | None, orders: Orders, answers: Answers) -> bool:
        """Send the order at a place, where there is one and it may begin."""
        if place is None or not orders.begins(place):
            return False
        worker.send(orders.line(place, self._device), place, answers)
        return True

    def _alone(self, orders: Orders) -> Iterator[RunRecord]:
        for place, trial in enumerate(orders.trials):
            if not orders.begins(place):
                return
            try:
                yield run_trial(
                    trial,
                    folder=orders.folder,
                    ready=self._shelf_of(orders.cache).ready,
                    device=self._device,
                    deadline=orders.deadline,
                    keep=orders.keep,
                    until=orders.until.get(trial.digest(), math.inf),
                )
            except FireforgeError as error:
                yield _lost(trial, error)

    def _shelf_of(self, cache: Path | None) -> Shelf:
        if self._shelf is None or self._shelf[0] != cache:
            self._shelf = (cache, Shelf(cache))
        return self._shelf[1]


class _Worker:
    """One child process and the thread that listens to it; busy from an order to its record."""

    def __init__(self) -> None:
        self.busy = False
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self._listener: threading.Thread | None = None
        command = [sys.executable, "-m", WORKER, str(os.getpid())]
        with _interrupts_held_back():
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True
            )

    def send(self, line: str, place: int, answers: Answers) -> None:
        assert self._process.stdin is not None
        self.busy = True
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the listener finds the process gone and says so
        self._listener = threading.Thread(target=self._listen, args=(place, answers), daemon=True)
        self._listener.start()

    def interrupt(self) -> None:
        if self.busy:
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._listener is not None:
            self._listener.join()  # it reads to the end of what the process wrote, then the streams may go
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            if stream is not None:
                _close(stream)

    def renewed(self) -> _Worker:
        self.end()
        return _Worker()

    def _listen(self, place: int, answers: Answers) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break  # killed in the middle of a word
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


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """A process that is started within gets SIGINT only once it has said how it takes it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _size(data_bytes: int) -> int:
    """Workers on a CPU: one for each core, as far as the memory holds their pictures."""
    memory, cores = this_machine().memory_bytes, usable_cores()
    if not data_bytes or not memory:
        return cores
    return max(1, min(cores, int(memory * DATA_SHARE / data_bytes)))


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
