# SPDX-License-Identifier: Apache-2.0
"""Ranges of tensors from what they held: the ends, a percentile, or the clipping of least squared error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEAST_SHARE = 0.3  # of the ends that clipping may leave
STEPS = 71  # shares tried, evenly from LEAST_SHARE to 1
PERCENT = 99.99
Range = tuple[float, float]


def by_ends(counts: np.ndarray, low: float, high: float) -> Range:
    """The ends themselves: nothing is clipped.

    Args:
      counts: int64 (B,), not used.
      low: least number.
      high: greatest number.

    Returns:
      (low, high).
    """
    return low, high


def by_percentile(counts: np.ndarray, low: float, high: float) -> Range:
    """The range without the rarest numbers: 0.01 % of all that are not 0, half of it at each end that is not 0.

    Args:
      counts: int64 (B,), histogram from low to high without exact zeros.
      low: least number.
      high: greatest number.

    Returns:
      Edges of bins, at most the ends.
    """
    total = int(counts.sum())
    if not total or high <= low:
        return low, high
    spare = total * (100 - PERCENT) / 100 / max((low < 0) + (high > 0), 1)
    spare += 1e-9 * total  # so that a whole count is not missed by a rounding
    edges = np.linspace(low, high, len(counts) + 1)
    first = int(np.searchsorted(np.cumsum(counts), spare, side="right")) if low < 0 else 0
    last = int(np.searchsorted(np.cumsum(counts[::-1]), spare, side="right")) if high > 0 else 0
    return float(edges[first]), float(edges[len(counts) - last])


def by_squared_error(counts: np.ndarray, low: float, high: float) -> Range:
    """The range that makes the least sum of squared differences between numbers and their 8-bit integers.

    One share of the ends is searched for each side, the upper one first: a wider range rounds more coarsely, a
    narrower one clips more.

    Args:
      counts: int64 (B,), histogram from low to high without exact zeros.
      low: least number.
      high: greatest number.

    Returns:
      (low times a share, high times a share), each share in [LEAST_SHARE, 1].

    Source:
      Sung, Shin, Hwang 2015 (clipping by least squared error); the grid on a histogram is ours.
    """
    if not counts.sum() or high <= low:
        return low, high
    edges = np.linspace(low, high, len(counts) + 1)
    used = counts > 0
    values, weights = ((edges[1:] + edges[:-1]) / 2)[used], counts[used].astype(np.float64)
    shares = np.linspace(1.0, LEAST_SHARE, STEPS)
    best = (low, high)
    if high > 0:
        best = min(((low, high * share) for share in shares), key=lambda ends: _error(values, weights, ends))
    if low < 0:
        top = best[1]
        best = min(((low * share, top) for share in shares), key=lambda ends: _error(values, weights, ends))
    return float(best[0]), float(best[1])


def _error(values: np.ndarray, weights: np.ndarray, ends: Range) -> float:
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale = (high - low) / 255
    zero = np.clip(np.rint(-low / scale), 0, 255)
    back = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return float(weights @ np.square(back - values))


METHODS: dict[str, Callable[[np.ndarray, float, float], Range]] = {
    "min-max": by_ends,
    "percentile": by_percentile,
    "mse": by_squared_error,
}
