# SPDX-License-Identifier: Apache-2.0
"""A process that runs trials: orders come in as JSON lines on stdin, records go out as JSON lines on stdout.

No pickle and no import of the caller's main module, so it works from a script, a notebook or a service alike. An order
is {"trial": Trial, "folder": str, "device": str, "seconds": float | null, "until": float | null, "cache": str | null,
"keep": bool}; an answer is {"share": float} after each epoch, then {"record": RunRecord} or {"error": {"code", "what",
...}}. SIGINT ends the training of the present order, whose record still follows; the end of the parent ends the
process.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO

import torch

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Update
from fireforge.base.trial import Trial
from fireforge.base.value import Json, canonical_json
from fireforge.train.memory import keep_freed
from fireforge.train.shelf import Shelf
from fireforge.train.trial import run_trial

LOOK_S = 0.5  # between two looks for the parent


class Worker:
    """Runs orders one after another and keeps the pictures of the last data in memory.

    Args:
      out: where answers go.
    """

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._shelf: tuple[str | None, Shelf] | None = None
        self._deadline = Deadline()  # made before its order comes, so that no interrupt is lost between two orders

    def serve(self, orders: IO[str]) -> None:
        """Answer every order until the stream ends.

        Args:
          orders: JSON lines.
        """
        for line in orders:
            try:
                answer = {"record": self._run(json.loads(line))}
            except FireforgeError as error:
                answer = {"error": error_json(error)}
            self._deadline = Deadline()  # before the answer: an interrupt that comes after it means the next order
            self._say(answer)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Stop the present order after its batch, or the next one if none runs: it may lie in the pipe already.

        Args:
          number: of the signal.
          frame: where it came in.
        """
        self._deadline.stop()

    def _run(self, order: Json) -> Json:
        seconds = math.inf if order["seconds"] is None else order["seconds"]
        record = run_trial(
            Trial.from_json(order["trial"]),
            folder=order["folder"],
            ready=self._shelf_of(order["cache"]).ready,
            device=order["device"],
            progress=self._progress,
            deadline=self._deadline.within(seconds),
            keep=order["keep"],
            until=math.inf if order["until"] is None else order["until"],
        )
        return record.to_json()

    def _shelf_of(self, cache: str | None) -> Shelf:
        """The shelf of the pictures that lie in a folder; another run has another."""
        if self._shelf is None or self._shelf[0] != cache:
            self._shelf = (cache, Shelf(Path(cache) if cache else None))
        return self._shelf[1]

    def _progress(self, update: Update) -> None:
        self._say({"share": update.done / max(1.0, update.total)})

    def _say(self, answer: Json) -> None:
        self._out.write(canonical_json(answer) + "\n")
        self._out.flush()


def error_json(error: FireforgeError) -> Json:
    """An error's fields as JSON."""
    names = ("code", "what", "where", "allowed", "do")
    return {**{name: getattr(error, name) for name in names}, "exit_code": int(error.exit_code)}


def end_with(parent: int) -> None:
    """End this process within a second of its parent's end, whatever it does then.

    Args:
      parent: process id.
    """
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)  # nobody waits for the answer any more


def main() -> None:
    """One thread a process; the argument is the parent's process id; stray prints go to stderr."""
    torch.set_num_threads(1)
    keep_freed()
    answers, sys.stdout = sys.stdout, sys.stderr
    worker = Worker(answers)
    threading.Thread(target=end_with, args=(int(sys.argv[1]),), daemon=True).start()
    signal.signal(signal.SIGINT, worker.interrupt)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # held back until now by who started this process
    worker.serve(sys.stdin)


if __name__ == "__main__":
    main()
