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
from fireforge.space.halving import (
    ALONE,
    LADDERS,
    Rung,
    Step,
    fitting_ladder,
    halve,
    outlook_of,
    promoted,
    winner_of,
)
from fireforge.space.promise import worth
from fireforge.space.survey import Candidate

HARDWARE = this_machine()


def candidate(number: int, *, size: int = 100, macs: int = 1, params: int = 100) -> Candidate:
    spec = NetSpec(family="firenet", params={"base_e": number}, classes=2, input_shape=(1, 8, 8))
    cost = Cost(params=params, macs=macs, activations=1, peak_activation_bytes=1, weight_bytes=1, wire_bytes=1)
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


@pytest.fixture(autouse=True)
def _a_ladder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20, 6, 2 and 2, so that these tests do not follow the numbers of the real ones, and of 6, 2 and 2."""
    steps = [
        Step(number=number, share=0.2, least_epochs=1, least_pictures=100, most_epochs=15) for number in (20, 6, 2, 2)
    ]
    monkeypatch.setitem(LADDERS, "four", tuple(steps))
    monkeypatch.setitem(LADDERS, "three", tuple(steps[1:]))


LIKE = 10**9  # MACs beside which some more or less change the rank of no two networks here


def test_the_ladder_is_climbed_by_hand_and_the_last_rungs_best_wins() -> None:
    """Network n has n MACs more than the first, which tells the thirds. After the first rung 19 to 14 are best, all
    heavy: the best of the light third (6) and of the middle third (13) take the places of the two worst of them."""
    first = [n / 100 for n in range(20)]
    first[6] = 0.065
    table = {
        0: first,
        1: {19: 0.30, 18: 0.20, 17: 0.25, 16: 0.22, 13: 0.40, 6: 0.10},
        2: {13: 0.50, 19: 0.60},
        3: {19: 0.70, 13: 0.71},
    }
    rungs: list[Rung] = []

    def train(rung: Rung) -> list[RunRecord]:
        rungs.append(rung)
        return [
            record(c, table[rung.index][n], rung=rung.index) for c, n in zip(rung.candidates, names(rung.candidates))
        ]

    records = halve([candidate(number, macs=LIKE + number) for number in range(20)], train, ladder="four")
    assert [names(rung.candidates) for rung in rungs] == [
        list(range(20)),
        [19, 18, 17, 16, 13, 6],
        [13, 19],
        [19, 13],
    ]
    assert [rung.step for rung in rungs] == list(LADDERS["four"])
    assert [(rung.index, rung.last) for rung in rungs] == [(0, False), (1, False), (2, False), (3, True)]
    assert len(records) == 30
    assert winner_of(records).trial.spec.params["base_e"] == 13


def test_the_outlook_of_each_rung_by_hand() -> None:
    """Shares of a fifth: the rungs have 0.2, 0.16, 0.128 and 0.1024 of the time, and on two workers each of 20, 6, 2
    and 2 networks a tenth, a third, all and all of that."""
    each = [0.02, 0.16 / 3, 0.128, 0.1024]
    for rung, seconds in enumerate(each):
        found = outlook_of(LADDERS["four"], rung, samples=500, workers=2)
        assert found.times == pytest.approx(each[-1] / seconds)
        assert (found.epochs, found.samples) == (15, 500)


def test_who_goes_on_by_hand() -> None:
    light, middle, heavy = (candidate(n, macs=n) for n in (1, 2, 3))
    more = [candidate(n, macs=n) for n in (10, 11, 12, 13, 14, 15)]
    ranked = [*reversed(more), heavy, middle, light]  # thirds by MACs: 1 2 3, 10 11 12, 13 14 15
    assert names(promoted(ranked, [], 3)) == [15, 12, 3]
    assert names(promoted(ranked, [], 5)) == [15, 14, 13, 12, 3]
    assert names(promoted(ranked, [], 2)) == [15, 14]  # too few for thirds: the best
    assert names(promoted(ranked, [], 20)) == names(ranked)
    lost = [record(more[-1], None, rung=0).replace(error="DIVERGED: the loss is nan")]
    assert names(promoted(ranked, lost, 2)) == [14, 13]
    all_lost = [record(item, None, rung=0).replace(error="DIVERGED") for item in ranked]
    assert names(promoted(ranked, all_lost, 2)) == [15, 14]  # the next rung may fare better


def test_of_equals_the_smaller_file_is_promoted_and_the_smaller_network_wins() -> None:
    starters = [candidate(number, size=100 - number) for number in range(20)]

    def train(rung: Rung) -> list[RunRecord]:
        return [record(c, 0.5, rung=rung.index) for c in rung.candidates]

    records = halve(starters, train, ladder="three")
    found = [r.trial.spec.params["base_e"] for r in records]
    assert found == [*range(20), 19, 18, 19, 18]
    assert winner_of(records).trial.spec.params["base_e"] == 19


def test_fewer_starters_than_places_climb_all() -> None:
    def train(rung: Rung) -> list[RunRecord]:
        return [record(c, c.bytes / 10, rung=rung.index) for c in rung.candidates]

    records = halve([candidate(0, size=1), candidate(1, size=2), candidate(2, size=3)], train, ladder="four")
    assert [r.trial.rung for r in records] == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert winner_of(records).trial.spec.params["base_e"] == 2


def test_a_trial_that_was_not_judged_ranks_last() -> None:
    assert worth(record(candidate(0), None, rung=0)) == -1.0
    judged, not_judged = record(candidate(0), 0.0, rung=1), record(candidate(1), None, rung=1)
    assert winner_of([not_judged, judged, record(candidate(2), 1.0, rung=0)]) == judged


def test_the_ladder_is_the_broadest_that_is_paid_for() -> None:
    """A naive sum of each ladder's least, of 1,000 pictures and of 1,000,000, at its edges; the ladder for one network
    is nobody's choice."""
    for samples in (1_000, 1_000_000):
        least = {
            name: sum(s.number * min(s.least_epochs * samples, s.least_pictures) for s in LADDERS[name])
            for name in ("broad", "narrow")
        }
        assert least["broad"] > least["narrow"] > 0
        assert fitting_ladder(1e15, samples=samples) == "broad"
        assert fitting_ladder(least["broad"], samples=samples) == "broad"
        assert fitting_ladder(least["broad"] - 1, samples=samples) == "narrow"
        assert fitting_ladder(least["narrow"], samples=samples) == "narrow"
        assert fitting_ladder(least["narrow"] - 1, samples=samples) == "short"
        assert fitting_ladder(0, samples=samples) == "short"


def test_what_is_promised_of_the_ladders() -> None:
    """At least 12 trainings over 3 rungs in the broad one, shares of the time left, and ever fewer and longer rungs."""
    assert sum(step.number for step in LADDERS["broad"]) >= 12
    assert len(LADDERS["broad"]) >= 3
    for steps in (LADDERS[name] for name in ("broad", "narrow", "short", ALONE)):
        assert all(0 < step.share <= 1 for step in steps)
        assert [step.number for step in steps] == sorted((step.number for step in steps), reverse=True)
        for field in ("least_epochs", "least_pictures", "most_epochs"):
            assert [getattr(step, field) for step in steps] == sorted(getattr(step, field) for step in steps)


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
