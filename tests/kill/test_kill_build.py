# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a build at random moments: the same command goes on, trains nothing again and loses nothing.

The moments come from a seed, which is printed; FIREFORGE_KILL_SEED gives one. `pytest -s` shows in which stage each
kill fell.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fireforge.base.answer import Answer
from fireforge.base.files import sha256_of_file
from fireforge.base.journal import Entry, Journal
from fireforge.base.record import RunRecord

SHORT, LONG = 14, 30  # seconds of a build; the command line allows no less than the second
LATER = 1.2  # times as long as a build may take, a process may be killed
PATIENCE_S = 240.0
DRIVE = """
import sys
from fireforge.jobs import timetable
timetable.LEAST_SECONDS = 5.0
from fireforge.cli.app import main
sys.argv[0] = "fireforge"
main()
"""


@dataclass
class Build:
    """One build of the digits, of as many processes as it takes."""

    folder: Path
    seconds: int
    kept: list[bytes] = field(default_factory=list)  # the record's whole lines after each kill
    falls: list[str] = field(default_factory=list)  # where each kill fell

    def start(self) -> subprocess.Popen[str]:
        words = ["build", "digits", "--max-size", "40KB", "--time", f"{self.seconds}s", "--out", str(self.folder)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-c", DRIVE, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill_after(self, seconds: float) -> bool:
        """Start it and kill it; False where it had ended before."""
        with self.start() as process:
            try:
                process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            else:
                assert process.returncode == 0
                return False
        data = self.record.read_bytes() if self.record.exists() else b""
        self.kept.append(data[: data.rfind(b"\n") + 1])
        self.falls.append(f"after {seconds:.2f} s: {stage_of(Journal(self.record).read())}")
        return True

    def finish(self) -> None:
        with self.start() as process:
            out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert "what now" in out

    @property
    def record(self) -> Path:
        return self.folder / "record.jsonl"


def stage_of(entries: list[Entry]) -> str:
    """What the record says was done last."""
    if not entries:
        return "before the record"
    trials = sum(entry.type == "trial" for entry in entries)
    last = next((entry.type for entry in reversed(entries) if entry.type != "clock"), "clock")
    return f"the newest entry is {last!r}, {trials} trials are done"


def check(build: Build) -> None:
    """Nothing was lost and nothing was done twice."""
    data = build.record.read_bytes()
    assert data.endswith(b"\n")
    for kept in build.kept:
        assert data.startswith(kept)  # every whole line of each killed process stands, unchanged and in its place
    entries = Journal(build.record).read()
    trials = [RunRecord.from_json(entry.value) for entry in entries if entry.type == "trial"]
    assert trials
    digests = [trial.trial_digest for trial in trials]
    assert len(set(digests)) == len(digests)  # no finished trial was trained again
    for trial in trials:
        assert trial.error or sha256_of_file(build.folder / trial.weights) == trial.weights_sha256
    names = [entry.value["name"] for entry in entries if entry.type in ("choice", "baseline")]
    assert len(set(names)) == len(names)  # every choice and every baseline was made once
    result = json.loads((build.folder / "result.json").read_text())
    answer = Answer.from_json(result)
    file = build.folder / answer.model.path
    assert (file.stat().st_size, sha256_of_file(file)) == (answer.model.bytes, answer.model.sha256)
    assert sum(entry.type == "answer" for entry in entries) == 1
    assert result == entries[-1].value
    assert not list(build.folder.glob("lock")) + list(build.folder.glob("cache")) + list(build.folder.glob("before"))


def kill_and_finish(folder: Path, draw: random.Random, *, seconds: int, kills: int) -> Build:
    build = Build(folder, seconds)
    for _ in range(kills):
        if not build.kill_after(draw.uniform(1.0, LATER * seconds)):
            break
    build.finish()
    check(build)
    return build


def seed() -> int:
    return int(os.environ.get("FIREFORGE_KILL_SEED") or time.time_ns() % 10**6)


def test_two_kills(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    chosen = seed()
    draw = random.Random(chosen)
    build = kill_and_finish(tmp_path / "run", draw, seconds=SHORT, kills=2)
    print(f"\nFIREFORGE_KILL_SEED={chosen}", *build.falls, sep="\n  ")


@pytest.mark.slow
def test_ten_kills(tmp_path: Path) -> None:
    """At least ten kills that hit a living build, over as many runs as that takes."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    chosen = seed()
    draw = random.Random(chosen)
    falls: list[str] = []
    print(f"\nFIREFORGE_KILL_SEED={chosen}")
    while len(falls) < 10:
        build = kill_and_finish(tmp_path / str(len(falls)), draw, seconds=LONG, kills=3)
        falls += build.falls
        print(*build.falls, sep="\n  ")
