# SPDX-License-Identifier: Apache-2.0
"""The Pareto front: what no other point beats on both axes."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Indices of the points for which no other costs no more and is worth no less, one of them strictly.

    Args:
      points: (cost, worth) of each; less cost and more worth is better.

    Returns:
      Indices by rising cost; of equal points all are kept.

    Example:
      >>> pareto_front([(3.0, 0.9), (1.0, 0.5), (2.0, 0.4)])
      (1, 0)
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for index in order:
        last = points[front[-1]] if front else None
        if last is None or points[index][1] > last[1] or points[index] == last:
            front.append(index)
    return tuple(front)
