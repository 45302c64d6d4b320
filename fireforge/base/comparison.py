# SPDX-License-Identifier: Apache-2.0
"""Networks side by side before any training: what was printed of them, what is counted, what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireforge.base.cost import Cost
from fireforge.base.machine import Hardware
from fireforge.base.published import Published
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Speed(Value):
    """Time of one prediction of one picture.

    Args:
      images_per_second: 1000 by the median.
      median_ms: of the timed predictions.
      least_ms: of the timed predictions.
      runs: timed predictions.
      visits: fresh processes that they were timed in, with the other networks' between them.
    """

    images_per_second: float
    median_ms: float
    least_ms: float
    runs: int
    visits: int


@dataclass(frozen=True, kw_only=True)
class BatchMemory(Value):
    """Memory of a prediction of one batch.

    Args:
      batch: pictures.
      counted_bytes: from the graph.
      measured_bytes: the peak of a fresh process above what it held before the load; None where it was not measured.
      runs: predictions behind the measured peak.
      why: there is no measured peak; "" where there is one.
    """

    batch: int
    counted_bytes: int
    measured_bytes: int | None = None
    runs: int = 0
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Compared(Value):
    """One network of a comparison.

    Args:
      name: of the network.
      family: of the network.
      input_shape: (C, H, W).
      cost: counted for one picture.
      published: None where nothing was printed that holds for this network and input.
      memory: by batch, ascending.
      speed: None where it was not timed.
      why: it was not timed; "" where it was.
    """

    name: str
    family: str
    input_shape: tuple[int, int, int]
    cost: Cost
    published: Published | None
    memory: tuple[BatchMemory, ...]
    speed: Speed | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison(Value):
    """Networks side by side, in the order they were given.

    Args:
      networks: the rows.
      threads: that one operator may use.
      hardware: what the figures were measured on.
      versions: package to version.
      how: "speed", "counted" and "measured" to how the figure came to be, in words.
      absent: network that is not among the rows to why.
    """

    networks: tuple[Compared, ...]
    threads: int
    hardware: Hardware
    versions: dict[str, str]
    how: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
