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

WORK_A_WEIGHT = 20  # multiply-adds that a core does while it fetches a weight that is in no cache, about
SHARE = 4000  # scales weights by multiply-adds, so that their logarithm tells small maps apart
PRODUCTS = ("conv", "conv-first", "conv-plain", "depthwise", "depthwise-plain", "qconv", "qdepthwise", "gemm", "qgemm")


@dataclass(frozen=True, kw_only=True)
class Latency(Value):
    """The predicted time of one prediction of one image, the network alone.

    Args:
      ms: milliseconds, at the clock at which the machine was measured; with a margin of None it takes so long at least.
      margin: share by which nine of ten networks differ from their prediction, at most; None where kinds are unknown.
      kernels: how many there are.
      unknown: kinds of kernels that the profile does not hold; they are counted as taking no time, and `ms` is that of
        the others less the profile's margin.
    """

    ms: float
    margin: float | None
    kernels: int
    unknown: tuple[str, ...] = ()

    def least_ms(self) -> float:
        """What the network takes at least, if its prediction is off by no more than the margin."""
        return self.ms if self.margin is None else self.ms / (1 + self.margin)


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
        self._clock = KernelClock(self.form.times)

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
        return [self._latency(own) for own in found]

    def _latency(self, own: Sequence[Kernel]) -> Latency:
        ms = self.form.factor * (sum(map(self._clock.us, own)) + self.form.call_us) / 1e3
        unknown = tuple(sorted(set(map(kind_of, own)).difference(self._clock.kinds)))
        if unknown:
            return Latency(ms=ms / (1 + self.form.margin), margin=None, kernels=len(own), unknown=unknown)
        return Latency(ms=ms, margin=self.form.margin, kernels=len(own))


class KernelClock:
    """How long kernels take: those that were measured as they were, others by a fit for their kind.

    Args:
      times: that were measured.
    """

    def __init__(self, times: Sequence[KernelTime]) -> None:
        self._known = {entry.kernel: entry.us for entry in times}
        groups: dict[str, list[KernelTime]] = defaultdict(list)
        for entry in times:
            groups[entry.kernel.kind].append(entry)
        self._fits = {kind: _bounded(group) for kind, group in groups.items()}
        self.kinds = frozenset(kind_of(entry.kernel) for entry in times)

    def us(self, kernel: Kernel) -> float:
        """Microseconds of a kernel; 0 of a kind that was not measured."""
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
            held = [kernel for kernel in group if kind_of(kernel) in self.kinds]
            self._known.update(dict.fromkeys(group, 0.0))
            if held:
                self._known.update(zip(held, map(float, self._fits[kind](held))))


def kind_of(kernel: Kernel) -> str:
    """A kernel's kind, convolutions in groups being one of their own: none tells how quick the others are."""
    return f"{kernel.kind} in groups" if kernel.groups > 1 else kernel.kind


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
    read, made = max(channels // kernel.groups, 1), max(filters // kernel.groups, 1)  # of one group: one product
    return (
        math.log2(work(kernel)),
        math.log2(channels),
        math.log2(filters),
        math.log2(rows * columns),
        math.log2(columns),
        math.log2(kernel.taps),
        math.log2(high * wide / (rows * columns)),
        read % 16 / 16,
        made % 16 / 16,
        math.log2(_filling(stretch, 6)),
        math.log2(_filling(-(-made // 16), 4)),
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
