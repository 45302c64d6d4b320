# SPDX-License-Identifier: Apache-2.0
"""Successive halving: many candidates for a short time, the better ones for longer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


# (number that start, share of the time that is left, greatest epochs) of each rung; the last leaves a margin for the
# estimate, since a schedule that is cut off is worth less than one that ends early
LADDER = ((12, 0.2, 15), (4, 0.35, 45), (2, 0.88, 150))

# all candidates of one rung -> their records, in the same order
TrainFn = Callable[[Rung], Sequence[RunRecord]]


def halve(candidates: Sequence[Candidate], train: TrainFn) -> list[RunRecord]:
    """Run the ladder.

    Args:
      candidates: those that start.
      train: trains a rung.

    Returns:
      All records, rung after rung; the last rung's best is the winner.

    Source:
      Jamieson and Talwalkar 2016, algorithm 1; each rung starts from fresh weights, since a schedule that ends is worth
      more here than the epochs it would save.
    """
    records: list[RunRecord] = []
    standing = tuple(candidates)
    for index, (number, share, most) in enumerate(LADDER):
        standing = standing[:number] if index else standing
        rung = Rung(index=index, candidates=standing, share=share, most_epochs=most)
        found = list(train(rung))
        records += found
        order = sorted(range(len(found)), key=lambda i: (-worth(found[i]), standing[i].bytes))
        standing = tuple(standing[i] for i in order)
    return records


def worth(record: RunRecord) -> float:
    """What a trial is ranked by: validation accuracy, -1 where nothing was judged."""
    return record.accuracy if record.accuracy is not None else -1.0


def winner_of(records: Sequence[RunRecord]) -> RunRecord:
    """The best record of the highest rung; of equals the one with fewer parameters.

    Args:
      records: at least one.

    Returns:
      The winner.
    """
    top = max(record.trial.rung for record in records)
    last = [record for record in records if record.trial.rung == top]
    return max(last, key=lambda r: (worth(r), -(r.trial.cost.params if r.trial.cost else 0)))
