# SPDX-License-Identifier: Apache-2.0
"""How a build shares out its time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError
from fireforge.base.value import Value

DEFAULT_SECONDS = 600.0
LEAST_SECONDS = 30.0
BASELINES_SHARE = 0.1  # of all the time, at most
FINISH_SHARE = 0.03  # of what is left after loading: compression, export, verification, measuring ...
FINISH_LEAST_S = 6.0  # ... at least so long ...
FINISH_MOST_SHARE = 0.4  # ... and at most so much of what is left
FINISH_PASSES = 3.0  # the finish decodes the test pictures twice and the validation pictures once, and runs them
EXPLORE_SHARE = 0.25  # of the search, about, as the ladders have it; the rest is the last training


@dataclass(frozen=True, kw_only=True)
class Timetable(Value):
    """Seconds of a build, from its start to its last word.

    Args:
      load: until the pictures are in memory.
      baselines: at most.
      explore: of the networks that are compared.
      train: of those that are left.
      finish: compression, export, verification, measuring.
    """

    load: float
    baselines: float
    explore: float
    train: float
    finish: float


def seconds_of(budget: Budget) -> float:
    """The time of a build.

    Args:
      budget: of the build.

    Returns:
      Seconds.

    Raises:
      FireforgeError: TOO_LITTLE_TIME.
    """
    seconds = budget.seconds if budget.seconds is not None else DEFAULT_SECONDS
    if seconds < LEAST_SECONDS:
        raise FireforgeError("TOO_LITTLE_TIME", f"{seconds:g} s", allowed=f"at least {LEAST_SECONDS:g}s")
    return seconds


def finish_seconds(left_s: float, *, look_s: float, share: float) -> float:
    """Seconds that the finish needs.

    Args:
      left_s: of the build, after loading; may be infinite.
      look_s: that reading, checking and decoding all pictures took.
      share: of the pictures that the finish looks at, validation and test.

    Returns:
      Seconds; 0 where there is no limit.
    """
    if not math.isfinite(left_s):
        return 0.0
    wanted = max(FINISH_LEAST_S + FINISH_PASSES * share * look_s, FINISH_SHARE * left_s)
    return min(wanted, max(FINISH_LEAST_S, FINISH_MOST_SHARE * left_s))


def timetable(seconds: float, *, look_s: float, share: float) -> Timetable:
    """The time shared out before anything is known but the data.

    Args:
      seconds: of the whole build.
      look_s: that loading will take.
      share: of the pictures that are no training pictures.

    Returns:
      Seconds of each stage; together those of the build.
    """
    load = min(look_s, seconds)
    baselines = min(BASELINES_SHARE * seconds, seconds - load)
    finish = min(finish_seconds(seconds - load, look_s=look_s, share=share), seconds - load - baselines)
    search = max(0.0, seconds - load - baselines - finish)
    return Timetable(
        load=load,
        baselines=baselines,
        explore=EXPLORE_SHARE * search,
        train=(1 - EXPLORE_SHARE) * search,
        finish=finish,
    )
