# SPDX-License-Identifier: Apache-2.0
"""The run's folder: one process at a time, and choices that are made once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.journal import Journal
from fireforge.jobs.folder import LOCK, RunFolder, default_folder

HOLD = """
import sys, time
from fireforge.jobs.folder import RunFolder
with RunFolder(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in the folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_folder_in_which_a_live_process_works_is_refused_until_it_ends(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as process:
        for _ in range(2):
            with pytest.raises(FireforgeError) as raised, RunFolder(tmp_path / "run"):
                pass
            assert (raised.value.code, raised.value.exit_code) == ("RUN_LOCKED", Exit.ENVIRONMENT)
            assert str(process.pid) in raised.value.what
            assert raised.value.where == str(tmp_path / "run")
        process.communicate("")
        assert process.returncode == 0
    with RunFolder(tmp_path / "run"):
        pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        assert (tmp_path / LOCK).read_text().split()[0] == str(process.pid)  # it had no time to clean up
        half = tmp_path / f".result.json.{process.pid}.tmp"
        half.write_text("{")
        with RunFolder(tmp_path) as run:
            assert (tmp_path / LOCK).read_text().split()[0] == str(os.getpid())
            assert half.exists()  # no run was here: it may be the user's
            run.journal.append("clock", {"used": 0.0})
        (tmp_path / "weights").mkdir()
        weights = tmp_path / "weights" / half.name
        weights.write_text("{")
        with RunFolder(tmp_path):
            assert not half.exists()
            assert not weights.exists()
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("content", ["", "1 elsewhere", "not a number"])
def test_a_lock_file_that_nobody_holds_is_taken_over_whatever_it_says(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    with RunFolder(tmp_path):
        assert (tmp_path / LOCK).read_text().split()[0] == str(os.getpid())


def test_the_same_process_cannot_enter_twice_and_the_first_keeps_its_lock(tmp_path: Path) -> None:
    with RunFolder(tmp_path):
        for _ in range(2):
            with pytest.raises(FireforgeError, match="RUN_LOCKED"), RunFolder(tmp_path):
                pass
    with RunFolder(tmp_path):
        pass


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path):
        raise ZeroDivisionError
    with RunFolder(tmp_path):
        pass


def test_the_folder_is_made_on_entry_and_not_before(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "deep" / "run")
    assert run.entry("start") is None
    assert run.trials() == {}
    assert not (tmp_path / "deep").exists()
    with run:
        assert run.path.is_dir()


def test_a_choice_is_written_before_it_is_used_made_once_and_read_again(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> object:
        made.append(len(made))
        return {"epochs": 7 + made[-1], "sizes": (1, 2)}

    with RunFolder(tmp_path) as run:
        first = run.choice("rung 0 epochs", make, why="the clock")
        (entry,) = Journal(tmp_path / "record.jsonl").read()
        assert entry.value == {"name": "rung 0 epochs", "value": first, "why": "the clock"}
        assert run.choice("rung 0 epochs", make, why="the clock") == first
        assert run.choice("rung 1 epochs", make, why="the clock")["epochs"] == 8
    again = RunFolder(tmp_path).choice("rung 0 epochs", make, why="other words")
    assert again == first == {"epochs": 7, "sizes": [1, 2]}  # a tuple is a list already in the first run
    assert made == [0, 1]


def test_a_choice_whose_making_fails_is_not_written(tmp_path: Path) -> None:
    def fail() -> object:
        raise ZeroDivisionError

    with RunFolder(tmp_path) as run:
        with pytest.raises(ZeroDivisionError):
            run.choice("x", fail, why="")
        assert run.choice("x", lambda: None, why="") is None
        assert run.choice("x", fail, why="") is None  # even a None is a choice that stands


def test_once_writes_once_and_entry_gives_the_newest(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        assert run.once("start", lambda: {"seed": 1}) == {"seed": 1}
        assert run.once("start", lambda: {"seed": 2}) == {"seed": 1}
        run.journal.append("start", {"seed": 3})
        assert run.entry("start") == {"seed": 3}
        assert [entry.type for entry in run.journal.read()] == ["start", "start"]


def test_default_folder_by_hand() -> None:
    assert default_folder("digits") == Path("runs/digits")
    assert default_folder("/a/b/photos/") == Path("runs/photos")
    assert default_folder("pictures.npz") == Path("runs/pictures")
    assert default_folder("/") == Path("runs/run")
