# SPDX-License-Identifier: Apache-2.0
"""The first Ctrl-C lets the clock run out, the second stops; also where one stands within another."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from fireforge.base.deadline import Deadline
from fireforge.jobs.interrupt import ends_early


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    before = signal.getsignal(signal.SIGINT)
    yield before
    assert signal.getsignal(signal.SIGINT) is before


def twice(clock: Deadline) -> None:
    with ends_early(clock):
        interrupt()
        assert clock.stopped()
        interrupt()


def once_inside_and_once_outside(whole: Deadline, part: Deadline) -> None:
    with ends_early(whole):
        with ends_early(part):
            interrupt()
            assert (whole.stopped(), part.stopped()) == (False, True)
        interrupt()


def test_the_first_stops_the_clock_and_the_second_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        twice(Deadline(60.0))
    assert "finishing with the best so far" in capsys.readouterr().err


def test_a_first_inside_is_a_first_outside_too() -> None:
    with pytest.raises(KeyboardInterrupt):
        once_inside_and_once_outside(Deadline(60.0), Deadline(60.0))


def test_a_second_inside_is_no_first_of_what_is_around() -> None:
    whole = Deadline(60.0)
    with ends_early(whole), pytest.raises(KeyboardInterrupt):
        twice(Deadline(60.0))
    assert not whole.stopped()


def test_without_one_inside_the_one_around_still_waits_for_its_first() -> None:
    whole = Deadline(60.0)
    with ends_early(whole):
        with ends_early(Deadline(60.0)):
            pass
        interrupt()
        assert whole.stopped()


def test_what_ends_before_is_stopped_with_the_whole() -> None:
    whole = Deadline(60.0, used=10.0)
    part = whole.ending_before(20.0)
    assert (part.seconds, round(part.used()), round(part.left())) == (40.0, 10, 30)
    whole.stop()
    assert part.over()
    assert Deadline(5.0).ending_before(20.0).over()


def test_elsewhere_than_in_the_main_thread_nothing_changes() -> None:
    seen = []

    def work() -> None:
        with ends_early(Deadline(60.0)):
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
