# SPDX-License-Identifier: Apache-2.0
"""Successive halving: many candidates for a short time, the better ones for longer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.record import RunRecord
from fireforge.space.survey import Candidate


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One round of the search.

    Args:
      index: from 0.
      candidates: who runs.
      share: of the time that is left when it starts, in (0, 1].
      most_epochs: cap, so that small data does not train for ever.
    """

    index: int
    candidates: tuple[Candidate, ...]
    share: float
    most_epochs: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a ladder asks of one rung.

    Args:
      number: candidates that start.
      share: of the time that is left when it starts.
      least_epochs: below this a comparison tells little.
      most_epochs: cap.
    """

    number: int
    share: float
    least_epochs: int
    most_epochs: int


# The last rung leaves a margin for the estimate: a schedule that is cut off is worth less than one that ends early.
LADDERS: dict[str, tuple[Step, ...]] = {
    "wide": (
        Step(number=12, share=0.2, least_epochs=3, most_epochs=15),
        Step(number=4, share=0.35, least_epochs=10, most_epochs=45),
        Step(number=2, share=0.88, least_epochs=30, most_epochs=150),
    ),
    "narrow": (
        Step(number=6, share=0.2, least_epochs=2, most_epochs=15),
        Step(number=2, share=0.35, least_epochs=6, most_epochs=45),
        Step(number=1, share=0.88, least_epochs=20, most_epochs=150),
    ),
    "short": (
        Step(number=2, share=0.25, least_epochs=2, most_epochs=15),
        Step(number=1, share=0.88, least_epochs=2, most_epochs=150),
    ),
}


def fitting_ladder(epochs: float) -> str:
    """The widest ladder whose least epochs fit.

    Args:
      epochs: of one candidate that the whole search can pay for.

    Returns:
      A name of LADDERS; the last where none fits.
    """
    for name, steps in LADDERS.items():
        if sum(step.number * step.least_epochs for step in steps) <= epochs:
            return name
    return list(LADDERS)[-1]


# all candidates of one rung -> their records, in the same order; fewer where the time is up
TrainFn = Callable[[Rung], Sequence[RunRecord]]


def halve(candidates: Sequence[Candidate], train: TrainFn, *, ladder: str = "wide") -> list[RunRecord]:
    """Run a ladder.

    Args:
      candidates: those that start.
      train: trains a rung; fewer records than candidates say that the time is up, and no further rung begins.
      ladder: a name of LADDERS.

    Returns:
      All records, rung after rung.

    Source:
      Jamieson and Talwalkar 2016, algorithm 1; each rung starts from fresh weights, since a schedule that ends is worth
      more here than the epochs it would save.
    """
    records: list[RunRecord] = []
    standing = tuple(candidates)
    for index, step in enumerate(LADDERS[ladder]):
        standing = standing[: step.number] if index else standing
        rung = Rung(index=index, candidates=standing, share=step.share, most_epochs=step.most_epochs)
        found = list(train(rung))
        records += found
        if len(found) < len(standing):
            break
        order = sorted(range(len(found)), key=lambda i: (-worth(found[i]), standing[i].bytes))
        standing = tuple(standing[i] for i in order)
    return records


def worth(record: RunRecord) -> float:
    """What a trial is ranked by: validation accuracy, -1 where nothing was judged."""
    return record.accuracy if record.accuracy is not None else -1.0


def winner_of(records: Sequence[RunRecord]) -> RunRecord:
    """The best record of the highest rung, unless a lower rung holds one that is better by more than chance.

    The highest rung trained longest, so its best is preferred; but a rung that the clock cut short must not lose what
    stands below it. Better by more than chance is: by more than one standard error of the validation accuracy. Of
    equals the one with fewer parameters wins.

    Args:
      records: at least one.

    Returns:
      The winner.

    Raises:
      FireforgeError: ALL_DIVERGED, if not one could be trained.
    """
    good = [record for record in records if not record.error]
    if not good:
        raise FireforgeError("ALL_DIVERGED", "no network could be trained", where=records[0].error)
    top = max(record.trial.rung for record in good)
    longest = max((record for record in good if record.trial.rung == top), key=_rank)
    best = max(good, key=_rank)
    return best if worth(best) > worth(longest) + _standard_error(longest) else longest


def _rank(record: RunRecord) -> tuple[float, int, int]:
    cost = record.trial.cost
    return worth(record), record.trial.rung, -(cost.params if cost else 0)


def _standard_error(record: RunRecord) -> float:
    """Of the validation accuracy, sqrt(p (1 - p) / n), but at least that of one picture."""
    share, pictures = max(worth(record), 0.0), max(1, record.samples.get("val", 1))
    return max(math.sqrt(share * (1 - share) / pictures), 1 / pictures)
