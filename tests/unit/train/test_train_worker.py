# SPDX-License-Identifier: Apache-2.0
"""The worker process itself: its answers, an interrupt, and the end of its parent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.record import RunRecord
from fireforge.base.trial import DataRef, Trial
from fireforge.train.trial import run_trial

MakeTrial = Callable[..., Trial]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
ENDLESS = 100_000  # epochs


def order(trial: Trial, folder: Path, **changes: object) -> str:
    plain = {"folder": str(folder), "device": "cpu", "seconds": None, "until": None, "cache": None, "keep": False}
    return json.dumps({"trial": trial.to_json(), **plain, **changes}) + "\n"


@contextlib.contextmanager
def worker() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "fireforge.train.worker", str(os.getpid())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def waiting() -> Iterator[subprocess.Popen[str]]:
    """A worker that several tests order from, one after another."""
    with worker() as process:
        yield process


def send(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def answers(process: subprocess.Popen[str]) -> Iterator[dict[str, object]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def record_of(process: subprocess.Popen[str]) -> RunRecord:
    last = next(answer for answer in answers(process) if "share" not in answer)
    return RunRecord.from_json(last["record"])


def test_an_interrupt_ends_the_training_with_its_best_so_far_and_the_next_order_is_whole(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    with worker() as process:
        send(process, order(make_trial(epochs=ENDLESS), tmp_path))
        next(answers(process))
        process.send_signal(signal.SIGINT)
        record = record_of(process)
        assert 0 < record.metrics["train/epoch"][-1] < ENDLESS
        assert record.accuracy is not None
        assert (tmp_path / record.weights).exists()
        send(process, order(make_trial(), tmp_path))
        whole = record_of(process)
        here = run_trial(make_trial(), folder=tmp_path / "here", device="cpu")
        assert (whole.metrics, whole.weights_sha256) == (here.metrics, here.weights_sha256)
        assert whole.seconds["data"] < 0.1 < record.seconds["data"] + 0.1  # the pictures were still there
        process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_an_interrupt_between_two_orders_stops_the_order_that_lies_in_the_pipe(
    make_trial: MakeTrial, waiting: subprocess.Popen[str], tmp_path: Path
) -> None:
    send(waiting, order(make_trial(), tmp_path))
    record_of(waiting)
    waiting.send_signal(signal.SIGINT)
    time.sleep(0.2)
    send(waiting, order(make_trial(epochs=ENDLESS), tmp_path))
    assert record_of(waiting).metrics["train/epoch"] == (0.25,)  # one of four batches


def test_seconds_end_a_training_within_an_epoch_and_without_keep_nothing_is_kept(
    make_trial: MakeTrial, waiting: subprocess.Popen[str], tmp_path: Path
) -> None:
    send(waiting, order(make_trial().replace(pictures=40), tmp_path, seconds=0.0))
    record = record_of(waiting)
    assert record.metrics["train/epoch"] == (pytest.approx(1 / 3),)  # batches of 16, 16 and 8
    assert record.samples["train"] == 40
    assert not (tmp_path / "checkpoint").exists()


def test_until_ends_a_training_at_the_same_step_with_the_same_bits(
    make_trial: MakeTrial, waiting: subprocess.Popen[str], tmp_path: Path
) -> None:
    send(waiting, order(make_trial(), tmp_path, until=1.25, cache=str(tmp_path / "cache")))
    record = record_of(waiting)
    assert record.metrics["train/epoch"] == (1.0, 1.25)
    here = run_trial(make_trial(), folder=tmp_path / "here", device="cpu", until=1.25)
    assert (record.metrics, record.weights_sha256) == (here.metrics, here.weights_sha256)


PARENT = """
import subprocess, sys, os
command = [sys.executable, "-m", "fireforge.train.worker", str(os.getpid())]
with open(sys.argv[1]) as orders, open(sys.argv[2], "w") as answers:
    child = subprocess.Popen(command, stdin=orders, stdout=answers)
print(child.pid, flush=True)
sys.stdin.read()
"""


def running(process: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked for does not."""
    path = Path(f"/proc/{process}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc whether a process runs")
def test_a_worker_ends_within_a_second_of_its_parent_in_the_middle_of_an_epoch(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    """The parent is killed in an epoch of 30,000 updates, which takes a minute and gives no answer meanwhile."""
    orders, said, many = tmp_path / "orders", tmp_path / "answers", tmp_path / "many.npz"
    np.savez(
        many, x=np.random.default_rng(0).integers(0, 255, (40_000, 8, 8)).astype(np.uint8), y=np.arange(40_000) % 3
    )
    long = make_trial(batch=1, ema=0.0).replace(data=DataRef(source=str(many)))
    orders.write_text(order(make_trial(epochs=1), tmp_path) + order(long, tmp_path))
    command = [sys.executable, "-c", PARENT, str(orders), str(said)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until = time.monotonic() + 60
        while not said.exists() or "record" not in said.read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        before = said.read_text().count("record")
        time.sleep(1.0)
        assert running(child)
        parent.kill()
    time.sleep(1.0)
    try:
        assert not running(child)
        assert said.read_text().count("record") == before  # of the long one there is a share at most
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
