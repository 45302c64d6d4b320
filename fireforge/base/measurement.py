# SPDX-License-Identifier: Apache-2.0
"""What one file costs and is worth, as it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.machine import Hardware
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Measurement(Value):
    """Figures of one file.

    Args:
      bytes: on disk, all of it.
      latency_ms: median time of one prediction of one picture.
      latency_p90_ms: nine of ten predictions take at most this.
      memory_bytes: peak resident memory less that before the file was loaded, the pictures that are shown not counted;
        None where the system does not tell, or does not let the peak begin anew: `how` says so.
      load_ms: from path to a predictor.
      accuracy: share of right answers; None where no pictures were given.
      n: pictures behind the accuracy.
      runs: predictions behind the latency.
      threads: that one operator may use.
      runtime: what ran it.
      torch_loaded: whether torch was in the process; it must not be.
      hardware: the machine.
      how: figure to how it was measured, in words.
      energy_mj: of one prediction, by a counter or estimated: `how` says which; None where it is neither.
    """

    bytes: int
    latency_ms: float
    latency_p90_ms: float
    memory_bytes: int | None
    load_ms: float
    accuracy: float | None
    n: int
    runs: int
    threads: int
    runtime: str
    torch_loaded: bool
    hardware: Hardware
    how: dict[str, str]
    energy_mj: float | None = None

    def figures(self) -> dict[str, float]:
        """What was measured of what `fireforge.base.budget.LIMITS` is held against."""
        found = {
            "bytes": self.bytes,
            "latency_ms": self.latency_ms,
            "memory_bytes": self.memory_bytes,
            "energy_mj": self.energy_mj,
            "accuracy": self.accuracy,
        }
        return {name: value for name, value in found.items() if value is not None}
