# SPDX-License-Identifier: Apache-2.0
"""A machine measured by running networks on it: kernels one by one, whole predictions, bandwidth."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fireforge.base.profile import Kernel, KernelTime
from fireforge.runtime.events import Event, trace
from fireforge.runtime.onnx_runtime import OnnxSession

RUNS = 8  # of one reading: traced, and as many untraced
PATIENCE_S = 0.2  # a heavy network is run less often
LEAST_RUNS = 3
LEAST_US = 0.2  # of a kernel
BEST_US = 20  # a kernel must take so long for its rate to count as a peak
COPY_BYTES = 64 * 2**20  # more than a cache holds
NEIGHBOURS = 5  # readings of the anchor whose median tells how the clock stands
QUIET = 0.1  # share of the readings of the anchor that are quicker than the clock that all times are put at
FASTEST = 8  # one of so many runs counts: neighbours on the same memory slow the others down


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One reading of one network on this machine.

    Args:
      network: its number; a network may be read several times.
      events: of its kernels.
      ms: least time of a whole prediction, untraced.
      anchor_ms: least time of the anchor network right before it.
    """

    network: int
    events: tuple[Event, ...]
    ms: float
    anchor_ms: float


class Stopwatch:
    """Times networks beside an anchor, so that a clock that wanders is seen.

    Args:
      anchor: an ONNX file.
      block: as `fireforge.runtime.events.block_of` tells it.
      threads: that one operator may use.
    """

    def __init__(self, anchor: bytes, *, block: int, threads: int = 1) -> None:
        self.block, self.threads = block, threads
        self._anchor = OnnxSession(anchor, threads=threads)
        self._image = shown(self._anchor)

    def anchor_ms(self) -> float:
        """Least time of the anchor, now."""
        return least_ms(self._anchor, self._image, RUNS)

    def time(self, network: int, data: bytes) -> Timed:
        """Time a network.

        Args:
          network: its number.
          data: an ONNX file with one image input.

        Returns:
          Its times.
        """
        session = OnnxSession(data, threads=self.threads)
        image = shown(session)
        anchor_ms = self.anchor_ms()
        once = least_ms(session, image, 2) / 1e3
        runs = int(min(max(PATIENCE_S / once, LEAST_RUNS), RUNS))
        ms = least_ms(session, image, runs)
        events = trace(data, image, runs=runs, block=self.block, threads=self.threads)
        ms = min(ms, least_ms(session, image, runs))
        return Timed(network=network, events=events, ms=ms, anchor_ms=anchor_ms)


def at_one_clock(readings: Sequence[Timed]) -> dict[int, Timed]:
    """The readings of each network as one, at the clock of a quiet machine.

    Args:
      readings: in one number format, in the order in which they were taken.

    Returns:
      Network's number to its runs of all readings together.
    """
    found: dict[int, Timed] = {}
    for one, clock in zip(readings, _clocks([one.anchor_ms for one in readings])):
        scaled = (Event(kernel=event.kernel, us=tuple(us * clock for us in event.us)) for event in one.events)
        events = tuple(sorted(scaled, key=lambda event: repr(event.kernel)))  # their order changes from load to load
        ms = one.ms * clock
        old = found.get(one.network)
        if old is not None:
            events = tuple(Event(kernel=a.kernel, us=a.us + b.us) for a, b in zip(old.events, events, strict=True))
            ms = min(ms, old.ms)
        found[one.network] = Timed(network=one.network, events=events, ms=ms, anchor_ms=one.anchor_ms * clock)
    return found


def kernel_times(networks: Sequence[Timed]) -> tuple[tuple[KernelTime, ...], float]:
    """What the kernels of many networks take.

    A trace counts whole microseconds and adds its own work: what all networks have too much by it, a kernel, is taken
    off. The mean of the fastest runs stands for a kernel, the median of its networks for all of them.

    Args:
      networks: as `at_one_clock` gives them.

    Returns:
      Times of different kernels, and microseconds of a prediction besides its kernels.
    """
    sums = [sum(map(_typical, one.events)) for one in networks]
    tracing = float(np.median([(us - one.ms * 1e3) / len(one.events) for us, one in zip(sums, networks)]))
    seen: dict[Kernel, list[float]] = defaultdict(list)
    calls = []
    for one in networks:
        own = [max(_typical(event) - tracing, LEAST_US) for event in one.events]
        calls.append(one.ms * 1e3 - sum(own))
        for event, us in zip(one.events, own):
            seen[event.kernel].append(us)
    times = tuple(KernelTime(kernel=kernel, us=round(float(np.median(us)), 3)) for kernel, us in seen.items())
    return times, max(round(float(np.median(calls)), 3), 0.0)


def quiet_ms(anchors_ms: Sequence[float]) -> float:
    """The anchor's time on a quiet machine, of many readings."""
    return float(np.quantile(anchors_ms, QUIET))


def _clocks(anchors_ms: Sequence[float]) -> list[float]:
    """What times are multiplied by to hold on a quiet machine: its anchor by the median of a reading's neighbours."""
    quiet = quiet_ms(anchors_ms)
    half = NEIGHBOURS // 2
    spans = [anchors_ms[max(i - half, 0) : i + half + 1] for i in range(len(anchors_ms))]
    return [quiet / float(np.median(span)) for span in spans]


def bandwidth() -> float:
    """Bytes a second, read and written, of copying an array that no cache holds; the best of several."""
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return 2 * COPY_BYTES / min(times)


def _typical(event: Event) -> float:
    """Microseconds: the mean of the fastest runs."""
    us = sorted(event.us)
    return float(np.mean(us[: max(len(us) // FASTEST, 1)]))


def shown(session: OnnxSession) -> dict[str, np.ndarray]:
    """Noise for each input of a session, a batch of one."""
    random = np.random.default_rng(0)
    return {
        tensor.name: random.standard_normal([dim if isinstance(dim, int) else 1 for dim in tensor.shape]).astype(
            tensor.dtype
        )
        for tensor in session.inputs
    }


def least_ms(session: OnnxSession, feeds: dict[str, np.ndarray], runs: int) -> float:
    """The least time of so many runs, after one that does not count."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        session.run(feeds)
        times.append(time.perf_counter() - start)
    return min(times[1:]) * 1e3
