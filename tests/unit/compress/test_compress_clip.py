# SPDX-License-Identifier: Apache-2.0
"""Ranges from histograms against hand values and a search over the numbers themselves."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.quant import affine_of_range, dequantize, quantize
from fireforge.compress.clip import LEAST_SHARE, METHODS, by_ends, by_percentile, by_squared_error
from fireforge.compress.observe import BINS

R = np.random.default_rng(0)


def histogram(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    low, high = float(values.min()), float(values.max())
    return np.histogram(values[values != 0], bins=BINS, range=(low, high))[0], low, high


def error(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of really quantizing the numbers."""
    q = affine_of_range(low, high)
    return float(np.square(dequantize(quantize(values, q), q).astype(np.float64) - values).mean())


def test_ends_are_kept() -> None:
    assert by_ends(np.zeros(4, np.int64), -1.0, 3.0) == (-1, 3)


def test_percentile_by_hand() -> None:
    # 100,000 numbers in 10 bins over 0 to 10: 0.01 % is 10 numbers, all at the upper end
    counts = np.array([99_000, 900, 80, 5, 5, 0, 4, 3, 2, 1])
    assert by_percentile(counts, 0.0, 10.0) == (0, pytest.approx(5))  # 4 + 3 + 2 + 1 = 10 go, and the empty bin
    counts[:2] = counts[1::-1]
    assert by_percentile(np.append(5, counts), 0.0, 11.0)[0] == 0  # the end at 0 stays, however rare it is
    # over -5 to 5 half of it at each end: 5 numbers
    counts = np.array([3, 2, 1, 44_994, 10_000, 10_000, 34_996, 1, 1, 2])
    assert by_percentile(counts, -5.0, 5.0) == (pytest.approx(-3), pytest.approx(2))


def test_least_squares_by_hand() -> None:
    """Numbers over (0, 1) and one of 2, clipped at c: rounding costs n c^2 / (12 255^2), clipping (2 - c)^2.

    The sum is least at c = 2 / (1 + n / 780,300), for n = 200,000 at 1.592, which costs a fifth less than c = 2.
    """
    values = np.append(R.uniform(0, 1, 200_000), 2.0).astype(np.float32)
    counts, _, high = histogram(values)
    low, got = by_squared_error(counts, 0.0, high)
    assert low == 0
    assert got == pytest.approx(1.592, abs=0.03)  # steps of 0.02, and rounding that is only nearly uniform
    assert error(values, low, got) == pytest.approx(error(values, 0.0, 2.0) * 0.796, rel=0.03)


def test_least_squares_with_both_signs_against_a_search_over_both_ends_at_once() -> None:
    values = np.concatenate([R.uniform(-1, 0.5, 20_000), [-3.0, 4.0]]).astype(np.float32)
    counts, low, high = histogram(values)
    found = by_squared_error(counts, low, high)
    shares = np.linspace(1, LEAST_SHARE, 15)
    best = min(error(values, low * a, high * b) for a in shares for b in shares)
    assert low < found[0] < 0 < found[1] < high
    assert error(values, *found) < error(values, low, high)
    assert error(values, *found) <= best * 1.02  # one side after the other is not the optimum of both


def test_a_uniform_tensor_is_not_clipped() -> None:
    values = R.uniform(0, 1, 40_000).astype(np.float32)
    counts, _, high = histogram(values)
    assert by_squared_error(counts, 0.0, high)[1] == pytest.approx(high, rel=0.011)  # at most one step of the grid


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ends", [(0.0, 0.0), (2.0, 2.0), (-1.0, 0.0), (0.0, 1e-30), (3.0, 4.0)])
def test_odd_ranges_stay_within_their_ends(method: str, ends: tuple[float, float]) -> None:
    for counts in (np.zeros(BINS, np.int64), np.ones(BINS, np.int64)):
        low, high = METHODS[method](counts, *ends)
        assert min(ends[0], 0) <= low <= high <= max(ends[1], 0)
