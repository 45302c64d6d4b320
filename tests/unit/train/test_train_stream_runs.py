# SPDX-License-Identifier: Apache-2.0
"""Streamed trainings whole: the same weights by 0, 1 and 2 workers; memory; pace; gains as predicted."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fireforge.base.feeding import Place, gains, load_of, loop_stages, seconds_with
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.record import RunRecord
from fireforge.base.trial import Augment, DataRef, Recipe, Trial
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.nets.families import NETWORKS
from fireforge.train.feed import Ready
from fireforge.train.render import Take
from fireforge.train.stopwatch import Stopwatch
from fireforge.train.stream import AHEAD, Streamed
from fireforge.train.trial import run_trial

pytestmark = [pytest.mark.slow, pytest.mark.data]
DATA = Path(os.environ.get("FIREFORGE_DATA", "")) / "photos10"
CROPS = Augment(crop_area=0.3, flip=True, colour=0.2, mixup=0.1)
SLEEPS = '''
import time


class Sleeping:
    """Reads, and is slow at it."""

    def __init__(self, read, seconds):
        self.read, self.seconds = read, seconds

    def __call__(self, sample):
        time.sleep(self.seconds)
        return self.read(sample)
'''


@pytest.fixture(scope="module")
def photos() -> Dataset:
    if not DATA.is_dir():
        pytest.skip("FIREFORGE_DATA has no photos10")
    return open_dataset(DATA)


def steps_of(side: int) -> ImageSteps:
    return ImageSteps(channels=3, resize=side, crop=(side, side), mean=(120.0,) * 3, std=(60.0,) * 3)


def trial_of(side: int, *, epochs: int = 2, net: str = "firenet-small", batch: int = 32) -> Trial:
    return Trial(
        spec=NETWORKS[net](10, input_shape=(3, side, side)),
        recipe=Recipe(epochs=epochs, batch=batch, ema=0.9, augment=CROPS),
        data=DataRef(source=str(DATA)),
        preprocess=Preprocess(image=steps_of(side)),
        streamed=True,
    )


def trained(
    trial: Trial, data: Dataset, folder: Path, *, workers: int, count: int = 200, until: float = 1e9
) -> RunRecord:
    """On the first so many pictures of each class."""
    steps, part = trial.preprocess.steps(), [sample.id for sample in data.samples if sample.part == "train"]
    ids = np.array(part)[:: max(1, len(part) // count)]
    train = Streamed(data, ids, steps, workers=workers)
    ready = Ready(train=train, val=train.take(np.arange(0, len(ids), 5)))
    return run_trial(trial, folder=folder, ready=ready, device="cpu", until=until)


def test_weights_are_the_same_bits_by_0_1_and_2_workers_and_when_begun_within_an_epoch(
    photos: Dataset, tmp_path: Path
) -> None:
    trial, found = trial_of(32), {}
    for workers in (0, 1, 2):
        found[workers] = trained(trial, photos, tmp_path / str(workers), workers=workers)
    trained(trial, photos, tmp_path / "cut", workers=2, until=1.4)
    found[9] = trained(trial, photos, tmp_path / "cut", workers=1)
    assert len({record.weights_sha256 for record in found.values()}) == 1
    assert len({str(record.metrics) for record in found.values()}) == 1


def test_killed_workers_change_no_bit_and_are_told(photos: Dataset, tmp_path: Path) -> None:
    trial = trial_of(64, epochs=3)
    whole = trained(trial, photos, tmp_path / "whole", workers=0)

    def kill() -> None:
        killed = 0
        while killed < 3:
            time.sleep(0.4)
            for leader in below(os.getpid()):
                for pid in below(leader)[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    record = trained(trial, photos, tmp_path / "killed", workers=2)
    assert record.weights_sha256 == whole.weights_sha256
    assert record.notes
    assert all("died (signal 9)" in note for note in record.notes)


def below(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def test_workers_end_with_their_parent(photos: Dataset, tmp_path: Path) -> None:
    """By SIGKILL, and by Ctrl-C, which leaves no traceback."""
    for number in (signal.SIGKILL, signal.SIGINT):
        words = [sys.executable, "-m", "fireforge", "train", str(DATA), "--workers", "2", "--epochs", "50"]
        words += ["--image-size", "64", "--out", str(tmp_path / number.name)]
        parent = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        end = time.monotonic() + 60
        while time.monotonic() < end and len(pids := [p for one in below(parent.pid) for p in (one, *below(one))]) < 3:
            time.sleep(0.1)
        time.sleep(1)
        parent.send_signal(number)
        told, _ = parent.communicate(timeout=30)
        end = time.monotonic() + 10
        while time.monotonic() < end and any(alive(pid) for pid in pids):
            time.sleep(0.05)
        assert len(pids) == 3
        assert not any(alive(pid) for pid in pids)
        assert "Traceback" not in told
        assert parent.returncode == (-9 if number == signal.SIGKILL else 130)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def resident(pid: int) -> int:
    """Bytes of a process and all below it that are its own or a share of what it shares; 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    own = next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return own + sum(resident(child) for child in below(pid))


def test_memory_is_bounded_and_flat_over_five_epochs(photos: Dataset) -> None:
    ids, side, batch = np.array([s.id for s in photos.samples if s.part == "train"]), 128, 64
    source = Streamed(photos, ids, steps_of(side), workers=2)
    plan = [np.arange(first, min(first + batch, len(ids))) for first in range(0, len(ids), batch)]
    peaks, base = [], 0
    try:
        for epoch in range(6):
            peak = 0
            for number, _ in enumerate(source.flow(plan, Take(seed=0, epoch=epoch, augment=CROPS), None)):
                if number % 6 == 0:
                    peak = max(peak, resident(os.getpid()))
                base = base or peak  # torch is loaded everywhere, and hardly a picture is decoded
            peaks.append(peak)
    finally:
        source.close()
    assert max(peaks) <= base + 2 * AHEAD * batch * 3 * side * side + 64 * 2**20
    assert max(peaks[1:]) - min(peaks[1:]) <= 8 * 2**20


def packed(kind: str, folder: Path) -> Dataset:
    if kind == "tar":
        with tarfile.open(folder / "photos.tar", "w") as tar:
            tar.add(DATA, "photos10")
    if kind == "zip":
        with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
            for path in sorted(DATA.rglob("*.*")):
                archive.write(path, Path("photos10") / path.relative_to(DATA))
    return open_dataset(DATA if kind == "folder" else folder / f"photos.{kind}")


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_two_workers_are_at_least_85_percent_of_a_bare_loop(kind: str, tmp_path: Path) -> None:
    """Of all processor seconds, those in the bare loop over pictures, which the workers time themselves: two bare loops
    side by side are slower than one, too, since cores share their caches.
    """
    data = packed(kind, tmp_path)
    ids = np.array([sample.id for sample in data.samples if sample.part == "train"])
    plan = [np.arange(first, min(first + 64, len(ids))) for first in range(0, len(ids), 64)]
    take = Take(seed=0, epoch=0, augment=CROPS)
    source, ratios = Streamed(data, ids, steps_of(128), workers=2), []
    try:
        for _ in source.flow(plan[:8], take, None):
            pass  # the workers have begun
        for _ in range(5):
            clock, start = Stopwatch(torch.device("cpu")), cores(os.getpid())
            for _ in source.flow(plan, take, clock):
                pass
            ratios.append(clock.seconds["feed/core"] / (cores(os.getpid()) - start))
    finally:
        source.close()
    print(kind, sorted(round(ratio, 3) for ratio in ratios))
    assert sorted(ratios)[2] >= 0.85


def cores(pid: int) -> float:
    """Processor seconds of a process and all below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(cores(child) for child in below(pid))


def pace(record: RunRecord) -> float:
    """Seconds of the loop without its beginning and what is done once."""
    stages = loop_stages(record.stages)
    return sum(stages.values()) - sum(stages[name] for name in ("prepare", "evaluate", "checkpoint"))


def predicted(record: RunRecord, workers: int) -> float:
    """How many times as fast with another number of workers, by the model, once they have begun."""
    load = load_of(record.stages)
    assert load is not None
    assert record.workers is not None
    load = dataclasses.replace(load, once_s=0.0, begin_s=0.0)
    place = Place(cores=record.hardware.cores, threads=1)
    return seconds_with(load, record.workers, place) / seconds_with(load, workers, place)


@pytest.fixture
def sleeping(photos: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """10 ms of waiting before each picture, which needs no core."""
    (tmp_path / "sleeping_reader.py").write_text(SLEEPS)
    monkeypatch.syspath_prepend(tmp_path)
    import sleeping_reader

    return dataclasses.replace(photos, reader=sleeping_reader.Sleeping(photos.reader, 0.01))


def test_gains_by_sleeping_reads_are_those_predicted(sleeping: Dataset, tmp_path: Path) -> None:
    trial = trial_of(32, epochs=1, batch=16)
    records = {n: trained(trial, sleeping, tmp_path / str(n), workers=n, count=500) for n in (0, 1, 2)}
    for one in (0, 1, 2):
        for other in (0, 1, 2):
            achieved = pace(records[one]) / pace(records[other])
            print(one, other, round(achieved, 2), round(predicted(records[one], other), 2))
            assert predicted(records[one], other) == pytest.approx(achieved, rel=0.25)
    assert "workers 0 to 2" in gains(load_of(records[0].stages), 0, Place(cores=2))  # type: ignore[arg-type]


def test_a_loop_that_waits_for_its_workers_says_so(sleeping: Dataset, tmp_path: Path) -> None:
    record = trained(trial_of(32, epochs=1, batch=16), sleeping, tmp_path, workers=1, count=300)
    stages = loop_stages(record.stages)
    assert max((name for name in stages if name != "prepare"), key=stages.__getitem__) == "wait"
    assert record.stages["feed/read"] >= 0.8 * record.stages["feed/wall"]


def test_gains_by_decoding_are_those_predicted(photos: Dataset, tmp_path: Path) -> None:
    """On a machine of its own alone: where others use the cores, no number of them can be reckoned with."""
    if os.getloadavg()[0] > 0.5:
        pytest.skip("others use the machine")
    trial = trial_of(64, epochs=3, net="convnet-small")
    records = {n: trained(trial, photos, tmp_path / str(n), workers=n, count=1500) for n in (0, 1, 2)}
    for one in (0, 1, 2):
        for other in (0, 1, 2):
            achieved = pace(records[one]) / pace(records[other])
            print(one, other, round(achieved, 2), round(predicted(records[one], other), 2))
            assert predicted(records[one], other) == pytest.approx(achieved, rel=0.25)
