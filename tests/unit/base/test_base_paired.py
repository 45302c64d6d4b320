# SPDX-License-Identifier: Apache-2.0
"""Paired differences against published tables, scipy's binomial test and a naive bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.paired import Paired, paired_difference


def answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998 (paired data), the first example, method 10
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland, Lydersen, Laake 2014, airway hyper-responsiveness
    ],
)
def test_the_interval_is_the_published_one(counts: tuple[int, ...], low: float, high: float) -> None:
    """Half a unit of the last printed digit."""
    found = paired_difference(*answers(*counts))
    digits = 4 if abs(low) < 0.1 else 3
    assert found.low == pytest.approx(low, abs=0.51 * 10**-digits)
    assert found.high == pytest.approx(high, abs=0.51 * 10**-digits)


def test_the_published_exact_test() -> None:
    """McNemar's exact p-value of 1 against 7: 0.0703 in Fagerland, Lydersen, Laake 2013; by hand 2 (1 + 8) / 2^8."""
    found = paired_difference(*answers(1, 1, 7, 12))
    assert found.p_value == pytest.approx(2 * (1 + 8) / 2**8, rel=1e-12)
    assert (found.only_a, found.only_b, found.n, found.difference) == (1, 7, 21, -6 / 21)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 3), (5, 5), (30, 12), (400, 470), (2000, 2000)])
def test_the_p_value_is_that_of_scipy(only_a: int, only_b: int) -> None:
    """Logarithms of factorials near 4000! carry a relative rounding of about 1e-11."""
    stats = pytest.importorskip("scipy.stats")
    found = paired_difference(*answers(100, only_a, only_b, 10))
    want = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p_value == pytest.approx(want, rel=1e-8)


def test_the_interval_is_near_a_naive_bootstrap() -> None:
    """2,000 resamples of 2,000 pictures; the ends differ by less than a fifth of the width."""
    a, b = answers(1700, 90, 60, 150)
    draw = np.random.default_rng(0)
    rows = draw.integers(0, len(a), (2000, len(a)))
    shares = a[rows].mean(axis=1) - b[rows].mean(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    found = paired_difference(a, b)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.2 * (high - low) / 2)
    assert found.low < found.difference < found.high


def test_agreement_on_every_picture_has_a_width_and_turning_round_turns_the_sign() -> None:
    same = paired_difference(*answers(95, 0, 0, 5))
    assert same.difference == 0
    assert same.low < 0 < same.high
    assert same.p_value == 1
    a, b = answers(50, 8, 3, 10)
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-15)
    assert Paired.from_json(one.to_json()) == one


@pytest.mark.parametrize("counts", [(7, 0, 0, 0), (0, 7, 0, 0), (0, 0, 0, 7), (0, 0, 7, 0)])
def test_whole_columns_of_one_kind(counts: tuple[int, ...]) -> None:
    found = paired_difference(*answers(*counts))
    assert -1 <= found.low <= found.difference <= found.high <= 1


@pytest.mark.parametrize(("a", "b"), [([], []), ([True], [True, False]), ([[True]], [[True]])])
def test_what_cannot_be_paired_is_refused(a: list, b: list) -> None:
    with pytest.raises(FireforgeError, match="BAD_RECORD"):
        paired_difference(np.array(a, bool), np.array(b, bool))
