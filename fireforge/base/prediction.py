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


@dataclass(frozen=True, kw_only=True)
class Foretold(Value):
    """The time of one network in one number format, foretold from its graph, and measured on its untrained file.

    Args:
      spec: digest of the specification.
      family: of the network.
      form: "float32" or "int8".
      foretold_ms: one prediction of the network alone, at the clock at which it was measured.
      measured_ms: the least of several runs.
      margin: share by which nine of ten networks differ from their prediction, at most, as the profile has it.
    """

    spec: str
    family: str
    form: str
    foretold_ms: float
    measured_ms: float
    margin: float

    def error(self) -> float:
        """Foretold over measured, less 1."""
        return self.foretold_ms / self.measured_ms - 1
