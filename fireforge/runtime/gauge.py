# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a plain ONNX file by batch, in a process that has only that file; ``python -m`` prints JSON."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.fresh import answer, fresh
from fireforge.base.graph import TensorType
from fireforge.base.value import Value
from fireforge.runtime.memory import peak_bytes, reset_peak, resident_bytes
from fireforge.runtime.onnx_runtime import OnnxSession

FILL = 0.5  # every number of the input; the value changes neither time nor memory


@dataclass(frozen=True, kw_only=True)
class Gauge(Value):
    """What some runs of a network took.

    Args:
      batch: pictures in one run.
      times_ms: of each timed run, in order.
      memory_bytes: peak resident memory over load and all runs, input and outputs counted, less that before the load;
        None where the system does not tell, or does not let the peak begin anew.
      load_ms: from path to a session.
      warmup: runs before the timed ones.
    """

    batch: int
    times_ms: tuple[float, ...]
    memory_bytes: int | None
    load_ms: float
    warmup: int


def gauge(path: str | Path, *, batch: int = 1, runs: int = 10, seconds: float = 10.0, threads: int = 1) -> Gauge:
    """Run a network in this process; `gauge_fresh` does it in one of its own, where the memory means something.

    Args:
      path: an ONNX file whose inputs have a symbol for the batch and sizes for the rest; it needs no card.
      batch: pictures in one run.
      runs: timed runs at most.
      seconds: no further timed run begins after this time, warm-up counted; one is always timed.
      threads: that one operator may use.

    Returns:
      The figures.

    Raises:
      FireforgeError: BAD_BENCH, if a number is below 1; BAD_INPUT_TENSOR, if an input has more than one symbol; what
        `OnnxSession` raises.
    """
    if min(batch, runs, threads) < 1:
        raise FireforgeError("BAD_BENCH", f"batch {batch}, {runs} runs, {threads} threads", allowed="each at least 1")
    known = reset_peak()
    before = resident_bytes()
    start = time.perf_counter()
    session = OnnxSession(path, threads=threads)
    load_ms = (time.perf_counter() - start) * 1e3
    feeds = {tensor.name: _filled(tensor, batch) for tensor in session.inputs}
    end = time.monotonic() + seconds
    session.run(feeds)
    times_ms: list[float] = []
    while not times_ms or (len(times_ms) < runs and time.monotonic() < end):
        begun = time.perf_counter_ns()
        session.run(feeds)
        times_ms.append((time.perf_counter_ns() - begun) / 1e6)
    peak = peak_bytes()
    return Gauge(
        batch=batch,
        times_ms=tuple(times_ms),
        memory_bytes=peak - before if known and peak is not None and before is not None else None,
        load_ms=load_ms,
        warmup=1,
    )


def gauge_fresh(
    path: str | Path,
    *,
    batch: int = 1,
    runs: int = 10,
    seconds: float = 10.0,
    threads: int = 1,
    limit_s: float | None = None,
) -> Gauge:
    """Run a network in a fresh process.

    Args:
      path: as for `gauge`.
      batch: pictures in one run.
      runs: timed runs at most.
      seconds: as for `gauge`.
      threads: that one operator may use.
      limit_s: the process is ended after so many seconds; None for no limit.

    Returns:
      The figures.

    Raises:
      FireforgeError: what the process refused; MEASURE_FAILED, if it died or took too long.
    """
    options = ["--batch", str(batch), "--runs", str(runs), "--seconds", str(seconds), "--threads", str(threads)]
    return Gauge.from_json(fresh("fireforge.runtime.gauge", [str(path), *options], where=str(path), limit_s=limit_s))


def main(arguments: Sequence[str]) -> int:
    """Run one file and print one line of JSON: a Gauge, or the error that stopped it.

    Args:
      arguments: the command line without the program.

    Returns:
      The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m fireforge.runtime.gauge", description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    numbers = {"batch": asked.batch, "runs": asked.runs, "seconds": asked.seconds, "threads": asked.threads}
    return answer(lambda: gauge(asked.path, **numbers).to_json())


def _filled(tensor: TensorType, batch: int) -> np.ndarray:
    """An array for an input, with the batch in its symbol's place."""
    symbols = {size for size in tensor.shape if isinstance(size, str)}
    if len(symbols) > 1:
        shape = ", ".join(map(str, tensor.shape))
        raise FireforgeError("BAD_INPUT_TENSOR", f"({shape})", where=tensor.name, allowed="one symbol, the batch")
    sizes = [batch if isinstance(size, str) else size for size in tensor.shape]
    return np.full(sizes, FILL, dtype=tensor.dtype)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
