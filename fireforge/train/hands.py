# SPDX-License-Identifier: Apache-2.0
"""Data workers as their parent sees them: processes that render pieces of batches into memory shared with it."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import pickle
import selectors
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.value import Json
from fireforge.train.leader import Job
from fireforge.train.render import LostPicture, Take

LEADER = "fireforge.train.leader"
DEATHS = 3  # workers that are replaced; one more ends the training
PATIENCE_S = 5  # without an answer, after a training was asked to end, until it ends without one
LEADER_S = 60.0  # until a leader must have said how a worker died
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Hand:
    """One worker: its pipes, what it still has to be sent, what it owes, and what of an answer has come in."""

    number: int
    orders: int = -1
    answers: int = -1
    unsent: bytes = b""
    owed: dict[int, tuple[bytes, int]] = field(default_factory=dict)  # piece to its order and number of pictures
    begun: bytes = b""

    def load(self) -> int:
        return sum(pictures for _, pictures in self.owed.values())


class Hands:
    """Workers that are forked from one leader; a worker that dies is replaced, and what it owed is rendered anew.

    Neither the shared memory nor anything else of it has a name, so nothing is left when any of the processes is
    killed. Processes end when their pipes do.

    Args:
      job: what they do.
      workers: how many.
      room: bytes of the shared memory.
    """

    def __init__(self, job: Job, *, workers: int, room: int) -> None:
        self.deaths: list[str] = []  # in words
        self._pieces = 0
        self._killers: dict[int, int] = {}  # piece to the workers that died with it
        self._ready = selectors.DefaultSelector()
        self._words = b""  # what the leader said
        self._dead: dict[int, str] = {}  # worker to how it died, as far as it was told
        ring, task = _nameless(), _nameless()
        try:
            os.ftruncate(ring, max(room, mmap.PAGESIZE))
            self.memory = mmap.mmap(ring, 0)
            with open(os.dup(task), "wb") as stream:
                pickle.dump(sys.path, stream)
                pickle.dump(job, stream)
            os.lseek(task, 0, os.SEEK_SET)
            self._control, theirs = socket.socketpair()
            with theirs:
                words = [sys.executable, "-m", LEADER, *map(str, (theirs.fileno(), ring, task))]
                self._leader = subprocess.Popen(
                    words,
                    pass_fds=(theirs.fileno(), ring, task),
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the parent, whose end is theirs
                    env={**os.environ, **dict.fromkeys(THREADS, "1")},
                )
        finally:
            os.close(ring)
            os.close(task)
        self._hands = [_Hand(number) for number in range(workers)]
        self._end = weakref.finalize(self, _end, self._leader, self._control, self._ready, self._hands)
        self._ready.register(self._control, selectors.EVENT_READ)
        for hand in self._hands:
            self._hire(hand)

    def close(self) -> None:
        """End the processes; those that are at a picture end after its piece."""
        self._end()

    def order(self, at: int, ids: np.ndarray, take: Take) -> int:
        """Have a piece rendered by whoever has least to do.

        Args:
          at: byte of the memory where it goes.
          ids: sample ids, int64 (N,).
          take: when and how.

        Returns:
          Its number.
        """
        self._pieces += 1
        words = {
            "piece": self._pieces,
            "at": at,
            "ids": ids.tolist(),
            "seed": take.seed,
            "epoch": take.epoch,
            "augment": None if take.augment is None else take.augment.to_json(),
        }
        hand = min(self._hands, key=_Hand.load)
        line = json.dumps(words).encode() + b"\n"
        hand.owed[self._pieces] = (line, len(ids))
        self._send(hand, line)
        return self._pieces

    def owes(self) -> bool:
        """Whether something that was ordered is not there yet."""
        return any(hand.owed for hand in self._hands)

    def wait(self, done: Callable[[int, Json], None], halted: Callable[[], bool] = bool) -> None:
        """Take in what was answered, at least one answer where something is owed.

        Args:
          done: is given the number of each piece and what it took: seconds by stage.
          halted: whether nobody needs the answers any more, so that a worker that is stopped is not waited for.

        Raises:
          LostPicture: if a picture cannot be had.
          KeyboardInterrupt: if it was halted and no answer came for 5 seconds.
          FireforgeError: WORKER_DIED with exit code 3.
        """
        told, quiet = False, 0
        while not told and self.owes():
            found = self._ready.select(timeout=1.0)
            quiet = 0 if found or not halted() else quiet + 1
            if quiet >= PATIENCE_S:
                raise KeyboardInterrupt
            for key, events in found:
                if key.fileobj is self._control:
                    self._listen(socket.MSG_DONTWAIT)  # a worker's end may have been asked for meanwhile
                    continue
                hand = key.data
                if events & selectors.EVENT_WRITE:
                    self._send(hand, b"")
                elif events & selectors.EVENT_READ:
                    told |= self._receive(hand, done)

    def _receive(self, hand: _Hand, done: Callable[[int, Json], None]) -> bool:
        """Take in what a worker says; whether there was an answer."""
        found = os.read(hand.answers, 65536)
        if not found:
            self._replace(hand)
            return False
        *lines, hand.begun = (hand.begun + found).split(b"\n")
        lost: LostPicture | None = None
        for line in lines:
            answer = json.loads(line)
            if hand.owed.pop(answer["piece"], None) is None:
                continue
            if "error" in answer:
                lost = LostPicture(answer["sample"], _error(answer["error"]))
            else:
                done(answer["piece"], answer["spent"])
        if lost is not None:
            raise lost
        return bool(lines)

    def _send(self, hand: _Hand, line: bytes) -> None:
        """Send as much as the pipe takes; the rest when it is read."""
        hand.unsent += line
        waited = False
        try:
            while hand.unsent:
                hand.unsent = hand.unsent[os.write(hand.orders, hand.unsent) :]
        except BlockingIOError:
            waited = True
        except BrokenPipeError:
            hand.unsent = b""  # the end of its answers tells
        watched = hand.orders in self._ready.get_map()
        if waited and not watched:
            self._ready.register(hand.orders, selectors.EVENT_WRITE, hand)
        elif watched and not waited:
            self._ready.unregister(hand.orders)

    def _hire(self, hand: _Hand) -> None:
        """Have a worker forked."""
        theirs_in, hand.orders = os.pipe()
        hand.answers, theirs_out = os.pipe()
        os.set_blocking(hand.orders, False)
        try:
            socket.send_fds(self._control, [str(hand.number).encode().rjust(8)], [theirs_in, theirs_out])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _died("the process that leads the data workers ended") from error
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._ready.register(hand.answers, selectors.EVENT_READ, hand)

    def _replace(self, hand: _Hand) -> None:
        """Have another worker do what a dead one owed."""
        self._ready.unregister(hand.answers)
        if hand.orders in self._ready.get_map():
            self._ready.unregister(hand.orders)
        os.close(hand.answers)
        os.close(hand.orders)
        hand.orders = hand.answers = -1
        self._control.settimeout(LEADER_S)
        while hand.number not in self._dead:
            self._listen()
        self._control.settimeout(None)
        what = f"data worker {hand.number + 1} died ({self._dead.pop(hand.number)})"
        self.deaths.append(what)
        first = next(iter(hand.owed), 0)
        self._killers[first] = self._killers.get(first, 0) + 1
        if len(self.deaths) > DEATHS or (first and self._killers[first] > 1):
            raise _died(what)
        hand.begun, hand.unsent = b"", b""
        self._hire(hand)
        for line, _ in hand.owed.values():
            self._send(hand, line)

    def _listen(self, flags: int = 0) -> None:
        """Take in what the leader says; its end is the end."""
        try:
            found = self._control.recv(65536, flags)
        except BlockingIOError:
            return
        except OSError:
            found = b""
        if not found:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._leader.wait(1)
            raise _died(f"the process that leads the data workers ended (exit code {self._leader.returncode})")
        *lines, self._words = (self._words + found).split(b"\n")
        for line in lines:
            word = json.loads(line)
            self._dead[word["hand"]] = word["how"]


def _error(fields: Json) -> FireforgeError:
    rest = {name: fields[name] for name in ("where", "allowed", "do")}
    return FireforgeError(fields["code"], fields["what"], **rest, exit_code=Exit(fields["exit_code"]))


def _died(what: str) -> FireforgeError:
    do = "the same command, which goes on from here; less memory if it was killed, or --workers 0"
    return FireforgeError("WORKER_DIED", what, do=do, exit_code=Exit.ENVIRONMENT)


def _nameless() -> int:
    """A file in memory that no folder names; where the system has none, one on disk that has no name any more."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fireforge")
    with tempfile.TemporaryFile() as stream:
        return os.dup(stream.fileno())


def _end(
    leader: subprocess.Popen[bytes], control: socket.socket, ready: selectors.BaseSelector, hands: list[_Hand]
) -> None:
    ready.close()
    for hand in hands:
        for pipe in (hand.orders, hand.answers):
            if pipe >= 0:
                os.close(pipe)
    control.close()
    try:
        leader.wait(10)
    except subprocess.TimeoutExpired:
        leader.kill()
        leader.wait()
