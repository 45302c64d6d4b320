# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a training, at the verb: signals, places that cannot be written, two at once, clocks."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fireforge.base import files, journal
from fireforge.base.errors import FireforgeError
from fireforge.base.journal import Journal
from fireforge.base.record import RunRecord
from fireforge.base.settings import Settings
from fireforge.jobs.folder import RunFolder
from fireforge.jobs.train import train
from fireforge.train import keeper, loop, trial
from fireforge.train.task import Keeping

DRIVE = """
import sys, time
from fireforge.cli.app import main
from fireforge.train import loop
step = loop.train_step
def slow(*words, **named):
    time.sleep(0.05)
    return step(*words, **named)
loop.train_step = slow
sys.argv[0] = "fireforge"
main()
"""


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Two classes that brightness tells, 60 pictures of 8 px."""
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 2
    pictures = draw.integers(0, 120, (60, 8, 8)) + 100 * labels[:, None, None]
    np.savez(tmp_path / "two.npz", x=pictures.astype(np.uint8), y=labels)
    return str(tmp_path / "two.npz")


def settings(epochs: int = 3) -> Settings:
    return Settings(net="convnet-small", epochs=epochs, batch=4, device="cpu")


def words(data: str, out: Path, epochs: int = 400) -> list[str]:
    said = ["train", data, "--net", "convnet-small", "--epochs", str(epochs), "--batch", "4", "--out", str(out)]
    return [*said, "--device", "cpu"]


def started(data: str, out: Path) -> subprocess.Popen[str]:
    """The verb in a child; it has begun to train when this comes back."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", DRIVE, *words(data, out)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if "epoch" in line:
            break
    return child


def states(out: Path) -> list[Path]:
    return sorted(out.glob("checkpoint/*/state-*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_keeps_the_state_and_ends_with_130(data: str, tmp_path: Path, number: signal.Signals) -> None:
    """F10: within 10 seconds."""
    out = tmp_path / "run"
    child = started(data, out)
    begun = time.monotonic()
    child.send_signal(number)
    said = child.communicate(timeout=60)[1]
    assert time.monotonic() - begun < 10
    assert child.returncode == 130
    assert "keeping the state at the next step" in said
    assert said.rstrip().endswith("interrupted; the same command goes on from here")
    assert "Traceback" not in said
    assert len(states(out)) == 1
    course = json.loads(states(out)[0].read_text())["state"]["course"]
    assert course["part"] is not None or course["epochs"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(data: str, tmp_path: Path, number: signal.Signals) -> None:
    """F10: while the step does not end, here because the process is stopped between the two."""
    child = started(data, tmp_path / "run")
    child.send_signal(signal.SIGSTOP)
    child.send_signal(number)
    child.send_signal(signal.SIGCONT)
    time.sleep(0.01)
    child.send_signal(number)
    begun = time.monotonic()
    said = child.communicate(timeout=60)[1]
    assert time.monotonic() - begun < 5
    assert child.returncode in (130, -number)
    assert "Traceback" not in said


def test_a_halted_training_goes_on_to_the_same_bits(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F10 in this process: the signal comes in the fifth step."""
    whole = train(data, settings(), out=tmp_path / "whole")[0]
    step, calls = loop.train_step, 0

    def signalled(*words: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*words, **named)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", signalled)
        with pytest.raises(KeyboardInterrupt):
            train(data, settings(), out=tmp_path / "run")
    assert calls == 5
    assert signal.getsignal(signal.SIGTERM) is before
    assert [path.stem for path in states(tmp_path / "run")] == ["state-000000-000000005"]
    record = train(data, settings(), out=tmp_path / "run")[0]
    assert record.resumed == 1
    assert (record.weights_sha256, record.metrics) == (whole.weights_sha256, whole.metrics)


class Full(io.FileIO):
    """A file on a disk that is full: nothing is taken."""

    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["state", "weights", "record"])
def test_a_full_disk_ends_a_training_in_one_line_and_it_goes_on_when_there_is_room(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """F11: the second state, the weights at the end, or the record's line is not taken."""
    whole = train(data, settings(), out=tmp_path / "whole")[0]
    passes = 0

    def open_(path: Path, mode: str = "r") -> Any:
        nonlocal passes
        name = str(path)
        one = {"state": "/checkpoint/", "weights": "/trials/", "record": "record.jsonl"}[where]
        if one in name and mode in ("wb", "ab"):
            passes += 1
            if passes == {"state": 4, "weights": 1, "record": 2}[where]:
                return io.BufferedWriter(Full(path, mode))
        return open(path, mode)

    monkeypatch.setattr(trial, "Keeping", lambda **named: Keeping(**{**named, "seconds": 0.0}))
    monkeypatch.setattr(keeper, "COSTS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(files, "open", open_, raising=False)
        patch.setattr(journal, "open", open_, raising=False)
        with pytest.raises(FireforgeError, match="CANNOT_WRITE") as raised:
            train(data, settings(), out=tmp_path / "run")
    assert raised.value.exit_code == 3
    assert "bytes are needed" in raised.value.what
    assert {"state": "/checkpoint/", "weights": "/trials/", "record": "record.jsonl"}[where] in raised.value.where
    kept = states(tmp_path / "run")
    assert len(kept) == (1 if where == "state" else 2)
    assert not list((tmp_path / "run").rglob("*.tmp"))
    steps = 0
    step = loop.train_step

    def counted(*words: Any, **named: Any) -> Any:
        nonlocal steps
        steps += 1
        return step(*words, **named)

    monkeypatch.setattr(loop, "train_step", counted)
    record = train(data, settings(), out=tmp_path / "run")[0]
    assert (record.weights_sha256, record.metrics) == (whole.weights_sha256, whole.metrics)
    total = sum(record.steps.values())
    assert steps == (total - 1 if where == "state" else 0)
    assert [entry.type for entry in Journal(tmp_path / "run" / "record.jsonl").read()] == ["start", "trial"]


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No step may be made."""

    def step(*words: Any, **named: Any) -> Any:
        raise AssertionError("a step was made")

    monkeypatch.setattr(loop, "train_step", step)
    return


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("in_the_way", ["run", "runs/run", "trials", "weights", "checkpoint", "report.html"])
def test_a_place_that_cannot_be_written_is_found_before_training(data: str, tmp_path: Path, in_the_way: str) -> None:
    """F17: a file stands where a folder is needed; nothing is trained and the file stays."""
    out = tmp_path / "runs" / "run"
    path = {"run": out, "runs/run": tmp_path / "runs"}.get(in_the_way, out / in_the_way)
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path / "mine" if in_the_way == "report.html" else path  # a folder where a file is needed
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(FireforgeError, match="CANNOT_WRITE") as raised:
        train(data, settings(), out=out)
    assert raised.value.exit_code == 3
    assert str(path) in raised.value.where
    assert mine.read_text() == "mine"


def test_a_missing_folder_is_made(data: str, tmp_path: Path) -> None:
    assert train(data, settings(1), out=tmp_path / "a" / "b" / "c")[0].accuracy is not None


@pytest.mark.usefixtures("untrained")
def test_a_second_training_in_the_same_folder_is_refused(data: str, tmp_path: Path) -> None:
    """F18: by the process that has it; nothing there is changed."""
    with RunFolder(tmp_path / "run"), pytest.raises(FireforgeError, match="RUN_LOCKED") as raised:
        train(data, settings(), out=tmp_path / "run")
    assert f"process ({os.getpid()} on {platform.node()} since 20" in raised.value.what
    assert raised.value.exit_code == 3


def test_a_lock_of_a_dead_process_is_taken_over(data: str, tmp_path: Path) -> None:
    """F18: the system gave it back; the file alone is no lock."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").write_text("999999")
    assert train(data, settings(1), out=tmp_path / "run")[0].accuracy is not None


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_that_jumps_changes_nothing(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """F22: the wall clock jumps at every look; states, seconds and numbers are those of a monotonic clock."""
    whole = train(data, settings(), out=tmp_path / "whole")[0]
    looks = 0

    def jumping() -> float:
        nonlocal looks
        looks += 1
        return 1.7e9 + days * 86_400.0 * looks

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    record = train(data, settings(), out=tmp_path / "run")[0]
    assert (record.weights_sha256, record.metrics) == (whole.weights_sha256, whole.metrics)
    assert 0 <= record.seconds["train"] < 600
    assert all(0 <= seconds < 600 for seconds in record.stages.values())
    assert isinstance(record, RunRecord)
