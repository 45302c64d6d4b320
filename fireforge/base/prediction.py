# SPDX-License-Identifier: Apache-2.0
"""A figure of a file that was foretold before the file was there."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Prediction(Value):
    """One figure, to be held against the same figure of the Measurement.

    Args:
      name: the measurement: "bytes", "latency_ms", "memory_bytes" or "energy_mj".
      value: what was foretold, in the measurement's unit.
      how: in words.
    """

    name: str
    value: float
    how: str = ""
