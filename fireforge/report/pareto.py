# SPDX-License-Identifier: Apache-2.0
"""Which points no other point beats."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Points for which no other has at most their cost and at least their worth, and is better in one of the two.

    Args:
      points: (cost, worth); less cost and more worth are better.

    Returns:
      Indexes by ascending cost; equal points are all on the front.
    """
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    front: list[int] = []
    best: tuple[float, float] | None = None
    for index in order:
        cost, worth = points[index]
        if best is None or worth > best[1] or (cost, worth) == best:
            front.append(index)
            best = (cost, worth)
    return front
