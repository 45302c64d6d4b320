# SPDX-License-Identifier: Apache-2.0
"""Limits as typed on the command line, as a Budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError
from fireforge.base.units import parse_bytes, parse_millijoules, parse_milliseconds, parse_seconds, parse_share

# name on the command line -> (field of Budget, reader of the text)
FLAGS: dict[str, tuple[str, Callable[[str], float]]] = {
    "max_size": ("max_bytes", parse_bytes),
    "max_latency": ("max_latency_ms", parse_milliseconds),
    "max_memory": ("max_memory_bytes", parse_bytes),
    "max_energy": ("max_energy_mj", parse_millijoules),
    "min_accuracy": ("min_accuracy", parse_share),
    "tolerance": ("tolerance", parse_share),
    "time": ("seconds", parse_seconds),
}


def budget_of(limits: dict[str, str | None]) -> Budget:
    """A Budget of texts with units.

    Args:
      limits: a name of FLAGS to a text such as "40KB", or None for no limit.

    Returns:
      The budget.

    Raises:
      FireforgeError: BAD_UNIT, naming the flag and what would be right.
    """
    fields: dict[str, Any] = {}
    for name, text in limits.items():
        field, read = FLAGS[name]
        if text is None:
            continue
        try:
            fields[field] = read(text)
        except FireforgeError as error:
            where = "--" + name.replace("_", "-")
            raise FireforgeError(error.code, error.what, where=where, allowed=error.allowed) from error
    return Budget(**fields)
