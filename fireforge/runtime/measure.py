# SPDX-License-Identifier: Apache-2.0
"""What one file costs and is worth, measured in a process that has only that file; ``python -m`` prints it as JSON."""

from __future__ import annotations

import argparse
import json
import os
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
from fireforge.runtime.memory import peak_bytes, reset_peak, resident_bytes
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
      memory_bytes: peak resident memory less that before the file was loaded; None where the system does not tell.
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
    memory_bytes: int | None
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
        """What was measured of what `fireforge.base.budget.LIMITS` is held against."""
        found = {
            "bytes": self.bytes,
            "latency_ms": self.latency_ms,
            "memory_bytes": self.memory_bytes,
            "accuracy": self.accuracy,
        }
        return {name: value for name, value in found.items() if value is not None}


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
    given = None if pictures is None else read_pictures(pictures)
    reset_peak()
    before = resident_bytes()
    start = time.perf_counter()
    predictor = load(path, threads=threads)
    load_ms = (time.perf_counter() - start) * 1e3
    times_ms = _time(predictor, _shown(predictor, given), runs=runs, warmup=warmup)
    peak = peak_bytes()
    n = 0 if given is None else len(given.labels)
    return Measurement(
        bytes=path.stat().st_size,
        latency_ms=float(np.median(times_ms)),
        latency_p90_ms=float(np.quantile(times_ms, 0.9)),
        memory_bytes=None if peak is None or before is None else max(0, peak - before),
        load_ms=load_ms,
        accuracy=None if given is None else _accuracy(predictor, given),
        n=n,
        runs=runs,
        threads=threads,
        runtime=type(predictor.session).__name__,
        torch_loaded="torch" in sys.modules,
        hardware=this_machine(),
        how=_how(runs=runs, warmup=warmup, threads=threads, n=n),
    )


def measure_fresh(
    path: str | Path, *, pictures: str | Path | None = None, threads: int = 1, runs: int = 200, warmup: int = 20
) -> Measurement:
    """Measure a file in a fresh process; arguments and errors as for `measure`.

    Args:
      path: a model file or a run folder.
      pictures: npz for `read_pictures`, or None.
      threads: that one operator may use.
      runs: timed predictions, one picture each.
      warmup: predictions before them.

    Returns:
      The figures.

    Raises:
      FireforgeError: what the process refused, or MEASURE_FAILED, if it died.
    """
    command = [sys.executable, "-m", "fireforge.runtime.measure", str(path)]
    command += ["--threads", str(threads), "--runs", str(runs), "--warmup", str(warmup)]
    command += [] if pictures is None else ["--pictures", str(pictures)]
    home = str(Path(__file__).parents[2])  # where this very package lies, for a process started elsewhere
    paths = [home, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in paths if part)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    lines = done.stdout.splitlines() or [""]
    if done.returncode == Exit.DONE:
        found = Measurement.from_json(json.loads(lines[-1]))
        if found.torch_loaded:
            raise FireforgeError("MEASURE_FAILED", "torch was loaded", where=str(path), exit_code=Exit.BUG)
        return found.replace(how={name: f"{words}, in a fresh process" for name, words in found.how.items()})
    if done.returncode == Exit.BAD_INPUT and lines[-1].startswith("{"):
        raise FireforgeError(**json.loads(lines[-1]))
    last = (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1]
    raise FireforgeError("MEASURE_FAILED", last, where=str(path), exit_code=Exit.BUG)


def main(arguments: Sequence[str]) -> int:
    """Measure one file and print one line of JSON: a Measurement, or the error that stopped it.

    Args:
      arguments: the command line without the program.

    Returns:
      The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m fireforge.runtime.measure", description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--pictures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=20)
    asked = parser.parse_args(arguments)
    try:
        found = measure(
            asked.path, pictures=asked.pictures, threads=asked.threads, runs=asked.runs, warmup=asked.warmup
        )
    except FireforgeError as error:
        parts = {name: getattr(error, name) for name in ("code", "what", "where", "allowed", "do")}
        print(canonical_json(parts))
        return int(Exit.BAD_INPUT)
    print(canonical_json(found.to_json()))
    return int(Exit.DONE)


def _shown(predictor: Predictor, given: Pictures | None) -> list[np.ndarray]:
    if given is None:
        return generated(predictor.card.preprocess.steps(), DISTINCT)
    return [as_array(picture) for picture in given.pictures[:DISTINCT]]


def _time(predictor: Predictor, shown: Sequence[Picture], *, runs: int, warmup: int) -> np.ndarray:
    """Milliseconds of each timed prediction."""
    for i in range(warmup):
        predictor.predict(shown[i % len(shown)])
    times = np.empty(runs)
    for i in range(runs):
        start = time.perf_counter_ns()
        predictor.predict(shown[i % len(shown)])
        times[i] = time.perf_counter_ns() - start
    return times / 1e6


def _accuracy(predictor: Predictor, given: Pictures) -> float:
    answers = predictor.predict(given.pictures)
    right = [answer.label == predictor.labels[truth] for answer, truth in zip(answers, given.labels)]
    return float(np.mean(right))


def _how(*, runs: int, warmup: int, threads: int, n: int) -> dict[str, str]:
    run = f"{runs} predictions after {warmup}, one picture each, {threads} thread(s)"
    return {
        "bytes": "size of the file on disk",
        "latency_ms": f"median of {run}; from pixels in memory to label: resize, normalize, network, softmax",
        "memory_bytes": f"peak resident memory less that before load; over load and {run}",
        **({"accuracy": f"{n} pictures through the same predictor"} if n else {}),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
