# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a training at random and at chosen moments: resumed, it gives the bits of one that was left alone.

The network has batch norms and dropout, its weights are averaged, its pictures are cropped, mirrored and coloured. The
moments come from a seed, which is printed; FIREFORGE_KILL_SEED gives one. `pytest -s` prints where each kill fell, as
the killed process itself last wrote down (`driven_train.py`), and what was done again after it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kill.driven_train import STEP, TRAINING, WRITE, place_of

from fireforge.base.files import sha256_of_file
from fireforge.base.journal import Journal
from fireforge.base.record import RunRecord
from fireforge.base.settings import Settings

SECONDS = 0.2  # between two states
CLASSES, EACH = 3, 60
STEPS, EPOCHS = 31, 6  # 123 pictures of the training part, 4 a batch
COMMAND = "--batch 4 --image-size 32 --lr 0.02 --device cpu"
PATIENCE_S = 300.0
WANTED = (*STEP, "evaluation", "epoch's end", *WRITE)  # each must be hit
Kill = float | dict[str, Any]  # seconds after the first batch was asked for, or an aim


@dataclass
class Fall:
    """Where a kill fell and what was done again after it."""

    kind: str
    epoch: int
    step: int
    aimed: bool
    when: float
    begun: list[dict[str, Any]]  # batches that the killed process had asked for
    redone: int = 0
    seconds: float = 0.0

    def again(self, since: list[int]) -> None:
        """The next process goes on from here: whole epochs, and steps of the next one."""
        again = [line for line in self.begun if [line["epoch"], line["step"]] >= since]
        self.redone = len(again)
        self.seconds = self.when - again[0]["when"] if again else 0.0

    def line(self) -> str:
        how = "aimed " if self.aimed else "random"
        return (
            f"{how} | {self.kind:24} | epoch {self.epoch + 1} step {self.step + 1:3} | "
            f"{self.redone:3} steps redone, {self.seconds:.2f} s"
        )


class Nursery:
    """Forks trainings."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        driver = str(Path(__file__).with_name("driven_train.py"))
        self._process = subprocess.Popen(
            [sys.executable, driver], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE_S)


@dataclass
class Story:
    """One training, of as many processes as it takes."""

    nursery: Nursery
    data: Path
    folder: Path
    more: tuple[str, ...] = ()  # words of the command
    falls: list[Fall] = field(default_factory=list)

    def live(self, kill: Kill | None = None) -> bool:
        """One process; whether it was killed."""
        self.folder.mkdir(exist_ok=True)
        mark = self.folder / "mark"
        mark.write_bytes(bytes(96))
        before = len(self.log())
        words = ["train", str(self.data), "--out", str(self.folder / "run"), "--net", "convnet-small", *self.more]
        words += [*COMMAND.split(), "--epochs", str(EPOCHS)]
        order = {name: str(self.folder / name) for name in ("mark", "log", "said", "copy")}
        after = kill if isinstance(kill, float) else None
        aim = kill if isinstance(kill, dict) else None
        answer = self.nursery.run({**order, "words": words, "seconds": SECONDS, "aim": aim, "kill_after": after})
        kind, epoch, step, _ = place_of(mark)
        taken_up = [line["resumed"] for line in self.log()[before:] if "resumed" in line]
        if taken_up and self.falls:
            self.falls[-1].again(taken_up[0])
        if kind == "end":
            assert answer["code"] == 0, (self.folder / "said").read_text()
            return False
        assert answer["code"] == -9, (self.folder / "said").read_text()
        if kind in TRAINING:
            self.falls.append(Fall(kind, epoch, step, aim is not None, answer["when"], self.begun(self.log()[before:])))
        return kind in TRAINING

    def begun(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Batches that one process asked for; none was begun later than an interval and a step after a state."""
        saved, gap = lines[0]["saved"], SECONDS
        overdue = 0
        for line in lines:
            if "state" in line:
                saved, gap, overdue = line["saved"], max(SECONDS, line["took"]), 0
            elif "ids" in line:
                overdue += line["when"] > saved + gap
                assert overdue <= 1
        return [line for line in lines if "ids" in line]

    def log(self) -> list[dict[str, Any]]:
        path = self.folder / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def batches(self) -> dict[tuple[int, int], tuple[list[int], str]]:
        """Epoch and step to ids and bits; what was done twice was done alike."""
        found: dict[tuple[int, int], tuple[list[int], str]] = {}
        for line in self.log():
            if "ids" in line:
                batch = (line["ids"], line["bits"])
                assert found.setdefault((line["epoch"], line["step"]), batch) == batch
        return found

    def facts(self) -> dict[str, Any]:
        """All that must be the same to the bit."""
        run = self.folder / "run"
        record = RunRecord.from_json(
            next(entry.value for entry in Journal(run / "record.jsonl").read() if entry.type == "trial")
        )
        last = max((self.folder / "copy").glob("state-*.json"))
        state = json.loads(last.read_text())["state"]
        for name in ("seconds", "stages", "resumed", "finish"):
            state["course"].pop(name, None)
        assert sha256_of_file(last.with_suffix(".safetensors")) == state["sha256"]
        assert sha256_of_file(run / record.weights) == record.weights_sha256
        return {
            "weights": sha256_of_file(run / "weights" / "best.safetensors"),
            "state": (last.stem, state),  # its sha256 is that of the numbers of module, optimizer and average
            "metrics": record.metrics,
            "metrics.csv": sha256_of_file(run / "metrics.csv"),
            "accuracy": record.accuracy,
            "steps": record.steps,
            "samples": record.samples,
            "batches": self.batches(),
        }


def pictures(folder: Path) -> Path:
    """Small PNG and JPEG files in a folder a class, coloured noise with a tint."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class {label}").mkdir(parents=True)
        for number in range(EACH):
            noise = draw.integers(0, 160, (9, 9, 3)).astype(np.uint8)
            noise[..., label] += 60
            name = f"{number:02}.{('png', 'jpg')[number % 2]}"
            Image.fromarray(noise).resize((72, 72)).save(folder / f"class {label}" / name)
    return folder


@dataclass(frozen=True)
class Place:
    """What all stories share: the data, and the training that was left alone."""

    nursery: Nursery
    data: Path
    folder: Path
    facts: dict[str, Any]
    seconds: float
    more: tuple[str, ...]

    def story(self, name: str) -> Story:
        return Story(self.nursery, self.data, self.folder / name, self.more)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nursery, Path]]:
    if importlib.util.find_spec("torch") is None:  # which this process need not load
        pytest.skip("torch is not installed")
    nursery = Nursery()
    yield nursery, pictures(tmp_path_factory.mktemp("kill") / "pictures")
    nursery.close()


def alone(nursery: tuple[Nursery, Path], folder: Path, *more: str) -> Place:
    """The training that nobody kills."""
    story = Story(*nursery, folder / "alone", more)
    assert not story.live()
    facts, log = story.facts(), story.log()
    assert len(facts["batches"]) == STEPS * EPOCHS
    return Place(*nursery, folder, facts, log[-1]["when"] - log[0]["when"], more)


def play(place: Place, name: str, kills: list[Kill]) -> list[Fall]:
    """Kill a training at these moments, let it end, and hold it against the one that was left alone."""
    story = place.story(name)
    for kill in kills:
        story.live(kill)
    assert not story.live()
    found = story.facts()
    for what, wanted in place.facts.items():
        assert found[what] == wanted, f"{what} differs after {[fall.line() for fall in story.falls]}"
    assert not (story.folder / "run" / "lock").exists()
    assert not list((story.folder / "run").glob("checkpoint/*"))
    assert not list((story.folder / "run").rglob(".*"))
    print(*(fall.line() for fall in story.falls), sep="\n  ", flush=True)
    return story.falls


def aim(kind: str, draw: random.Random) -> Kill:
    """A moment of this kind, soon enough that it comes."""
    inside = kind in ("waiting for data", "forward", "backward", "evaluation") and draw.random() < 0.7
    most = 2 if kind in (*WRITE, "evaluation", "epoch's end") else 40
    return {"kind": kind, "inside": inside, "pass": draw.randint(1, most)}


def seed() -> int:
    chosen = int(os.environ.get("FIREFORGE_KILL_SEED") or time.time_ns() % 10**6)
    print(f"\nFIREFORGE_KILL_SEED={chosen}", flush=True)
    return chosen


def show(falls: list[Fall]) -> None:
    print(f"{len(falls)} kills:", Counter(fall.kind for fall in falls).most_common())
    print(f"at most {max(fall.redone for fall in falls)} steps, {max(fall.seconds for fall in falls):.2f} s redone")


def test_five_kills(nursery: tuple[Nursery, Path], tmp_path: Path) -> None:
    """Two anywhere, two in the same epoch, one while a state is written."""
    chosen = seed()
    draw = random.Random(chosen)
    place = alone(nursery, tmp_path)
    falls: list[Fall] = []
    while len(falls) < 5:
        epoch, step = draw.randint(1, 2), draw.randint(5, 15)
        moments: list[Kill] = [
            draw.uniform(0, 0.3) * place.seconds,
            {"kind": "backward", "inside": True, "epoch": epoch, "step": step},
            {"kind": draw.choice(("optimizer", "forward")), "epoch": epoch, "step": step + draw.randint(1, 10)},
            aim(draw.choice(WRITE), draw),
            draw.uniform(0, 0.2) * place.seconds,
        ]
        falls += play(place, str(len(falls)), moments)
    show(falls)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["arrays", "two workers"])
def test_fifty_kills(nursery: tuple[Nursery, Path], tmp_path: Path, more: tuple[str, ...]) -> None:
    """At least one in each stage of a step and at each point of a state's two files, the others anywhere."""
    if more and "workers" not in Settings.__dataclass_fields__:
        pytest.skip("pictures are not streamed")
    chosen = seed()
    draw = random.Random(chosen)
    place = alone(nursery, tmp_path, *more)
    falls: list[Fall] = []
    while len(falls) < 50 or {fall.kind for fall in falls} < set(WANTED):
        missing = [kind for kind in WANTED if kind not in {fall.kind for fall in falls}]
        aims = [aim(kind, draw) for kind in draw.sample(missing, min(3, len(missing)))]
        moments: list[Kill] = [*aims, *(draw.uniform(0, 0.6) * place.seconds for _ in range(4 - len(aims) // 2))]
        draw.shuffle(moments)
        falls += play(place, str(len(falls)) + hashlib.sha256(str(moments).encode()).hexdigest()[:4], moments)
    show(falls)


def after_the_end(place: Place) -> None:
    """Between the end of a training and the end of its process nothing is trained again."""
    story = place.story("after the end")
    assert not story.live({"kind": "states removed"})
    steps = len(story.batches())
    assert not story.live()
    assert sum("ids" in line for line in story.log()) == steps == STEPS * EPOCHS
    assert {**story.facts(), "batches": {}} == {**place.facts, "batches": {}}


@pytest.mark.slow
def test_twice_and_thrice_within_an_epoch_and_at_its_very_end(nursery: tuple[Nursery, Path], tmp_path: Path) -> None:
    """No step is lost or done twice in what is kept, wherever in its epoch a training is killed."""
    place = alone(nursery, tmp_path)
    thrice: list[Kill] = [{"kind": "update", "epoch": 2, "step": step} for step in (8, 16, 24)]
    falls = play(place, "thrice", thrice)
    assert [fall.epoch for fall in falls] == [2, 2, 2]
    at_end: list[Kill] = [
        {"kind": "optimizer", "epoch": 1, "step": STEPS - 1},
        {"kind": "update", "epoch": 2, "step": STEPS - 1, "pass": 2},
        {"kind": "epoch's end", "epoch": 3, "step": STEPS - 1},
        {"kind": "evaluation", "epoch": 4, "step": STEPS - 1},
        {"kind": "waiting for data", "epoch": 5, "step": 0},
        {"kind": "epoch's end", "epoch": 5, "step": STEPS - 1},
        {"kind": "norms"},
    ]
    more = play(place, "at its end", at_end)
    assert [(fall.kind, fall.epoch) for fall in more] == [(one["kind"], one.get("epoch", 5)) for one in at_end]  # type: ignore[union-attr]
    show([*falls, *more])
    after_the_end(place)
