# SPDX-License-Identifier: Apache-2.0
"""What short trainings are ranked by, by hand and against published errors."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from fireforge.base.record import RunRecord
from fireforge.space.promise import PRIOR, Outlook, promise, worth
from fireforge.space.survey import Candidate

E_TIMES = Outlook(times=math.e)  # where the prior has its whole power


def record(accuracy: float | None, *, samples: int = 0, epochs: float = 0.0) -> RunRecord:
    metrics = {"train/epoch": (1.0, epochs)} if epochs else {}
    return SimpleNamespace(accuracy=accuracy, samples={"train": samples} if samples else {}, metrics=metrics)  # type: ignore[return-value]


def network(macs: float) -> Candidate:
    return SimpleNamespace(cost=SimpleNamespace(macs=macs))  # type: ignore[return-value]


def test_the_error_times_the_prior_by_hand() -> None:
    """32 times the MACs halve what is left of the error, 32^-0.2 = 1/2: an error of 0.4 then stands for 0.2. Where the
    last training is e^2 times as long they quarter it."""
    light, heavy = network(1e6), network(32e6)
    wanted = promise(record(0.8), light, E_TIMES)
    assert promise(record(0.6), heavy, E_TIMES) == pytest.approx(wanted)
    assert promise(record(0.7), heavy, E_TIMES) < wanted
    far = Outlook(times=math.e**2)
    assert promise(record(0.2), heavy, far) == pytest.approx(promise(record(0.8), light, far))
    assert promise(record(None), heavy, E_TIMES) > promise(record(0.0), heavy, E_TIMES)


def test_where_nothing_is_to_come_the_error_alone_counts() -> None:
    for outlook in (Outlook(times=1.0), Outlook(times=0.1), Outlook(times=9.0, epochs=20, samples=1_000)):
        for macs in (1e5, 1e9):
            assert promise(record(0.7, samples=500, epochs=40.0), network(macs), outlook) == pytest.approx(0.3)


def test_how_much_longer_the_last_training_is_by_hand() -> None:
    """Nine times by the clock; 500 of 1,000 pictures 8 times are 4 epochs, and 20 at most are five times as many."""
    done = record(0.5, samples=500, epochs=8.0)
    assert Outlook(times=9.0, epochs=20, samples=1_000).longer(done) == 5.0
    assert Outlook(times=9.0, epochs=200, samples=1_000).longer(done) == 9.0
    assert Outlook(times=9.0).longer(done) == 9.0
    assert Outlook(times=9.0, epochs=20, samples=1_000).longer(record(None)) == 9.0  # a training that failed
    assert Outlook(times=0.5, epochs=20, samples=1_000).longer(done) == 1.0


def test_the_prior_has_the_power_of_the_published_errors() -> None:
    """He et al. 2015, table 6: 8.75, 7.51, 7.17 and 6.97 % at 41, 69, 97 and 126 million MACs; the slope of a line
    through the logarithms, to 0.02."""
    slope = np.polyfit(np.log([41, 69, 97, 126]), np.log([8.75, 7.51, 7.17, 6.97]), 1)[0]
    assert pytest.approx(-PRIOR, abs=0.02) == slope


def test_worth_of_what_was_not_judged() -> None:
    assert worth(record(None)) < worth(record(0.0)) < worth(record(1.0))
