# SPDX-License-Identifier: Apache-2.0
"""Where a run's time went, by the notes of its clock and by what each piece of work says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fireforge.base.journal import Entry
from fireforge.base.value import Json, Value

DATA, BASELINES, SURVEY, RUNG, FINISH = "data", "baselines", "survey", "rung", "finish"
STAGE = {
    "start": DATA,
    "baseline": BASELINES,
    "candidates": SURVEY,
    "calibration": FINISH,
    "parity": FINISH,
    "export": FINISH,
    "stage": FINISH,
    "evaluation": FINISH,
    "prediction": FINISH,
    "answer": FINISH,
}


@dataclass(frozen=True, kw_only=True)
class Note(Value):
    """A "clock" entry.

    Args:
      used: seconds of the run so far, those of earlier starts counted.
    """

    used: float


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What one stage took.

    Args:
      stage: "data", "baselines", "survey", "rung 0" and so on, "finish".
      wall_s: by the clock, about: to the nearest note of the clock before and after.
      work_s: that its pieces say they took, added up; more than the wall where they ran side by side.
      pieces: of work that say so.
    """

    stage: str
    wall_s: float
    work_s: float
    pieces: int


def spent(entries: Sequence[Entry]) -> tuple[Spent, ...]:
    """The time of each stage, in the order in which they began.

    The clock's notes stand between the other entries. What lies between two notes goes to the entries between them by
    the seconds that they tell of themselves. What is left over belongs to data where that had just been read, otherwise
    to the last of these entries; but what a training leaves over is the beginning of what comes next, since a training
    tells of all its time. The wall-clock times add up to the answer's seconds.

    Args:
      entries: of a whole record; those before the last start do not count.

    Returns:
      One for each stage that has an entry; none without a clock.
    """
    begun = [place for place, entry in enumerate(entries) if entry.type == "start"]
    told = [entry for entry in entries[begun[-1] if begun else 0 :] if _noted(entry) is not None or _stage(entry)]
    wall: dict[str, float] = {}
    work: dict[str, float] = {}
    pieces: dict[str, int] = {}
    last_s, waiting = 0.0, list[Entry]()
    for entry in told:
        stage, seconds, noted = _stage(entry), _seconds(entry), _noted(entry)
        if stage:
            wall.setdefault(stage, 0.0)
            work[stage] = work.get(stage, 0.0) + seconds
            pieces[stage] = pieces.get(stage, 0) + (seconds > 0)
            waiting.append(entry)
        if noted is not None and noted > last_s and waiting:
            last_s += _share(noted - last_s, waiting, wall)
            waiting = []
    if last_s == 0.0:
        return ()
    return tuple(Spent(stage=name, wall_s=wall[name], work_s=work[name], pieces=pieces[name]) for name in wall)


def _share(seconds: float, waiting: Sequence[Entry], wall: dict[str, float]) -> float:
    """Add the time between two notes to the stages of the entries between them; gives back how much was added."""
    whole = sum(map(_seconds, waiting))
    for entry in waiting:
        wall[_stage(entry)] += _seconds(entry) * min(1.0, seconds / max(whole, 1e-9))
    rest = max(0.0, seconds - whole)
    stages = [_stage(entry) for entry in waiting]
    owners = [DATA] if DATA in stages else [stage for stage in stages if not stage.startswith(RUNG)]
    if not owners:
        return seconds - rest
    wall[owners[-1]] += rest
    return seconds


def _stage(entry: Entry) -> str:
    """The stage of an entry; "" for one that belongs to none."""
    if entry.type == "trial":
        return f"{RUNG} {entry.value['trial']['rung']}"
    return STAGE.get(entry.type, "")


def _noted(entry: Entry) -> float | None:
    """Seconds since the run began; None for an entry that does not tell."""
    key = {"clock": "used", "answer": "seconds"}.get(entry.type)
    return float(entry.value.get(key) or 0.0) if key else None


# what an entry says it took, in seconds
TOLD: dict[str, Callable[[Json], float]] = {
    "trial": lambda value: float(sum(value["seconds"].values())),
    "baseline": lambda value: float(value["seconds"]),
    "stage": lambda value: float(value.get("seconds", 0.0)),
}


def _seconds(entry: Entry) -> float:
    return TOLD[entry.type](entry.value) if entry.type in TOLD else 0.0
