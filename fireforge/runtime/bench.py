# SPDX-License-Identifier: Apache-2.0
"""Several files measured side by side: in turns, so that a machine's moods fall on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.machine import Hardware, this_machine
from fireforge.base.value import Value
from fireforge.runtime.pictures import generated
from fireforge.runtime.predictor import Predictor, load, model_file

WARMUP = 3  # rounds that are not timed
LEAST = 5  # timed rounds that a time limit cannot take away


@dataclass(frozen=True, kw_only=True)
class BenchRow(Value):
    """Times of one file; a prediction is of one batch.

    Args:
      path: the file.
      bytes: on disk.
      median_ms: of one prediction.
      least_ms: of one prediction.
      p90_ms: of one prediction.
      images_per_second: batch by median.
      ratio: median by the least median of the table; 1 for the fastest.
      peak_share: multiply-adds a second at the least time, by the most that this machine was seen to do in the file's
        number format; None where no profile of it is kept.
    """

    path: str
    bytes: int
    median_ms: float
    least_ms: float
    p90_ms: float
    images_per_second: float
    ratio: float
    peak_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class BenchTable(Value):
    """Files side by side, in the order they were given.

    Args:
      rows: one a file.
      batch: pictures in one prediction.
      rounds: timed predictions of each file.
      threads: that one operator may use.
      hardware: the machine.
    """

    rows: tuple[BenchRow, ...]
    batch: int
    rounds: int
    threads: int
    hardware: Hardware


def bench(
    paths: Sequence[str | Path],
    *,
    rounds: int = 200,
    seconds: float | None = None,
    threads: int = 1,
    batch: int = 1,
) -> BenchTable:
    """Time files side by side; each round asks every file once, in an order that turns with the rounds.

    Args:
      paths: model files or run folders, at least one.
      rounds: timed predictions of each file.
      seconds: stop after this time even if rounds are left, but not before a few of them.
      threads: that one operator may use.
      batch: pictures in one prediction; generated, of the size each card asks for.

    Returns:
      The table; from pixels in memory to label: resize, normalize, network, softmax.

    Raises:
      FireforgeError: BAD_BENCH, if there is no file or a number is below 1; what `load` raises.
    """
    if not paths or min(rounds, batch, threads) < 1:
        got = f"{len(paths)} files, {rounds} rounds, batch {batch}, {threads} threads"
        raise FireforgeError("BAD_BENCH", got, allowed="each at least 1")
    files = [model_file(path) for path in paths]
    predictors = [load(path, threads=threads) for path in files]
    shown = [generated(predictor.card.preprocess.steps(), batch) for predictor in predictors]
    for _ in range(WARMUP):
        for predictor, pictures in zip(predictors, shown):
            predictor.predict(pictures)
    times_ms = _rounds(predictors, shown, rounds=rounds, seconds=seconds)
    medians = np.median(times_ms, axis=0)
    rows = tuple(
        BenchRow(
            path=str(path),
            bytes=path.stat().st_size,
            median_ms=float(medians[i]),
            least_ms=float(times_ms[:, i].min()),
            p90_ms=float(np.quantile(times_ms[:, i], 0.9)),
            images_per_second=float(batch * 1e3 / medians[i]),
            ratio=float(medians[i] / medians.min()),
        )
        for i, path in enumerate(files)
    )
    return BenchTable(rows=rows, batch=batch, rounds=len(times_ms), threads=threads, hardware=this_machine())


def _rounds(
    predictors: list[Predictor], shown: list[list[np.ndarray]], *, rounds: int, seconds: float | None
) -> np.ndarray:
    """Milliseconds (rounds, files)."""
    count = len(predictors)
    end = None if seconds is None else time.monotonic() + seconds
    table: list[list[float]] = []
    for turn in range(rounds):
        if end is not None and turn >= LEAST and time.monotonic() > end:
            break
        row = [0.0] * count
        for place in range(count):
            i = (place + turn) % count
            start = time.perf_counter_ns()
            predictors[i].predict(shown[i])
            row[i] = (time.perf_counter_ns() - start) / 1e6
        table.append(row)
    return np.asarray(table)
