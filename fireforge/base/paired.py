# SPDX-License-Identifier: Apache-2.0
"""Two models on the same pictures: the difference of their accuracies, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.metrics import wilson
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class Paired(Value):
    """How much better model A is than model B on the same pictures; of a compression the accuracy that is lost.

    Args:
      difference: accuracy of A less that of B, as a share.
      low: lower end of its 95 % interval.
      high: upper end.
      n: pictures.
      only_a: pictures that A alone had right.
      only_b: pictures that B alone had right.
      p_value: of McNemar's exact test that neither is better, two-sided.
    """

    difference: float
    low: float
    high: float
    n: int
    only_a: int
    only_b: int
    p_value: float


def paired_difference(right_a: np.ndarray, right_b: np.ndarray) -> Paired:
    """The difference of two accuracies on the same pictures.

    The interval takes the Wilson intervals of both shares together, with the correlation of the answers. Other than
    the normal one it has a width also where both models agree on every picture.

    Args:
      right_a: bool (N,), whether model A was right.
      right_b: bool (N,), whether model B was right.

    Returns:
      The difference A - B, positive where A is better.

    Raises:
      FireforgeError: BAD_RECORD, if there are no pictures or not as many answers of each.

    Source:
      Newcombe 1998 (Improved confidence intervals for the difference between binomial proportions based on paired
      data), method 10; McNemar 1947, in the exact form.

    Example:
      >>> lost = paired_difference(np.arange(100) < 90, np.arange(100) < 88)
      >>> round(lost.difference, 4), lost.only_a, lost.only_b, lost.p_value
      (0.02, 2, 0, 0.5)
    """
    a, b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        what = f"answers of shapes {a.shape} and {b.shape} to compare"
        raise FireforgeError("BAD_RECORD", what, where="paired_difference", allowed="two of the same length, above 0")
    both, only_a, only_b = int((a & b).sum()), int((a & ~b).sum()), int((b & ~a).sum())
    low, high = _newcombe(both, only_a, only_b, len(a))
    return Paired(
        difference=(only_a - only_b) / len(a),
        low=low,
        high=high,
        n=len(a),
        only_a=only_a,
        only_b=only_b,
        p_value=_mcnemar(only_a, only_b),
    )


def _newcombe(both: int, only_a: int, only_b: int, n: int) -> tuple[float, float]:
    neither = n - both - only_a - only_b
    right_a, right_b = both + only_a, both + only_b
    share_a, share_b, difference = right_a / n, right_b / n, (only_a - only_b) / n
    (low_a, high_a), (low_b, high_b) = wilson(right_a, n), wilson(right_b, n)
    together = float(both * neither - only_a * only_b)
    if together > 0:
        together = max(together - n / 2, 0.0)  # continuity correction
    margins = right_a * (n - right_a) * right_b * (n - right_b)
    phi = together / math.sqrt(margins) if margins else 0.0
    down = _length(share_a - low_a, high_b - share_b, phi)
    up = _length(high_a - share_a, share_b - low_b, phi)
    return difference - down, difference + up


def _length(a: float, b: float, phi: float) -> float:
    """Of two lengths whose directions correlate by phi."""
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _mcnemar(only_a: int, only_b: int) -> float:
    """Twice the chance that of so many fair coins as few fall on the rarer side, at most 1; in logarithms."""
    n, least = only_a + only_b, min(only_a, only_b)
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(least + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))
