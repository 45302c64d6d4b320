# SPDX-License-Identifier: Apache-2.0
"""The model of feeding by hand: who waits for whom, which number of workers is best, and what a clock says of it."""

from __future__ import annotations

import pytest

from fireforge.base.feeding import Load, Place, best_workers, gains, load_of, loop_stages, seconds_with

FOUR = Place(cores=4)


def test_without_workers_the_loop_feeds_itself() -> None:
    assert seconds_with(Load(step_s=10, feed_s=6, core_s=6, once_s=1), 0, FOUR) == 17


@pytest.mark.parametrize(
    ("load", "workers", "seconds"),
    [
        (Load(step_s=10, feed_s=6, core_s=6, once_s=1, begin_s=2), 1, 13),  # the network is the slower one
        (Load(step_s=2, feed_s=12, core_s=2, begin_s=0), 3, 4),  # three share the reading of a slow disk
        (Load(step_s=8, feed_s=24, core_s=24, begin_s=0), 4, 8),  # (24 + 8) / 4: all cores are busy
        (Load(step_s=8, feed_s=32, core_s=32, begin_s=0), 8, 10),  # more workers than cores are of no use
    ],
)
def test_with_workers_by_hand(load: Load, workers: int, seconds: float) -> None:
    assert seconds_with(load, workers, FOUR) == pytest.approx(seconds)


def test_threads_of_the_loop_take_cores_from_the_workers() -> None:
    load = Load(step_s=8, feed_s=8, core_s=8, begin_s=0)
    assert seconds_with(load, 2, Place(cores=2, threads=1)) == 8
    assert seconds_with(load, 2, Place(cores=2, threads=2)) == 12


def test_the_best_number_is_the_fewest_that_is_as_good() -> None:
    assert best_workers(Load(step_s=10, feed_s=1, core_s=1, begin_s=2), FOUR) == 0  # they cost more than they bring
    assert best_workers(Load(step_s=100, feed_s=90, core_s=90, begin_s=2), FOUR) == 1
    assert best_workers(Load(step_s=100, feed_s=190, core_s=10, begin_s=2), FOUR) == 2


def test_gains_are_named_the_greatest_first() -> None:
    load = Load(step_s=10, feed_s=10, core_s=10, decode_s=8, begin_s=0)
    found = gains(load, 0, Place(cores=2))
    assert found == {
        "workers 0 to 1": pytest.approx(1.0),
        "kept in memory": pytest.approx(1.0),
        "decoded shards": pytest.approx(20 / 12 - 1),
    }
    assert gains(Load(step_s=10, feed_s=0.01, core_s=0.01), 0, FOUR) == {}


def test_a_clock_of_a_loop_that_feeds_itself() -> None:
    stages = {
        "prepare": 1.0,
        "read": 2.0,
        "decode": 6.0,
        "augment": 4.0,
        "collate": 1.0,
        "forward": 10.0,
        "backward": 8.0,
    }
    stages |= {"feed/wall": 12.0, "feed/core": 9.0, "feed/queue": 2.0, "loop/queue": 5.0}
    load = load_of(stages)
    assert load is not None
    assert load.once_s == 1.0
    assert load.feed_s == 10.0  # of 12 seconds 2 were waited for a core
    assert load.step_s == 31 - 12 - (5 - 2)  # of the loop without feeding, likewise
    assert load.core_s == 9.0
    assert load.decode_s == pytest.approx(5.0)  # half of 12, of 10
    assert sum(loop_stages(stages).values()) == 32.0


def test_a_clock_of_a_loop_with_workers() -> None:
    stages = {"prepare": 3.0, "wait": 4.0, "augment": 2.0, "forward": 10.0, "backward": 8.0}
    stages |= {"feed/wall": 24.0, "feed/core": 22.0, "feed/queue": 0.0, "feed/decode": 12.0, "feed/begin": 2.0}
    load = load_of(stages)
    assert load == Load(step_s=20, feed_s=24, core_s=22, decode_s=12, once_s=1, begin_s=2)


def test_pictures_in_memory_have_no_load() -> None:
    assert load_of({"collate": 1.0, "forward": 2.0, "loop/queue": 1.0}) is None
