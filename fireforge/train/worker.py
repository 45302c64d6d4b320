# SPDX-License-Identifier: Apache-2.0
"""A process that runs trials: orders come in as JSON lines on stdin, records go out as JSON lines on stdout.

No pickle and no import of the caller's main module, so it works from a script, a notebook or a service alike. An order
is {"trial": Trial, "folder": str, "device": str, "seconds": float | null, "most_pictures": int}; an answer is
{"share": float} after each epoch, then {"record": RunRecord} or {"error": {"code", "what", ...}}.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import sys
from typing import IO

import torch

from fireforge.base.deadline import Deadline
from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Update
from fireforge.base.trial import Trial
from fireforge.base.value import Json, canonical_json
from fireforge.train.feed import Pictures, Ready
from fireforge.train.trial import make_ready, run_trial


class Worker:
    """Runs orders one after another and keeps the pictures of the last data in memory.

    Args:
      out: where answers go.
    """

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._parent = os.getppid()
        self._held: tuple[Json, Ready] | None = None

    def serve(self, orders: IO[str]) -> None:
        """Answer every order until the stream ends.

        Args:
          orders: JSON lines.
        """
        for line in orders:
            try:
                self._say({"record": self._run(json.loads(line))})
            except FireforgeError as error:
                self._say({"error": error_json(error)})

    def _run(self, order: Json) -> Json:
        trial = Trial.from_json(order["trial"])
        seconds = math.inf if order["seconds"] is None else order["seconds"]
        record = run_trial(
            trial,
            folder=order["folder"],
            ready=first_pictures(self._ready(trial), order["most_pictures"]),
            device=order["device"],
            progress=self._progress,
            deadline=Deadline(seconds),
        )
        return record.to_json()

    def _ready(self, trial: Trial) -> Ready:
        key = (trial.data, trial.preprocess, trial.parts)
        if self._held is None or self._held[0] != key:
            self._held = (key, make_ready(trial))
        return self._held[1]

    def _progress(self, update: Update) -> None:
        if os.getppid() != self._parent:
            sys.exit(1)  # nobody waits for the answer any more
        self._say({"share": update.done / max(1.0, update.total)})

    def _say(self, answer: Json) -> None:
        self._out.write(canonical_json(answer) + "\n")
        self._out.flush()


def first_pictures(ready: Ready, most: int) -> Ready:
    """The same pictures with at most so many of the training part; 0 for all."""
    if not most:
        return ready
    train = ready.train
    few = Pictures(pixels=train.pixels[:most], labels=train.labels[:most], ids=train.ids[:most])
    return dataclasses.replace(ready, train=few)


def error_json(error: FireforgeError) -> Json:
    """An error's fields as JSON."""
    names = ("code", "what", "where", "allowed", "do")
    return {**{name: getattr(error, name) for name in names}, "exit_code": int(error.exit_code)}


def main() -> None:
    """One thread a process; Ctrl-C is the parent's to handle; stray prints go to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr
    Worker(answers).serve(sys.stdin)


if __name__ == "__main__":
    main()
