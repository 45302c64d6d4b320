# SPDX-License-Identifier: Apache-2.0
"""`fireforge train` that writes down where it is in memory that outlives it, and may end itself there by signal 9.

Run as a program it is a nursery: orders come in as JSON lines, each one is forked from a process that has loaded torch,
runs the command line's `main` as it stands and is waited for. The wrappers below stand around the product's functions;
the product knows nothing of them. Times are those of the monotonic clock, which all processes share.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import mmap
import os
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FILES = ("tensors", "text")  # of a state, in the order in which they are written
POINTS = ("opened", "half written", "written", "flushed", "renamed", "folder flushed")
STEP = ("waiting for data", "forward", "backward", "optimizer", "update")
WRITE = tuple(f"{file}: {point}" for file in FILES for point in POINTS)
KINDS = ("start", *STEP, "epoch's end", "evaluation", "checkpoint", *WRITE, "norms", "files", "states removed", "end")
TRAINING = (*STEP, "epoch's end", "evaluation", "checkpoint", *WRITE, "norms")  # in which a kill counts
PLACE = struct.Struct("<Biid")  # kind, epoch, step, when
SLOT = 32  # bytes; the first byte of the file says which of two slots is whole


class Mark:
    """Where this process is, in a mapped file.

    Args:
      path: of the file.
      aim: {"kind", "inside", "pass", "epoch", "step"}: where it shall end itself; None for nowhere.
    """

    def __init__(self, path: str, aim: dict[str, Any] | None = None) -> None:
        with open(path, "r+b") as stream:
            self._memory = mmap.mmap(stream.fileno(), 3 * SLOT)
        self._aim, self._passes = aim, 0
        self.kind, self.epoch, self.step = "start", 0, -1

    def at(self, kind: str, *, inside: bool = False) -> None:
        """Say where it is: at the beginning of a stage or behind a point of a write, or well inside the stage."""
        self.kind, slot = kind, 1 - self._memory[0]
        place = PLACE.pack(KINDS.index(kind), self.epoch, self.step, time.monotonic())
        self._memory[SLOT * (1 + slot) : SLOT * (1 + slot) + PLACE.size] = place
        self._memory[0] = slot  # one byte, so that a kill leaves the old place or the new one
        if self._aim is not None and self._hit(kind, inside):
            os.kill(os.getpid(), signal.SIGKILL)

    def _hit(self, kind: str, inside: bool) -> bool:
        aim = self._aim or {}
        here = (self.epoch, self.step) >= (aim.get("epoch", 0), aim.get("step", -1))
        if kind != aim["kind"] or inside != aim.get("inside", False) or not here:
            return False
        self._passes += 1
        return self._passes >= int(aim.get("pass", 1))


def place_of(path: Path) -> tuple[str, int, int, float]:
    """Kind, epoch, step and time where a process was last."""
    data = path.read_bytes()
    kind, epoch, step, when = PLACE.unpack_from(data, SLOT * (1 + data[0]))
    return KINDS[kind], epoch, step, when


class Halved:
    """A stream whose writes come in two halves."""

    def __init__(self, stream: io.BufferedWriter, mark: Callable[[str], None]) -> None:
        self._stream, self._mark = stream, mark
        self._mark("opened")

    def __enter__(self) -> Halved:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: bytes) -> None:
        for part, point in ((data[: len(data) // 2], "half written"), (data[len(data) // 2 :], "written")):
            self._stream.write(part)
            self._stream.flush()
            self._mark(point)


def around(module: Any, name: str, mark: Mark, before: str = "", after: str = "") -> None:
    """Mark what comes before and after each call of a function."""
    inner = getattr(module, name)

    @functools.wraps(inner)
    def call(*words: Any, **named: Any) -> Any:
        if before:
            mark.at(before)
        result = inner(*words, **named)
        if after:
            mark.at(after)
        return result

    setattr(module, name, call)


def inside(module: Any, name: str, mark: Mark, kind: str) -> None:
    """Mark each call of a function that happens within a stage as well inside it."""
    inner = getattr(module, name)

    @functools.wraps(inner)
    def call(*words: Any, **named: Any) -> Any:
        if mark.kind == kind:
            mark.at(kind, inside=True)
        return inner(*words, **named)

    setattr(module, name, call)


def watch_steps(mark: Mark, say: Callable[..., None]) -> None:
    """Batches with their ids and bits, forward, backward, optimizer, evaluation, the epoch's end."""
    import torch
    import torch.nn.functional as F

    from fireforge.train import evaluate, feed, loop, step, trial

    inner, make_tools = feed.batches, step.make_tools

    def batches(pictures: Any, batching: Any, *, epoch: int, first: int = 0, **named: Any) -> Iterator[Any]:
        found = inner(pictures, batching, epoch=epoch, first=first, **named)
        for number in range(first, feed.steps_per_epoch(len(pictures), batching)):
            mark.epoch, mark.step = epoch, number
            mark.at("waiting for data")
            batch = next(found)
            ids = feed.ids_of(pictures, batching, epoch=epoch, step=number).tolist()
            bits = hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in batch)).hexdigest()
            say(epoch=epoch, step=number, ids=ids, bits=bits)
            mark.at("forward")
            yield batch

    def tools(module: Any, *words: Any) -> Any:
        made = make_tools(module, *words)
        around(made.optimizer, "step", mark, "optimizer", "update")
        middle = list(module.parameters())[1]
        middle.register_post_accumulate_grad_hook(lambda _: mark.at("backward", inside=True))
        return made

    loop.batches, loop.make_tools = batches, tools  # type: ignore[attr-defined]
    inside(feed, "vary", mark, "waiting for data")
    inside(F, "dropout", mark, "forward")
    around(torch.autograd, "backward", mark, "backward", "update")
    around(loop, "_judge_val", mark, "evaluation")
    inside(evaluate, "batches", mark, "evaluation")
    around(loop, "train_epoch", mark, after="epoch's end")
    around(loop, "refresh_norms", mark, "norms")
    around(trial, "fit", mark, after="files")


def watch_states(mark: Mark, say: Callable[..., None], *, seconds: float) -> None:
    """The six points of each of a state's two files, and when states are written and taken up."""
    from fireforge.base import files
    from fireforge.train import checkpoint, keeper, task, trial

    file = ""

    def point(name: str) -> None:
        if file:
            mark.at(f"{file}: {name}")

    @contextmanager
    def writing(name: str) -> Iterator[None]:
        nonlocal file
        file = name
        yield
        file = ""
        mark.at("checkpoint")

    def within(name: str, number: int) -> None:
        inner = getattr(checkpoint, name)

        def call(*words: Any) -> Any:
            with writing(FILES[number]):
                return inner(*words)

        setattr(checkpoint, name, call)

    def open_(path: Any, mode: str = "r") -> Any:
        stream = open(path, mode)  # noqa: SIM115 - handed on
        return Halved(stream, point) if file and mode == "wb" else stream  # type: ignore[arg-type]

    def after(module: Any, name: str, what: str) -> None:
        inner = getattr(module, name)

        def call(*words: Any) -> Any:
            result = inner(*words)
            if not (name == "fsync" and sys._getframe(1).f_code.co_name == "sync_folder"):
                point(what)
            return result

        setattr(module, name, call)

    within("write_weights", 0)
    within("write_json", 1)
    files.open = open_  # type: ignore[attr-defined]
    after(os, "fsync", "flushed")
    after(os, "replace", "renamed")
    after(files, "sync_folder", "folder flushed")
    around(keeper, "save_checkpoint", mark, "checkpoint", "update")
    keep, resume = keeper.Keeper.keep, keeper.Keeper.resume

    def kept(self: Any, course: Any, *, now: bool) -> None:
        before = self._saved
        keep(self, course, now=now)
        if self._saved != before:
            say(state=position(course), saved=self._saved, took=self._took)

    def resumed(self: Any, progress: Any) -> Any:
        course = resume(self, progress)
        say(resumed=position(course), saved=self._saved)
        return course

    keeper.Keeper.keep, keeper.Keeper.resume = kept, resumed  # type: ignore[method-assign]
    keeper.COSTS = 1
    trial.Keeping = functools.partial(task.Keeping, seconds=seconds)  # type: ignore[misc,assignment]


def position(course: Any) -> tuple[int, int]:
    """Whole epochs, and steps of the next one."""
    return int(course.epochs), course.part.steps if course.part else 0


def keep_last_state(mark: Mark, copy: Path) -> None:
    """A training that has ended removes its states: they are copied before."""
    remove = shutil.rmtree

    def removed(path: Any, *words: Any, **named: Any) -> None:
        if Path(path).parent.name == "checkpoint" and list(Path(path).glob("*.json")):
            shutil.copytree(path, copy, dirs_exist_ok=True)
        remove(path, *words, **named)
        if Path(path).parent.name == "checkpoint":
            mark.at("states removed")

    shutil.rmtree = removed  # type: ignore[assignment]


def live(order: dict[str, Any]) -> None:
    """One run of the command line, in a forked process."""
    from fireforge.nets import families

    out = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    mark = Mark(order["mark"], order["aim"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(**words: Any) -> None:
        os.write(log, json.dumps({**words, "when": time.monotonic()}).encode() + b"\n")

    small = families.NETWORKS["convnet-small"]
    families.NETWORKS["convnet-small"] = lambda *words, **named: small(  # type: ignore[index]
        *words, **{**named, "params": {"dropout": 0.3}}
    )
    watch_steps(mark, say)
    watch_states(mark, say, seconds=order["seconds"])
    keep_last_state(mark, Path(order["copy"]))
    from fireforge.cli.app import main

    sys.argv = ["fireforge", *order["words"]]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        mark.at("end")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def nurse(pid: int, mark: Path, kill_after: float | None) -> int:
    """Wait for a process, and kill it so many seconds after its first batch was asked for; its exit code."""
    begun = 0.0
    while True:
        done, status = os.waitpid(pid, 0 if kill_after is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if not begun and place_of(mark)[0] != "start":
            begun = time.monotonic()
        if begun and kill_after is not None and time.monotonic() - begun >= kill_after:
            os.kill(pid, signal.SIGKILL)
            kill_after = None
        time.sleep(0.001)


def main() -> None:
    """Load what a training needs once, then fork each order from here."""
    import torch
    import torch._dynamo

    import fireforge.cli.app
    import fireforge.jobs.tell
    import fireforge.jobs.train
    import fireforge.jobs.view  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            live(order)
        code = nurse(pid, Path(order["mark"]), order["kill_after"])
        print(json.dumps({"code": code, "when": time.monotonic()}), flush=True)


if __name__ == "__main__":
    main()
