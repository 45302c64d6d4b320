# SPDX-License-Identifier: Apache-2.0
"""Limits that the answer must keep, and how well it kept them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Budget(Value):
    """What the user allows; None is no limit.

    Args:
      max_bytes: of the one file, all of it.
      max_latency_ms: p50 of one prediction at batch 1 on one thread.
      max_memory_bytes: peak resident memory less that before the model was loaded.
      max_energy_mj: millijoules a prediction.
      min_accuracy: share in [0, 1].
      tolerance: accuracy that compression may cost, as a share.
      seconds: wall-clock time for the whole build.

    Raises:
      FireforgeError: BAD_BUDGET, if a limit is not above 0, or a share not within 0 and 1.
    """

    max_bytes: int | None = None
    max_latency_ms: float | None = None
    max_memory_bytes: int | None = None
    max_energy_mj: float | None = None
    min_accuracy: float | None = None
    tolerance: float = 0.005
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that no model could be held against."""
        for name in ("max_bytes", "max_latency_ms", "max_memory_bytes", "max_energy_mj", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise FireforgeError("BAD_BUDGET", f"{name} is {value}", allowed="more than 0, or None for no limit")
        for name in ("min_accuracy", "tolerance"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise FireforgeError("BAD_BUDGET", f"{name} is {value}", allowed="a share from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Verdict(Value):
    """One limit held against what was measured; what was not measured is not met.

    Args:
      name: the limit's name in Budget.
      limit: what was allowed.
      achieved: what was measured; None where nothing was.
      met: whether the limit holds.
      how: how it was measured, in words.
    """

    name: str
    limit: float
    achieved: float | None
    met: bool
    how: str


# limit -> (the measurement it is held against, 1 if more is better else -1)
LIMITS = {
    "max_bytes": ("bytes", -1),
    "max_latency_ms": ("latency_ms", -1),
    "max_memory_bytes": ("memory_bytes", -1),
    "max_energy_mj": ("energy_mj", -1),
    "min_accuracy": ("accuracy", 1),
}


def judge(budget: Budget, measured: dict[str, float], how: dict[str, str]) -> tuple[Verdict, ...]:
    """A verdict for each limit that was set.

    Args:
      budget: the limits.
      measured: measurement ("bytes", "latency_ms", "memory_bytes", "energy_mj", "accuracy") to number.
      how: measurement to words.

    Returns:
      Verdicts in the order of LIMITS.
    """
    verdicts = []
    for name, (measurement, sign) in LIMITS.items():
        limit = getattr(budget, name)
        if limit is None:
            continue
        achieved = measured.get(measurement)
        met = achieved is not None and sign * achieved >= sign * limit
        told = how.get(measurement, "not measured") if achieved is not None else "not measured"
        verdicts.append(Verdict(name=name, limit=float(limit), achieved=achieved, met=met, how=told))
    return tuple(verdicts)
