# SPDX-License-Identifier: Apache-2.0
"""Pictures in memory: read once for trials that share them, and never those of another trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.trial import Augment, Trial
from fireforge.data.open import open_dataset
from fireforge.train import shelf as file
from fireforge.train.feed import Pictures, Ready
from fireforge.train.shelf import Shelf, some
from fireforge.train.trial import make_ready

MakeTrial = Callable[..., Trial]


def test_trials_that_share_pictures_read_them_once(make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Trial] = []

    def counting(trial: Trial, *, cache: Path | None = None) -> Ready:
        read.append(trial)
        return make_ready(trial, cache=cache)

    monkeypatch.setattr(file, "make_ready", counting)
    shelf, trial = Shelf(), make_trial()
    first = shelf.ready(trial)
    again = shelf.ready(make_trial(seed=5, epochs=9).replace(rung=2, threads=2, start="0" * 64))
    assert again.train.pixels is first.train.pixels
    assert len(read) == 1
    both = shelf.ready(trial.replace(parts=("train", "val")))
    assert len(both.train) == len(first.train) + len(first.val)
    shelf.ready(trial)
    assert len(read) == 3  # one set at a time
    shelf.ready(make_trial(augment=Augment(source_px=12)))
    assert len(read) == 4  # pictures that are kept larger are others


def test_a_trial_on_some_pictures_leaves_all_of_them_for_the_next(make_trial: MakeTrial) -> None:
    shelf, trial = Shelf(), make_trial()
    few = shelf.ready(trial.replace(pictures=7, val_pictures=3))
    whole = shelf.ready(trial)
    assert (len(few.train), len(few.val)) == (7, 3)
    plain = make_ready(trial)
    np.testing.assert_array_equal(whole.train.pixels, plain.train.pixels)
    np.testing.assert_array_equal(whole.val.ids, plain.val.ids)
    rows = np.searchsorted(plain.train.ids, few.train.ids)
    np.testing.assert_array_equal(few.train.pixels, plain.train.pixels[rows])
    np.testing.assert_array_equal(few.train.labels, plain.train.labels[rows])


def test_some_are_evenly_taken_by_hand() -> None:
    """3 of 10 are rows 0, 10/3 and 20/3, rounded down; data that lie class by class give every class its share."""
    numbers = np.arange(10)
    ten = Pictures(pixels=numbers.astype(np.uint8).reshape(10, 1, 1, 1), labels=numbers // 5, ids=numbers + 100)
    assert some(ten, 3).ids.tolist() == [100, 103, 106]
    assert some(ten, 4).labels.tolist() == [0, 0, 1, 1]
    assert some(ten, 3).pixels.ravel().tolist() == [0, 3, 6]
    assert some(ten, 0) is some(ten, 10) is some(ten, 99) is ten


def test_a_cached_and_an_uncached_shelf_give_the_same_pictures(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial(sha256=sha256_of_tiny(make_trial))
    plain, kept = Shelf().ready(trial), Shelf(tmp_path).ready(trial)
    mapped = Shelf(tmp_path).ready(trial)
    assert isinstance(mapped.train.pixels, np.memmap)
    for one in (kept, mapped):
        for part in ("train", "val"):
            for name in ("pixels", "labels", "ids"):
                wanted = getattr(getattr(plain, part), name)
                found = getattr(getattr(one, part), name)
                assert found.dtype == wanted.dtype
                np.testing.assert_array_equal(found, wanted)


def sha256_of_tiny(make_trial: MakeTrial) -> str:
    return open_dataset(make_trial().data.source).sha256
