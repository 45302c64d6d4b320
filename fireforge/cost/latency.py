# SPDX-License-Identifier: Apache-2.0
"""How long a network takes on a machine that was measured, from its Graph and the machine's profile."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from fireforge.base.graph import Graph
from fireforge.base.profile import DeviceProfile, Kernel, KernelTime
from fireforge.base.value import Value
from fireforge.cost.kernels import kernels
from fireforge.cost.regression import fit

NUMBER_BYTES = {"float32": 4, "int8": 1}
LEAST_US = 0.2  # of any kernel
WORK_A_WEIGHT = 20  # multiply-adds that a core does while it fetches a weight that is in no cache, about
SHARE = 4000  # scales weights by multiply-adds, so that their logarithm tells small maps apart
PRODUCTS = ("conv", "conv-first", "conv-plain", "depthwise", "depthwise-plain", "qconv", "qdepthwise", "gemm", "qgemm")


@dataclass(frozen=True, kw_only=True)
class Latency(Value):
    """The predicted time of one prediction of one image, the network alone.

    Args:
      ms: milliseconds, at the clock at which the machine was measured.
      margin: share by which nine of ten networks differ from their prediction, at most.
      kernels: how many there are.
      unknown: kinds of kernels that the profile does not hold; their time is that of moving their numbers.
    """

    ms: float
    margin: float
    kernels: int
    unknown: tuple[str, ...] = ()


class LatencyModel:
    """A profile, fitted: predicts any number of networks.

    Args:
      profile: of a machine.
      form: "float32" or "int8".

    Raises:
      FireforgeError: NOT_PROFILED, if the profile does not hold the form.
    """

    def __init__(self, profile: DeviceProfile, form: str) -> None:
        self.profile, self.name = profile, form
        self.form = profile.form(form)
        self._clock = KernelClock(self.form.times, bandwidth=profile.bandwidth, number_bytes=NUMBER_BYTES[form])

    def predict(self, graph: Graph) -> Latency:
        """The time of a network; see `predict_all`."""
        return self.predict_all([graph])[0]

    def predict_all(self, graphs: Sequence[Graph]) -> list[Latency]:
        """The times of networks, those of a kind of kernel in one go: 400 networks take about a second.

        Args:
          graphs: as `fireforge.cost.kernels.kernels` takes them.

        Returns:
          A prediction for each.
        """
        found = [kernels(graph, form=self.name, block=self.profile.block) for graph in graphs]
        self._clock.learn({kernel for own in found for kernel in own})
        return [
            Latency(
                ms=self.form.factor * (sum(map(self._clock.us, own)) + self.form.call_us) / 1e3,
                margin=self.form.margin,
                kernels=len(own),
                unknown=tuple(sorted({kernel.kind for kernel in own}.difference(self._clock.kinds))),
            )
            for own in found
        ]


class KernelClock:
    """How long kernels take: those that were measured as they were, others by a fit for their kind.

    Args:
      times: that were measured.
      bandwidth: bytes a second, for kinds that were not.
      number_bytes: of a number in this form.
    """

    def __init__(self, times: Sequence[KernelTime], *, bandwidth: float, number_bytes: int) -> None:
        self._known = {entry.kernel: entry.us for entry in times}
        self._us_a_number = 1e6 * number_bytes / bandwidth
        groups: dict[str, list[KernelTime]] = defaultdict(list)
        for entry in times:
            groups[entry.kernel.kind].append(entry)
        self._fits = {kind: _bounded(group) for kind, group in groups.items()}
        self.kinds = frozenset(groups)

    def us(self, kernel: Kernel) -> float:
        """Microseconds of a kernel."""
        if kernel not in self._known:
            self.learn({kernel})
        return self._known[kernel]

    def learn(self, asked: Collection[Kernel]) -> None:
        """Fit the kernels that are not known yet, a kind at a time."""
        groups: dict[str, list[Kernel]] = defaultdict(list)
        for kernel in asked:
            if kernel not in self._known:
                groups[kernel.kind].append(kernel)
        for kind, group in groups.items():
            times = self._fits[kind](group) if kind in self._fits else map(self._moved, group)
            self._known.update(zip(group, map(float, times)))

    def _moved(self, kernel: Kernel) -> float:
        """Of a kind that was not measured: its numbers moved once."""
        numbers = math.prod(kernel.source) * (1 + kernel.joined) + math.prod(kernel.result)
        return max(numbers * self._us_a_number, LEAST_US)


def _bounded(group: Sequence[KernelTime]) -> Callable[[Sequence[Kernel]], np.ndarray]:
    """Kernels of one kind to microseconds, no faster and no slower for their work than any that was measured."""
    fitted = fit(np.array([features(entry.kernel) for entry in group]), [math.log(entry.us) for entry in group])
    pace = [entry.us / work(entry.kernel) for entry in group]
    fastest, slowest, least = min(pace), max(pace), min(entry.us for entry in group)

    def us(kernels: Sequence[Kernel]) -> np.ndarray:
        works = np.array([work(kernel) for kernel in kernels], float)
        found = np.exp(np.clip(fitted(np.array([features(kernel) for kernel in kernels])), -10.0, 20.0))
        return np.asarray(np.clip(found, np.maximum(fastest * works, least), np.maximum(slowest * works, least)))

    return us


def features(kernel: Kernel) -> tuple[float, ...]:
    """What the time of a kernel depends on: work, weights to fetch, sizes, how they fill a processor's registers."""
    channels, high, wide = kernel.source
    filters, rows, columns = kernel.result
    stretch = columns if kernel.taps > 1 else rows * columns
    return (
        math.log2(work(kernel)),
        math.log2(channels),
        math.log2(filters),
        math.log2(rows * columns),
        math.log2(columns),
        math.log2(kernel.taps),
        math.log2(high * wide / (rows * columns)),
        channels % 16 / 16,
        filters % 16 / 16,
        math.log2(_filling(stretch, 6)),
        math.log2(_filling(-(-filters // 16), 4)),
        math.log2(kernel.groups),
        float(kernel.joined),
        math.log2(work(kernel) + WORK_A_WEIGHT * weights(kernel)),
        math.log2(1 + SHARE * weights(kernel) / work(kernel)),
    )


def _filling(number: int, most: int) -> float:
    """Share of a processor's registers that is used when so many at once are done."""
    return number / (-(-number // most) * most)


def work(kernel: Kernel) -> int:
    """Multiply-adds of a product on the channels as they lie in memory; the larger of what is read and made else."""
    if kernel.kind not in PRODUCTS:
        return max(math.prod(kernel.source), math.prod(kernel.result))
    return math.prod(kernel.result) * kernel.taps * _inner(kernel)


def weights(kernel: Kernel) -> int:
    """Weights that a product reads, one at least."""
    return kernel.result[0] * kernel.taps * _inner(kernel) if kernel.kind in PRODUCTS else 1


def _inner(kernel: Kernel) -> int:
    """Channels of its source that one output of a product is the sum of."""
    if "depthwise" in kernel.kind:
        return 1
    flat = kernel.kind.endswith("gemm")
    return math.prod(kernel.source) if flat else max(kernel.source[0] // kernel.groups, 1)
