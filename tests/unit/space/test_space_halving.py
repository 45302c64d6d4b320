# SPDX-License-Identifier: Apache-2.0
"""The ladder, rung by rung, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError
from fireforge.base.machine import this_machine
from fireforge.base.preprocess import Preprocess
from fireforge.base.record import RunRecord
from fireforge.base.spec import NetSpec
from fireforge.base.trial import DataRef, Recipe, Trial
from fireforge.space.halving import LADDERS, Rung, fitting_ladder, halve, winner_of, worth
from fireforge.space.survey import Candidate

HARDWARE = this_machine()


def candidate(number: int, *, size: int = 100) -> Candidate:
    spec = NetSpec(family="firenet", params={"base_e": number}, classes=2, input_shape=(1, 8, 8))
    cost = Cost(params=size, macs=1, activations=1, peak_activation_bytes=1, weight_bytes=1, wire_bytes=1)
    return Candidate(spec=spec, cost=cost, bytes=size)


def record(item: Candidate, accuracy: float | None, *, rung: int) -> RunRecord:
    trial = Trial(
        spec=item.spec,
        recipe=Recipe(epochs=1),
        data=DataRef(source="none"),
        preprocess=Preprocess(),
        rung=rung,
        cost=item.cost,
    )
    return RunRecord(
        trial=trial,
        trial_digest=trial.digest(),
        metrics={},
        accuracy=accuracy,
        seconds={},
        samples={},
        weights="",
        weights_sha256="",
        hardware=HARDWARE,
    )


def names(items: Sequence[Candidate]) -> list[int]:
    return [int(item.spec.params["base_e"]) for item in items]


def test_the_best_are_promoted_by_hand_and_the_last_rungs_best_wins() -> None:
    table = {
        0: [0.10, 0.90, 0.20, 0.80, 0.30, 0.95, 0.40, 0.70, 0.50, 0.85, 0.60, 0.65],
        1: {5: 0.91, 1: 0.97, 9: 0.99, 3: 0.90},
        2: {9: 0.93, 1: 0.98},
    }
    rungs: list[Rung] = []

    def train(rung: Rung) -> list[RunRecord]:
        rungs.append(rung)
        return [
            record(c, table[rung.index][n], rung=rung.index) for c, n in zip(rung.candidates, names(rung.candidates))
        ]

    records = halve([candidate(number) for number in range(12)], train)
    assert [names(rung.candidates) for rung in rungs] == [list(range(12)), [5, 1, 9, 3], [9, 1]]
    assert [(len(rung.candidates), rung.share, rung.most_epochs) for rung in rungs] == [
        (step.number, step.share, step.most_epochs) for step in LADDERS["wide"]
    ]
    assert all(0 < rung.share <= 1 for rung in rungs)
    assert len(records) == 18
    assert winner_of(records).trial.spec.params["base_e"] == 1


def test_of_equals_the_smaller_file_is_promoted_and_the_smaller_network_wins() -> None:
    starters = [candidate(number, size=100 - number) for number in range(12)]

    def train(rung: Rung) -> list[RunRecord]:
        return [record(c, 0.5, rung=rung.index) for c in rung.candidates]

    records = halve(starters, train)
    assert [r.trial.spec.params["base_e"] for r in records[12:]] == [11, 10, 9, 8, 11, 10]
    assert winner_of(records).trial.spec.params["base_e"] == 11


def test_fewer_starters_than_places_climb_all() -> None:
    def train(rung: Rung) -> list[RunRecord]:
        return [record(c, c.bytes / 10, rung=rung.index) for c in rung.candidates]

    records = halve([candidate(0, size=1), candidate(1, size=2), candidate(2, size=3)], train)
    assert [r.trial.rung for r in records] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert winner_of(records).trial.spec.params["base_e"] == 2


def test_a_trial_that_was_not_judged_ranks_last() -> None:
    assert worth(record(candidate(0), None, rung=0)) == -1.0
    judged, not_judged = record(candidate(0), 0.0, rung=1), record(candidate(1), None, rung=1)
    assert winner_of([not_judged, judged, record(candidate(2), 1.0, rung=0)]) == judged


def test_ladder_is_the_widest_that_the_epochs_pay_for() -> None:
    """By hand: wide asks 12 x 3 + 4 x 10 + 2 x 30 = 136 epochs, narrow 6 x 2 + 2 x 6 + 20 = 44."""
    assert [fitting_ladder(epochs) for epochs in (1e9, 136, 135, 44, 43, 0)] == [
        "wide",
        "wide",
        "narrow",
        "narrow",
        "short",
        "short",
    ]


def judged(number: int, accuracy: float, *, rung: int) -> RunRecord:
    return record(candidate(number), accuracy, rung=rung).replace(samples={"val": 200})


def test_a_lower_rung_wins_only_by_more_than_one_standard_error() -> None:
    """By hand, n = 200: at 0.98 it is sqrt(0.98 x 0.02 / 200) = 0.0099."""
    longest = judged(1, 0.98, rung=2)
    assert winner_of([judged(2, 0.985, rung=1), longest]) == longest
    assert winner_of([judged(2, 0.995, rung=1), longest]).trial.rung == 1
    assert winner_of([judged(2, 1.0, rung=0), judged(3, 0.73, rung=2)]).accuracy == 1.0


def test_a_diverged_trial_never_wins_and_all_diverged_is_an_error() -> None:
    lost = record(candidate(1), None, rung=2).replace(error="DIVERGED: the loss is nan")
    assert winner_of([judged(2, 0.3, rung=0), lost]).accuracy == 0.3
    with pytest.raises(FireforgeError, match="ALL_DIVERGED"):
        winner_of([lost])


def test_no_rung_begins_after_one_that_the_time_cut_short() -> None:
    rungs: list[int] = []

    def train(rung: Rung) -> list[RunRecord]:
        rungs.append(rung.index)
        few = rung.candidates if rung.index == 0 else rung.candidates[:1]
        return [record(c, 0.5, rung=rung.index) for c in few]

    records = halve([candidate(number) for number in range(12)], train)
    assert (rungs, len(records)) == ([0, 1], 13)
