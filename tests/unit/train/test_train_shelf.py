# SPDX-License-Identifier: Apache-2.0
"""Pictures in memory: read once for trials that share them, and never those of another trial."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fireforge.base.trial import Trial
from fireforge.train import shelf as file
from fireforge.train.shelf import Shelf
from fireforge.train.trial import make_ready

MakeTrial = Callable[..., Trial]


def test_trials_that_share_pictures_read_them_once(make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Trial] = []
    monkeypatch.setattr(file, "make_ready", lambda trial: (read.append(trial), make_ready(trial))[1])
    shelf, trial = Shelf(), make_trial()
    first = shelf.ready(trial)
    assert shelf.ready(make_trial(seed=5, epochs=9)) is first
    assert len(read) == 1
    both = shelf.ready(trial.replace(parts=("train", "val")))
    assert len(both.train) == len(first.train) + len(first.val)
    shelf.ready(trial)
    assert len(read) == 3  # one set at a time


def test_most_gives_the_first_pictures_without_a_copy_and_all_of_them_later(make_trial: MakeTrial) -> None:
    shelf, trial = Shelf(), make_trial()
    few, whole = shelf.ready(trial, most=7), shelf.ready(trial)
    assert (len(few.train), len(few.val)) == (7, -(-7 * len(whole.val) // len(whole.train)))
    assert np.shares_memory(few.train.pixels, whole.train.pixels)
    np.testing.assert_array_equal(few.train.ids, whole.train.ids[:7])
    np.testing.assert_array_equal(whole.train.pixels, make_ready(trial).train.pixels)
