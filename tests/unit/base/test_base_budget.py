# SPDX-License-Identifier: Apache-2.0
"""Verdicts by hand: what holds, what does not, and what was not measured."""

from __future__ import annotations

import pytest

from fireforge.base.budget import LIMITS, Budget, judge


def test_no_limit_no_verdict() -> None:
    assert judge(Budget(), {"bytes": 1.0}, {}) == ()


@pytest.mark.parametrize(
    ("limit", "allowed", "measurement", "good", "bad"),
    [
        ("max_bytes", 40_000, "bytes", 40_000, 40_001),
        ("max_latency_ms", 3.0, "latency_ms", 3.0, 3.1),
        ("max_memory_bytes", 100, "memory_bytes", 99, 101),
        ("max_energy_mj", 1.0, "energy_mj", 0.5, 1.5),
        ("min_accuracy", 0.98, "accuracy", 0.98, 0.979),
    ],
)
def test_each_limit_at_its_edge(limit: str, allowed: float, measurement: str, good: float, bad: float) -> None:
    budget = Budget.from_json({limit: allowed})
    for achieved, met in ((good, True), (bad, False), (float("nan"), False)):
        (verdict,) = judge(budget, {measurement: achieved}, {measurement: "counted"})
        assert (verdict.name, verdict.limit, verdict.met, verdict.how) == (limit, allowed, met, "counted")


def test_what_was_not_measured_is_not_met() -> None:
    (verdict,) = judge(Budget(max_bytes=10), {}, {"bytes": "file size"})
    assert (verdict.achieved, verdict.met, verdict.how) == (None, False, "not measured")


def test_order_and_names_are_those_of_the_budget() -> None:
    budget = Budget(min_accuracy=0.5, max_bytes=1, max_energy_mj=1.0, max_latency_ms=1.0, max_memory_bytes=1)
    assert [verdict.name for verdict in judge(budget, {}, {})] == list(LIMITS)
