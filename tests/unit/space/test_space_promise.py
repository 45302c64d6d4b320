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


def record(accuracy: float | None, *, samples: int = 0, epochs: float = 0.0) -> RunRecord:
    metrics = {"train/epoch": (1.0, epochs)} if epochs else {}
    return SimpleNamespace(accuracy=accuracy, samples={"train": samples} if samples else {}, metrics=metrics)  # type: ignore[return-value]


def network(macs: float, params: float = 1e5) -> Candidate:
    return SimpleNamespace(cost=SimpleNamespace(macs=macs, params=params))  # type: ignore[return-value]


def test_the_error_times_the_prior_by_hand() -> None:
    """Where the last training is e^(0.2 / PRIOR) times as long, the power is 0.2: 32 times the MACs halve what is left
    of the error, 32^-0.2 = 1/2, and so do 32 times the parameters. Where it is twice that power they quarter it."""
    near, far = (Outlook(times=math.exp(power / PRIOR)) for power in (0.2, 0.4))
    light = network(1e6)
    for heavy in (network(32e6), network(1e6, 32e5)):
        wanted = promise(record(0.8), light, near)
        assert promise(record(0.6), heavy, near) == pytest.approx(wanted)
        assert promise(record(0.7), heavy, near) < wanted
        assert promise(record(0.2), heavy, far) == pytest.approx(promise(record(0.8), light, far))
        assert promise(record(None), heavy, near) > promise(record(0.0), heavy, near)


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


def test_the_order_of_five_networks_after_a_long_training_is_foretold() -> None:
    """Searches on CIFAR-10: million MACs, million parameters, error after the third rung and after the last training,
    15 times as long. The errors alone would put the last first; the promise puts the best there."""
    rows = [
        (26.9, 0.520, 0.340, 0.133),
        (16.6, 0.288, 0.3455, 0.1456),
        (24.3, 0.234, 0.346, 0.1506),
        (7.9, 0.980, 0.3468, 0.158),
        (9.4, 0.181, 0.2739, 0.158),
    ]
    outlook = Outlook(times=15.0)
    told = [promise(record(1 - error), network(1e6 * macs, 1e6 * params), outlook) for macs, params, error, _ in rows]
    assert np.argmin([error for _, _, error, _ in rows]) == len(rows) - 1
    assert np.argmin(told) == np.argmin([end for *_, end in rows]) == 0


def test_worth_of_what_was_not_judged() -> None:
    assert worth(record(None)) < worth(record(0.0)) < worth(record(1.0))
