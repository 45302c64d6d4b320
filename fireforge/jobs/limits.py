# SPDX-License-Identifier: Apache-2.0
"""Limits as typed on the command line, as a Budget."""

from __future__ import annotations

from fireforge.base.budget import Budget
from fireforge.base.units import parse_bytes, parse_milliseconds, parse_seconds, parse_share


def budget_of(limits: dict[str, str | None], *, time: str) -> Budget:
    """A Budget of texts with units.

    Args:
      limits: "max_size", "max_latency", "max_memory", "min_accuracy" to a text, or None for no limit.
      time: for everything, such as "2m".

    Returns:
      The budget.

    Raises:
      FireforgeError: BAD_UNIT, naming what would be right.
    """
    size, latency = limits.get("max_size"), limits.get("max_latency")
    memory, share = limits.get("max_memory"), limits.get("min_accuracy")
    return Budget(
        max_bytes=None if size is None else parse_bytes(size),
        max_latency_ms=None if latency is None else parse_milliseconds(latency),
        max_memory_bytes=None if memory is None else parse_bytes(memory),
        min_accuracy=None if share is None else parse_share(share),
        seconds=parse_seconds(time),
    )
