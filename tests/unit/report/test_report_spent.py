# SPDX-License-Identifier: Apache-2.0
"""Where the time went, by hand."""

from __future__ import annotations

import random

import pytest

from fireforge.base.journal import Entry
from fireforge.report.spent import Spent, spent


def trial(rung: int, seconds: float) -> Entry:
    return Entry(type="trial", value={"trial": {"rung": rung}, "seconds": {"train": seconds}})


def baseline(seconds: float) -> Entry:
    return Entry(type="baseline", value={"seconds": seconds})


def clock(used: float) -> Entry:
    return Entry(type="clock", value={"used": used})


START = Entry(type="start", value={})


def test_by_hand() -> None:
    """3 s before the first note, of which 1 s is a baseline; trainings side by side share 8 s; 2 s are the finish."""
    entries = [START, baseline(1.0), clock(3.0), trial(0, 4.0), trial(0, 4.0), trial(1, 8.0), clock(11.0)]
    entries += [Entry(type="stage", value={"seconds": 0.5}), Entry(type="answer", value={"seconds": 13.0})]
    assert spent(entries) == (
        Spent(stage="data", wall_s=2.0, work_s=0.0, pieces=0),
        Spent(stage="baselines", wall_s=1.0, work_s=1.0, pieces=1),
        Spent(stage="rung 0", wall_s=4.0, work_s=8.0, pieces=2),
        Spent(stage="rung 1", wall_s=4.0, work_s=8.0, pieces=1),
        Spent(stage="finish", wall_s=2.0, work_s=0.5, pieces=1),
    )


def test_time_that_no_entry_tells_of_belongs_to_what_comes_next() -> None:
    """5 s by the clock, 2 s of them a training: the other 3 s the next one had begun."""
    found = {
        row.stage: row.wall_s
        for row in spent([START, clock(1.0), trial(0, 2.0), clock(6.0), trial(1, 9.0), clock(9.0)])
    }
    assert found == {"data": 1.0, "rung 0": 2.0, "rung 1": 6.0}


def test_what_baselines_and_the_survey_leave_over_is_theirs() -> None:
    """They tell of less than they take: 6 s for a baseline of 1 s, 4 s for a survey that tells of none."""
    entries = [START, clock(1.0), baseline(1.0), clock(7.0), Entry(type="candidates", value={}), clock(11.0)]
    assert {row.stage: row.wall_s for row in spent(entries)} == {"data": 1.0, "baselines": 6.0, "survey": 4.0}


def test_a_note_without_work_waits() -> None:
    found = spent([START, clock(1.0), clock(6.0), clock(11.0), trial(0, 10.0), clock(12.0)])
    assert {row.stage: row.wall_s for row in found} == {"data": 1.0, "rung 0": pytest.approx(10.0)}


def test_what_came_before_the_last_start_does_not_count() -> None:
    assert [row.stage for row in spent([START, baseline(9.0), clock(9.0), START, trial(0, 1.0), clock(10.0)])] == [
        "data",
        "rung 0",
    ]


def test_without_a_clock_there_is_nothing_to_tell() -> None:
    assert spent([START, trial(0, 4.0)]) == ()
    assert spent([]) == ()


def test_never_more_than_the_clock_and_all_of_it_with_an_answer() -> None:
    draw = random.Random(4)
    for _ in range(200):
        used, entries = 0.0, [START]
        for _ in range(draw.randint(1, 12)):
            used += draw.random() * 5
            entries += [trial(draw.randint(0, 2), draw.random() * 8) for _ in range(draw.randint(0, 3))]
            entries.append(clock(used))
        assert sum(row.wall_s for row in spent(entries)) <= used + 1e-9
        entries.append(Entry(type="answer", value={"seconds": used + 1.0}))
        assert sum(row.wall_s for row in spent(entries)) == pytest.approx(used + 1.0)
