# SPDX-License-Identifier: Apache-2.0
"""Limits as they are typed, by hand; what cannot be kept is one line that names the flag."""

from __future__ import annotations

import pytest

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError
from fireforge.jobs.limits import FLAGS, budget_of


def test_every_flag_by_hand() -> None:
    typed = {
        "max_size": "40KB",
        "max_latency": "500us",
        "max_memory": "50MB",
        "max_energy": "2mJ",
        "min_accuracy": "98%",
        "tolerance": "0.5%",
        "time": "2m",
    }
    assert set(typed) == set(FLAGS)
    assert budget_of({**typed, "max_latency": "3ms"}) == Budget(
        max_bytes=40_000,
        max_latency_ms=3.0,
        max_memory_bytes=50_000_000,
        max_energy_mj=2.0,
        min_accuracy=0.98,
        tolerance=0.005,
        seconds=120.0,
    )
    assert budget_of({"max_latency": "500us"}).max_latency_ms == pytest.approx(0.5, abs=1e-12)
    assert budget_of({"tolerance": "0.005", "max_size": None}) == Budget()


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("max_latency", "0"),
        ("max_latency", "0ms"),
        ("max_latency", "-3ms"),
        ("max_latency", "abc"),
        ("max_latency", ""),
        ("max_size", "10"),
        ("max_size", "1e30MB"),
        ("max_energy", "2"),
        ("min_accuracy", "150%"),
        ("min_accuracy", "-1%"),
        ("tolerance", "1.5"),
        ("time", "0s"),
    ],
)
def test_what_is_no_limit_names_its_flag_and_what_would_be(flag: str, text: str) -> None:
    with pytest.raises(FireforgeError) as raised:
        budget_of({flag: text})
    error = raised.value
    assert (error.code, error.where) == ("BAD_UNIT", "--" + flag.replace("_", "-"))
    assert error.allowed
    assert "\n" not in error.line()


@pytest.mark.parametrize(
    "fields",
    [{"max_bytes": 0}, {"max_latency_ms": -1.0}, {"seconds": float("inf")}, {"min_accuracy": 1.5}, {"tolerance": -0.1}],
)
def test_a_budget_from_python_is_held_to_the_same(fields: dict[str, float]) -> None:
    with pytest.raises(FireforgeError, match="BAD_BUDGET"):
        Budget(**fields)  # type: ignore[arg-type]
