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
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    best = float("-inf")
    for index in order:
        worth = points[index][1]
        if worth > best or (front and points[front[-1]] == points[index]):
            front.append(index)
            best = max(best, worth)
    return tuple(front)
