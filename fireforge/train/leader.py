# SPDX-License-Identifier: Apache-2.0
"""The process that data workers are forked from: it loads torch and the list of pictures once and has no threads.

`fireforge.train.hands` starts it with a socket and two nameless files: the memory that batches are rendered into, and
what is to be rendered, pickled. Each message on the socket asks for a worker and brings its two pipes: orders come in
as JSON lines, {"piece", "at", "ids", "seed", "epoch", "augment"}, answers go out as {"piece", "spent"} or {"piece",
"sample", "error"}. When a worker ends otherwise than by the end of its orders, {"hand", "how"} is told on the socket.
A worker ends with its orders, which is when the parent ends, however that happens.
"""

from __future__ import annotations

import contextlib
import gc
import json
import mmap
import os
import pickle
import select
import signal
import socket
import sys
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.trial import Augment
from fireforge.base.value import Json
from fireforge.data.database.leveldb_file import remove_folders
from fireforge.train.memory import keep_freed
from fireforge.train.render import LostPicture, Renderer, Spent, Take

HAND_BYTES = 8  # of a message that asks for a worker
FAILED = 70  # exit code of a worker that raised; its traceback is on stderr


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the workers of a leader do.

    Args:
      renderer: makes pictures ready.
      shape: (C, H, W) of a picture.
    """

    renderer: Renderer
    shape: tuple[int, int, int]


def serve(job: Job, memory: mmap.mmap, orders: BinaryIO, answers: BinaryIO) -> None:
    """Render until there are no more orders.

    Args:
      job: what is done.
      memory: that pictures are put into.
      orders: JSON lines; "at" is the byte of the memory where the piece begins.
      answers: JSON lines.
    """
    for line in orders:
        order = json.loads(line)
        answers.write(json.dumps({"piece": order["piece"], **_rendered(job, memory, order)}).encode() + b"\n")
        answers.flush()


def _rendered(job: Job, memory: mmap.mmap, order: Json) -> dict[str, Json]:
    """The pictures of one order, and what they took or why one of them cannot be had."""
    spent, ids = Spent(), np.array(order["ids"], np.int64)
    count = len(ids) * int(np.prod(job.shape))
    out = np.frombuffer(memory, np.uint8, count, order["at"]).reshape(len(ids), *job.shape)
    augment = None if order["augment"] is None else Augment.from_json(order["augment"])
    try:
        job.renderer.fill(out, ids, Take(seed=order["seed"], epoch=order["epoch"], augment=augment), spent.lap)
    except LostPicture as lost:
        return {"sample": lost.sample, "error": _plain(lost.error)}
    return {"spent": spent.end()}


def _plain(error: FireforgeError) -> Json:
    names = ("code", "what", "where", "allowed", "do")
    return {**{name: getattr(error, name) for name in names}, "exit_code": int(error.exit_code)}


class _Leader:
    """Forks workers and tells of those that died."""

    def __init__(self, job: Job, memory: mmap.mmap, control: socket.socket) -> None:
        self._job, self._memory, self._control = job, memory, control
        self._hands: dict[int, int] = {}  # process to number of the worker
        self._awake, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    def lead(self) -> None:
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake)
        while True:
            ready, _, _ = select.select([self._control.fileno(), self._awake], [], [])
            if self._awake in ready:
                os.read(self._awake, 4096)
                self._bury()
            if self._control.fileno() in ready:
                message, pipes, _, _ = socket.recv_fds(self._control, HAND_BYTES, 2)
                if not message:
                    return  # the parent is gone, and its workers' orders with it
                self._fork(int(message), *pipes)

    def _fork(self, number: int, orders: int, answers: int) -> None:
        pid = os.fork()
        if pid:
            self._hands[pid] = number
            os.close(orders)
            os.close(answers)
            return
        code = FAILED
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            with open(orders, "rb") as coming, open(answers, "wb") as going:
                serve(self._job, self._memory, coming, going)
            code = 0
        except BrokenPipeError:
            code = 0  # nobody waits for the answer any more
        except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
            sys.excepthook(*sys.exc_info())
        finally:
            try:
                remove_folders()
            finally:
                os._exit(code)

    def _bury(self) -> None:
        while self._hands:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._control.sendall(json.dumps({"hand": self._hands.pop(pid), "how": how}).encode() + b"\n")


def main() -> None:
    """The arguments are the numbers of the socket, of the memory's file and of the job's file."""
    control, ring, job = (int(word) for word in sys.argv[1:])
    torch.set_num_threads(1)
    keep_freed()
    with open(job, "rb") as stream:
        path = pickle.load(stream)
        sys.path[:] = path  # what the parent can import its children can
        found: Job = pickle.load(stream)
    memory = mmap.mmap(ring, 0)
    gc.collect()
    gc.freeze()  # what is shared with the workers stays untouched, so that it stays shared
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the parent is gone
        _Leader(found, memory, socket.socket(fileno=control)).lead()
    os._exit(0)  # there is nothing to be put away


if __name__ == "__main__":
    main()
