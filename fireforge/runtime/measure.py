# SPDX-License-Identifier: Apache-2.0
"""What one file costs and is worth, measured in a process that has only that file; ``python -m`` prints it as JSON."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.fresh import answer, fresh
from fireforge.base.machine import this_machine
from fireforge.base.measurement import Measurement
from fireforge.base.pixels import Picture
from fireforge.runtime.energy import POWERCAP, Counter, drawn, why_none
from fireforge.runtime.memory import peak_bytes, reset_peak, resident_bytes
from fireforge.runtime.pictures import Pictures, as_array, generated, read_pictures
from fireforge.runtime.predictor import Predictor, load, model_file

DISTINCT = 16  # pictures that the timed predictions go round


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
    shown = [] if given is None else [as_array(picture) for picture in given.pictures[:DISTINCT]]
    memory = _Memory()
    start = time.perf_counter()
    predictor = load(path, threads=threads)
    load_ms = (time.perf_counter() - start) * 1e3
    if not shown:
        with memory.paused():
            shown = generated(predictor.card.preprocess.steps(), DISTINCT)
    times_ms = _time(predictor, shown, runs=runs, warmup=warmup)
    memory_bytes = memory.most()
    energy_mj, energy_how = _energy(predictor, shown)
    n = 0 if given is None else len(given.labels)
    return Measurement(
        bytes=path.stat().st_size,
        latency_ms=float(np.median(times_ms)),
        latency_p90_ms=float(np.quantile(times_ms, 0.9)),
        memory_bytes=memory_bytes,
        load_ms=load_ms,
        accuracy=None if given is None else _accuracy(predictor, given),
        n=n,
        runs=runs,
        threads=threads,
        runtime=type(predictor.session).__name__,
        torch_loaded="torch" in sys.modules,
        hardware=this_machine(),
        how={
            **_how(runs=runs, warmup=warmup, threads=threads, n=n, memory=memory_bytes is not None),
            "energy_mj": energy_how,
        },
        energy_mj=energy_mj,
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
    options = ["--threads", str(threads), "--runs", str(runs), "--warmup", str(warmup)]
    options += [] if pictures is None else ["--pictures", str(pictures)]
    found = Measurement.from_json(fresh("fireforge.runtime.measure", [str(path), *options], where=str(path)))
    if found.torch_loaded:
        raise FireforgeError("MEASURE_FAILED", "torch was loaded", where=str(path), exit_code=Exit.BUG)
    return found.replace(how={name: _freshly(words) for name, words in found.how.items()})


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
    options = {"threads": asked.threads, "runs": asked.runs, "warmup": asked.warmup}
    return answer(lambda: measure(asked.path, pictures=asked.pictures, **options).to_json())


class _Memory:
    """The most memory above what is held when it is made; what is held after a pause and was not before is ours."""

    def __init__(self) -> None:
        self._known = reset_peak()
        self._before = resident_bytes()
        self._most = 0

    def most(self) -> int | None:
        """Bytes; None where the system does not tell or the peak did not begin anew."""
        peak = peak_bytes()
        if not self._known or peak is None or self._before is None:
            return None
        self._most = max(self._most, peak - self._before)
        return self._most

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside does not count, nor does what it leaves behind."""
        self.most()
        start = resident_bytes()
        yield
        end = resident_bytes()
        self._known = reset_peak() and self._known
        if self._before is not None and start is not None and end is not None:
            self._before += max(0, end - start)


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


def _energy(predictor: Predictor, shown: Sequence[Picture], *, root: Path = POWERCAP) -> tuple[float | None, str]:
    """Millijoules of a prediction by the machine's counter, and how; None where it has none that may be read."""
    counter = Counter.open(root)
    if counter is None:
        return None, f"not measured: {why_none(root)}"
    try:
        found = drawn(counter, lambda: predictor.predict(shown[0]))
    except (OSError, ValueError) as error:
        return None, f"not measured: {error}"
    told = f"{found.runs} predictions at {found.busy_w:.3g} W, less {found.idle_w:.3g} W at rest"
    if found.energy_mj is None:
        return None, f"not measured: {told}, are lost in the noise of the machine"
    return found.energy_mj, f"counter: {counter.names()} of the whole machine, {told}"


def _freshly(words: str) -> str:
    return words if words.startswith("not measured") else f"{words}, in a fresh process"


def _how(*, runs: int, warmup: int, threads: int, n: int, memory: bool) -> dict[str, str]:
    no_memory = "not measured: this system does not tell a process its peak memory, or does not let it begin anew"
    run = f"{runs} predictions after {warmup}, one picture each, {threads} thread(s)"
    return {
        "bytes": "size of the file on disk",
        "latency_ms": f"median of {run}; from pixels in memory to label: resize, normalize, network, softmax",
        "memory_bytes": f"peak resident memory less that before load, without the pictures shown; over load and {run}"
        if memory
        else no_memory,
        **({"accuracy": f"{n} pictures through the same predictor"} if n else {}),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
