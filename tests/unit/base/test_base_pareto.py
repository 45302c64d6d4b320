# SPDX-License-Identifier: Apache-2.0
"""The Pareto front against its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fireforge.base.pareto import pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 5).map(float), st.sampled_from([float("-inf"), 0.0, 0.5, 1.0, 2.0])))


def test_by_hand() -> None:
    assert pareto_front([]) == ()
    assert pareto_front([(1.0, float("-inf"))]) == (0,)
    assert pareto_front([(3, 0.9), (1, 0.5), (2, 0.4), (3, 0.8), (1, 0.5)]) == (1, 4, 0)


@given(POINTS)
def test_equals_the_definition_point_by_point(points: list[tuple[float, float]]) -> None:
    def beaten(point: tuple[float, float]) -> bool:
        return any(p[0] <= point[0] and p[1] >= point[1] and p != point for p in points)

    front = pareto_front(points)
    assert sorted(front) == [i for i, point in enumerate(points) if not beaten(point)]
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)
