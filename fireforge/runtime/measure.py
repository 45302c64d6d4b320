# SPDX-License-Identifier: Apache-2.0
"""What one file costs and is worth, measured in a process that has only that file; ``python -m`` prints it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.machine import Hardware, this_machine
from fireforge.base.pixels import Picture
from fireforge.base.value import Value, canonical_json
from fireforge.runtime.pictures import Pictures, as_array, generated, read_pictures
from fireforge.runtime.predictor import Predictor, load, model_file

DISTINCT = 16  # pictures that the timed predictions go round


@dataclass(frozen=True, kw_only=True)
class Measurement(Value):
    """Figures of one file.

    Args:
      bytes: on disk, all of it.
      latency_ms: median time of one prediction of one picture.
      latency_p90_ms: nine of ten predictions take at most this.
      memory_bytes: peak resident memory less that before the file was loaded.
      load_ms: from path to a predictor.
      accuracy: share of right answers; None where no pictures were given.
      n: pictures behind the accuracy.
      runs: predictions behind the latency.
      threads: that one operator may use.
      runtime: what ran it.
      torch_loaded: whether torch was in the process; it must not be.
      hardware: the machine.
      how: figure to how it was measured, in words.
    """

    bytes: int
    latency_ms: float
    latency_p90_ms: float
    memory_bytes: int
    load_ms: float
    accuracy: float | None
    n: int
    runs: int
    threads: int
    runtime: str
    torch_loaded: bool
    hardware: Hardware
    how: dict[str, str]

    def figures(self) -> dict[str, float]:
        """What limits are held against, by the names of `fireforge.base.budget.LIMITS`; without what was not measured."""
        found = {"bytes": self.bytes, "latency_ms": self.latency_ms, "memory_bytes": self.memory_bytes}
        return found if self.accuracy is None else {**found, "accuracy": self.accuracy}


def measure(
    path: str | Path, *, pictures: str | Path | None = None, threads: int = 1, runs: int = 200, warmup: int = 20
) -> Measurement:
    """Measure a file in this process; `measure_fresh` does it in one of its own, which is what limits are held against.

    Args:
      path: a model file or a run folder.
      pictures: npz for `read_pictures`; None for latency on generated pictures and no accuracy.
      threads: that one operator may use.
      runs: timed predictions, one picture each.
      warmup: predictions before them.

    Returns:
      The figures.

    Raises:
      FireforgeError: what `load` and `read_pictures` raise.
    """
    path = model_file(path)
    before = _reset_peak()
    start = time.perf_counter()
    predictor = load(path, threads=threads)
    load_ms = (time.perf_counter() - start) * 1e3
    given = None if pictures is None else read_pictures(pictures)
    shown = _shown(predictor, given)
    held = _resident_bytes() if given is not None else 0
    times_ms = _time(predictor, shown, runs=runs, warmup=warmup)
    memory = max(0, _peak_bytes() - before)
    accuracy = None if given is None else _accuracy(predictor, given)
    del held
    return Measurement(
        bytes=path.stat().st_size,
        latency_ms=float(np.median(times_ms)),
        latency_p90_ms=float(np.quantile(times_ms, 0.9)),
        memory_bytes=memory,
        load_ms=load_ms,
        accuracy=accuracy,
        n=0 if given is None else len(given.labels),
        runs=runs,
        threads=threads,
        runtime=type(predictor.session).__name__,
        torch_loaded="torch" in sys.modules,
        hardware=this_machine(),
        how=_how(runs=runs, warmup=warmup, threads=threads, n=0 if given is None else len(given.labels)),
    )
