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

    Both are of as many threads as the profile is of.

    Args:
      spec: digest of the specification.
      family: of the network.
      form: "float32" or "int8".
      foretold_ms: one prediction of the network alone, at the clock at which it was measured.
      measured_ms: the least of several runs; None where `why` says why there is none.
      margin: share by which nine of ten networks differ from their prediction, at most, as the profile has it; None
        where the profile does not hold all kinds of its kernels, so that it takes as long as foretold at least.
      why: it was not measured; "" where it was.
      profile: that it was foretold by, in words.
    """

    spec: str
    family: str
    form: str
    foretold_ms: float
    measured_ms: float | None
    margin: float | None
    why: str = ""
    profile: str = ""

    def error(self) -> float | None:
        """Foretold over measured, less 1; None of a network that was not measured."""
        return None if self.measured_ms is None else self.foretold_ms / self.measured_ms - 1
