# SPDX-License-Identifier: Apache-2.0
"""Ticks, axes, marks, heat map and Pareto front against hand values and naive versions."""

from __future__ import annotations

import math
import random
import re

import pytest

from fireforge.base.pareto import pareto_front
from fireforge.report.heat import heat
from fireforge.report.svg import Bar, Dot, Frame, bars, chart, dots, line, rug, steps
from fireforge.report.ticks import Axis, axis_of, log_ticks, nice_ticks, share_axis


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0, 10, (0, 2, 4, 6, 8, 10)),
        (0.13, 2.4, (0, 0.5, 1, 1.5, 2, 2.5)),
        (0.853, 0.987, (0.85, 0.9, 0.95, 1)),
        (-3, 7, (-4, -2, 0, 2, 4, 6, 8)),
        (5, 5, (4.4, 4.6, 4.8, 5, 5.2, 5.4, 5.6)),
        (0, 0, (-1, -0.5, 0, 0.5, 1)),
        (1e6, 1e6 + 1e-6, (900000, 950000, 1000000, 1050000, 1100000)),
        (1200, 33000, (0, 10000, 20000, 30000, 40000)),
    ],
)
def test_nice_ticks_by_hand(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert nice_ticks(low, high) == ticks


def test_nice_ticks_hold_any_range() -> None:
    rng = random.Random(1)
    for _ in range(300):
        low = rng.uniform(-1, 1) * 10 ** rng.randint(-6, 6)
        high = low + rng.random() * 10 ** rng.randint(-6, 6)
        ticks = nice_ticks(low, high)
        # ticks are rounded to 12 digits, and a value within 1e-9 of a step from a tick counts as on it
        slack = 1e-11 * max(abs(low), abs(high)) + 1e-9 * (ticks[1] - ticks[0])
        assert ticks[0] <= low + slack
        assert ticks[-1] >= high - slack
        assert 2 <= len(ticks) <= 8
        assert list(ticks) == sorted(set(ticks))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (2000, 34000, (2000, 5000, 10000, 20000, 50000)),
        (1, 10, (1, 2, 5, 10)),
        (30, 30, (20, 50)),
        (100, 100, (100, 200)),
        (3, 40000, (1, 10, 100, 1000, 10000, 100000)),
    ],
)
def test_log_ticks_by_hand(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert log_ticks(low, high) == ticks


def test_axis_places_by_hand() -> None:
    linear = Axis(ticks=(0.0, 5.0, 10.0), label="")
    assert [linear.at(value) for value in (0, 2.5, 10, 99, -1)] == [0, 0.25, 1, 1, 0]
    log = Axis(ticks=(1.0, 10.0, 100.0), label="", log=True)
    assert log.at(10) == pytest.approx(0.5, abs=1e-12)  # logarithms round
    assert axis_of([], "", str).ticks == (0.0, 1.0)


@pytest.mark.parametrize(
    ("shares", "ticks"),
    [
        ((0.42, 0.987), (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)),
        ((0.91, 1.0), (0.9, 0.95, 0.98, 0.99, 0.995, 1.0)),
        ((0.95, 0.95), (0.9, 0.95)),
        ((1.0, 1.0), (0.995, 1.0)),
        ((0.31, 0.62), (0.3, 0.4, 0.5, 0.6, 0.7)),
        ((), (0.0, 1.0)),
    ],
)
def test_share_axis_by_hand(shares: tuple[float, ...], ticks: tuple[float, ...]) -> None:
    """High shares are spread out; an axis of low ones is a plain one."""
    assert share_axis(shares, "", str).ticks == ticks


def test_share_axis_is_a_logarithm_of_what_is_missing() -> None:
    """From 90 to 99 % in steps: 0.103, 0.053, 0.023 and 0.013 are missing, 0.003 added to each."""
    axis = share_axis((0.9, 0.985), "", str)
    assert axis.ticks == (0.9, 0.95, 0.98, 0.99)
    whole = math.log(0.103 / 0.013)
    places = [0.0, math.log(0.103 / 0.053) / whole, math.log(0.103 / 0.023) / whole, 1.0]
    assert [axis.at(tick) for tick in axis.ticks] == pytest.approx(places, abs=1e-12)  # logarithms round
    assert axis.at(0.2) == 0.0


@pytest.mark.parametrize(("shape", "element"), [("circle", "circle"), ("square", "polygon"), ("diamond", "polygon")])
def test_shapes_lie_around_their_place(shape: str, element: str) -> None:
    """At (100, 80); corners of a square 0.9, of a diamond 1.3 of the radius away."""
    drawn = dots(frame(), [Dot(x=5, y=5, tip="t", shape=shape, radius=10.0)])
    assert drawn.startswith(f"<g><{element} ")
    assert "<title>t</title>" in drawn
    if shape == "circle":
        assert 'cx="100" cy="80" r="10"' in drawn
    else:
        far = {"square": 9.0, "diamond": 13.0}[shape]
        points = re.search(r'points="([^"]*)"', drawn)
        assert points is not None
        xs = [float(pair.split(",")[0]) for pair in points[1].split(" ")]
        assert (min(xs), max(xs)) == (100 - far, 100 + far)


def test_rug_stands_on_the_axis() -> None:
    assert 'd="M50.0 129v-7M150.0 129v-7"' in rug(frame(), [0, 10], style="rug")


def test_every_picture_has_a_title() -> None:
    assert chart(frame(), title="<t>").count("<title>&lt;t&gt;</title>") == 1


def frame() -> Frame:
    axis = Axis(ticks=(0.0, 10.0), label="<x>")
    return Frame(x=axis, y=axis, width=180, height=210, left=50, right=30, top=30, bottom=80)


def test_marks_lie_where_hand_values_say() -> None:
    """The plot's inside is 100 x 100, from (50, 30) to (150, 130), y upwards."""
    drawn = dots(frame(), [Dot(x=0, y=0, tip="<t>"), Dot(x=10, y=5, tip="")])
    assert re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn) == [("50", "130"), ("150", "80")]
    assert "<title>&lt;t&gt;</title>" in drawn
    assert 'points="50.0,130.0 100.0,80.0"' in line(frame(), [(0, 0), (5, 5)], style="s")
    stairs = steps(frame(), [(0, 2), (5, 6)], style="s")
    assert 'points="50.0,110.0 100.0,110.0 100.0,70.0 150.0,70.0"' in stairs
    assert "&lt;x&gt;" in chart(frame(), title="t")


def test_bars_are_as_long_as_their_values() -> None:
    drawn = bars([Bar(label="a", parts=((1, "s", ""), (3, "s", ""))), Bar(label="b", parts=((2, "s", ""),))], title="t")
    lengths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)" height="14"', drawn)]
    assert lengths[1] == pytest.approx(3 * lengths[0], abs=0.02)  # written with two decimals
    assert lengths[2] == pytest.approx(2 * lengths[0], abs=0.02)  # likewise
    assert bars([], title="t").startswith("<svg")


def test_heat_map_shows_every_count_and_every_pair() -> None:
    table = [[5, 1, 0], [0, 7, 0], [2, 0, 9]]
    drawn = heat(table, ["a", "b", "<c>"])
    shown = [int(number) for number in re.findall(r'class="count[^"]*"[^>]*>(\d+)</text>', drawn)]
    assert shown == [5, 1, 7, 2, 9]
    assert [drawn.count(f'class="{style}"') for style in ("empty", "right", "wrong")] == [4, 3, 2]
    assert "&lt;c&gt; answered as a: 2 of 11" in drawn
    assert heat([[1] * 20] * 20, ["long name " * 5] * 20).count("<rect") == 400


def naive_front(points: list[tuple[float, float]]) -> set[int]:
    """O(n^2), by the definition."""
    return {
        i
        for i, (cost, worth) in enumerate(points)
        if not any(c <= cost and w >= worth and (c < cost or w > worth) for c, w in points)
    }


def test_pareto_front_equals_the_naive_definition() -> None:
    rng = random.Random(2)
    for size in (0, 1, 2, 5, 40):
        for _ in range(50):
            points = [(float(rng.randint(0, 9)), float(rng.randint(0, 9))) for _ in range(size)]
            front = pareto_front(points)
            assert set(front) == naive_front(points)
            assert len(front) == len(set(front))
            assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)
