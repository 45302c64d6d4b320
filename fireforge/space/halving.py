# SPDX-License-Identifier: Apache-2.0
"""Successive halving: many candidates for a short time, the better ones for longer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.record import RunRecord
from fireforge.space.promise import Outlook, promise, worth
from fireforge.space.survey import Candidate


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a ladder asks of one rung.

    Args:
      number: candidates that start.
      share: of the time that is left when it starts.
      least_epochs: below this a comparison tells little ...
      least_pictures: ... unless so many pictures were trained on.
      most_epochs: cap, so that small data does not train for ever.
    """

    number: int
    share: float
    least_epochs: int
    least_pictures: int
    most_epochs: int


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One round of the search.

    Args:
      index: from 0.
      step: of the ladder.
      candidates: who runs.
      last: whether no rung follows.
    """

    index: int
    step: Step
    candidates: tuple[Candidate, ...]
    last: bool


ALONE = "alone"  # one network that was asked for by name
# The last rung leaves a margin for the estimate: a schedule that is cut off is worth less than one that ends early.
LADDERS: dict[str, tuple[Step, ...]] = {
    "broad": (
        Step(number=20, share=0.07, least_epochs=1, least_pictures=1_200, most_epochs=15),
        Step(number=6, share=0.08, least_epochs=4, least_pictures=4_000, most_epochs=45),
        Step(number=4, share=0.11, least_epochs=8, least_pictures=10_000, most_epochs=80),
        Step(number=2, share=0.92, least_epochs=20, least_pictures=80_000, most_epochs=200),
    ),
    "narrow": (
        Step(number=6, share=0.15, least_epochs=1, least_pictures=1_200, most_epochs=15),
        Step(number=2, share=0.2, least_epochs=4, least_pictures=4_000, most_epochs=45),
        Step(number=2, share=0.88, least_epochs=8, least_pictures=12_000, most_epochs=200),
    ),
    "short": (
        Step(number=2, share=0.25, least_epochs=2, least_pictures=3_000, most_epochs=15),
        Step(number=1, share=0.88, least_epochs=2, least_pictures=3_000, most_epochs=150),
    ),
    ALONE: (Step(number=1, share=0.9, least_epochs=1, least_pictures=1, most_epochs=200),),
}


def fitting_ladder(paid: float, *, samples: int) -> str:
    """The broadest ladder whose least trainings fit.

    Args:
      paid: pictures that the whole search can train a middling candidate on.
      samples: pictures of an epoch.

    Returns:
      A name of LADDERS; "short" where none fits.
    """
    for name, steps in LADDERS.items():
        if name == ALONE:
            continue
        least = [step.number * min(step.least_epochs * samples, step.least_pictures) for step in steps]
        if sum(least) <= paid:
            return name
    return "short"


# all candidates of one rung -> their records, in the same order; fewer where the time is up
TrainFn = Callable[[Rung], Sequence[RunRecord]]


def halve(
    candidates: Sequence[Candidate],
    train: TrainFn,
    *,
    ladder: str = "broad",
    samples: float = math.inf,
    workers: int = 1,
) -> list[RunRecord]:
    """Run a ladder.

    Args:
      candidates: those that start.
      train: trains a rung; fewer records than candidates say that the time is up, and no further rung begins.
      ladder: a name of LADDERS.
      samples: pictures of an epoch; infinity where unknown.
      workers: trainings at a time.

    Returns:
      All records, rung after rung.

    Source:
      Jamieson and Talwalkar 2016, algorithm 1, ranked by `promise` and with equal time for each candidate of a rung,
      since time is what the last training gets. A cut to three or more keeps the best of each third by MACs.
    """
    records: list[RunRecord] = []
    standing = tuple(candidates)
    steps = LADDERS[ladder]
    for index, step in enumerate(steps):
        standing = promoted(standing, records, step.number) if index else standing
        rung = Rung(index=index, step=step, candidates=standing, last=index + 1 == len(steps))
        found = list(train(rung))
        records += found
        if len(found) < len(standing):
            break
        outlook = outlook_of(steps, index, samples=samples, workers=workers)
        order = [(promise(record, one, outlook), one.bytes) for record, one in zip(found, standing)]
        standing = tuple(standing[place] for place in sorted(range(len(found)), key=order.__getitem__))
    return records


def promoted(ranked: Sequence[Candidate], records: Sequence[RunRecord], number: int) -> tuple[Candidate, ...]:
    """Who goes on: the best, and among three or more the best of each third by MACs.

    Args:
      ranked: the best first.
      records: of all rungs so far.
      number: how many go on.

    Returns:
      At most that many, the best first.
    """
    failed = {record.trial.spec.digest() for record in records if record.error}
    good = [candidate for candidate in ranked if candidate.spec.digest() not in failed] or list(ranked)
    if number < 3 or len(good) <= number:
        return tuple(good[:number])
    by_macs = sorted(good, key=lambda c: c.cost.macs)
    third = -(-len(by_macs) // 3)
    bands = [by_macs[i : i + third] for i in range(0, len(by_macs), third)]
    best = {min(map(good.index, band)) for band in bands}
    rest = [place for place in range(len(good)) if place not in best][: number - len(best)]
    return tuple(good[place] for place in sorted([*best, *rest]))


def outlook_of(steps: Sequence[Step], index: int, *, samples: float, workers: int) -> Outlook:
    """How the last training of a ladder compares with those of one rung.

    Args:
      steps: of the ladder.
      index: of the rung.
      samples: pictures of an epoch.
      workers: trainings at a time.

    Returns:
      By the shares of the time that each rung's trainings get.
    """

    def each(place: int) -> float:
        left = math.prod(1 - step.share for step in steps[:place])
        return left * steps[place].share / math.ceil(steps[place].number / workers)

    return Outlook(times=each(len(steps) - 1) / each(index), epochs=steps[-1].most_epochs, samples=samples)


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
