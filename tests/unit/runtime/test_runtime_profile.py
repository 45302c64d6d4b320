# SPDX-License-Identifier: Apache-2.0
"""Readings of kernels put at one clock, by hand."""

from __future__ import annotations

import pytest

from fireforge.base.profile import Kernel
from fireforge.runtime.events import Event, block_of
from fireforge.runtime.profile import Timed, at_one_clock, bandwidth, kernel_times

A = Kernel(kind="conv", source=(16, 8, 8), result=(16, 8, 8), taps=9)
B = Kernel(kind="add", source=(16, 8, 8), result=(16, 8, 8), joined=1)


def reading(network: int, *us: tuple[Kernel, tuple[float, ...]], ms: float, anchor_ms: float = 1.0) -> Timed:
    events = tuple(Event(kernel=kernel, us=times) for kernel, times in us)
    return Timed(network=network, events=events, ms=ms, anchor_ms=anchor_ms)


def test_a_slow_clock_is_taken_off_by_hand() -> None:
    """Ten readings at the median clock, then ten at half of it: all times of the slow ones are halved."""
    quick = [reading(i, (A, (10.0,)), ms=0.01) for i in range(11)]
    slow = [reading(100 + i, (A, (20.0,)), ms=0.02, anchor_ms=2.0) for i in range(10)]
    found = at_one_clock([*quick, *slow])
    assert found[3].events[0].us == (10.0,)
    assert found[106].events[0].us == (10.0,)
    assert found[106].ms == pytest.approx(0.01)


def test_two_readings_of_a_network_are_one_whatever_the_order_of_its_kernels() -> None:
    first = reading(0, (A, (10.0, 11.0)), (B, (3.0, 4.0)), ms=0.02)
    second = reading(0, (B, (2.0, 5.0)), (A, (9.0, 12.0)), ms=0.015)
    found = at_one_clock([first, second])[0]
    assert {event.kernel: event.us for event in found.events} == {A: (10, 11, 9, 12), B: (3, 4, 2, 5)}
    assert found.ms == 0.015


def test_what_tracing_adds_is_taken_off_each_kernel_by_hand() -> None:
    """Two kernels of 11 and 4 us traced, 12 us in all untraced: 1.5 us of tracing each."""
    times, call_us = kernel_times([reading(0, (A, (11.0, 40.0, 40.0, 40.0)), (B, (4.0,)), ms=0.012)])
    assert {entry.kernel: entry.us for entry in times} == {A: 9.5, B: 2.5}
    assert call_us == pytest.approx(0.0)


def test_the_median_of_networks_stands_for_a_kernel() -> None:
    readings = [reading(i, (A, (us,)), ms=us / 1e3) for i, us in enumerate((5.0, 6.0, 50.0))]
    times, _ = kernel_times(readings)
    assert [entry.us for entry in times] == [6.0]


def test_this_machine_has_a_bandwidth_and_a_block() -> None:
    """0.2 GB/s is below any machine that runs this, 5 TB/s above; blocks have 4, 8 or 16 channels."""
    assert 0.2e9 < bandwidth() < 5e12
    assert block_of() in (0, 4, 8, 16)
