# SPDX-License-Identifier: Apache-2.0
"""Where an axis has its marks, and where a value lies on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def nice_ticks(low: float, high: float, *, count: int = 5) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten that span a range.

    Args:
      low: least value.
      high: greatest value, at least low.
      count: about how many steps; the step is the smallest of the series that needs no more.

    Returns:
      Ascending ticks; the first is at most low, the last at least high.
    """
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size:  # one value, or a range too small to be told in twelve digits
        pad = size * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(float(f"{index * step:.12g}") for index in range(first, last + 1))


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Ticks at 1, 2 and 5 times powers of ten (powers alone over more than three decades) that span a range.

    Args:
      low: least value, positive.
      high: greatest value, at least low.

    Returns:
      Ascending ticks; the first is at most low, the last at least high.
    """
    factors = (1.0,) if high / low > 1000 else (1.0, 2.0, 5.0)
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    start = max(tick for tick in every if tick <= low * (1 + 1e-9))
    end = min(tick for tick in every if tick >= high * (1 - 1e-9) and tick > start)
    return tuple(float(f"{tick:.12g}") for tick in every if start <= tick <= end)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A range of values with its marks.

    Args:
      ticks: ascending, at least two; the axis runs from the first to the last.
      label: what the values are, with their unit.
      show: a tick in words.
      log: logarithmic scale; ticks are then positive.
      soft: for shares near 1: the scale is the logarithm of what is missing to 1, plus this; 0 for a plain scale.
    """

    ticks: tuple[float, ...]
    label: str
    show: Callable[[float], str] = str
    log: bool = False
    soft: float = 0.0

    def at(self, value: float) -> float:
        """The value's place, 0 at the first tick and 1 at the last; what lies outside is held to the edge."""
        low, high = self.ticks[0], self.ticks[-1]
        value = min(max(value, low), high)
        if self.soft:
            low, value, high = (-math.log(1 - share + self.soft) for share in (low, value, high))
        elif self.log:
            low, value, high = math.log(low), math.log(value), math.log(high)
        return (value - low) / (high - low)


def axis_of(values: Sequence[float], label: str, show: Callable[[float], str], *, log: bool = False) -> Axis:
    """An axis that holds all of some values.

    Args:
      values: finite; positive where log; none gives the axis from 0 to 1 (1 to 10 where log).
      label: see Axis.
      show: see Axis.
      log: see Axis.

    Returns:
      The axis with nice ticks.
    """
    if log:
        ticks = log_ticks(min(values), max(values)) if values else (1.0, 10.0)
    else:
        ticks = nice_ticks(min(values), max(values)) if values else (0.0, 1.0)
    return Axis(ticks=ticks, label=label, show=show, log=log)


LEVELS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)  # marks of an axis of high shares
HIGH = 0.9  # the best share from which the axis is stretched


def share_axis(shares: Sequence[float], label: str, show: Callable[[float], str]) -> Axis:
    """An axis of shares; where they are high it is stretched towards 1, so that 98 and 99 % do not look alike.

    Args:
      shares: in [0, 1].
      label: see Axis.
      show: see Axis.

    Returns:
      The axis.
    """
    if not shares or max(shares) < HIGH:
        return axis_of(shares, label, show)
    first = max(place for place, level in enumerate(LEVELS) if level <= min(shares))
    last = min(place for place, level in enumerate(LEVELS) if level >= max(shares))
    ticks = LEVELS[min(first, last - 1) : last + 1]
    return Axis(ticks=ticks, label=label, show=show, soft=0.003)
