# SPDX-License-Identifier: Apache-2.0
"""Networks compared by the accuracy that was published: alone, against MACs, and against the speed measured here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import fireforge.report.parts as parts
import fireforge.report.show as show
from fireforge.base.comparison import Compared, Comparison
from fireforge.base.pareto import pareto_front
from fireforge.report.labels import Spot, labels, place
from fireforge.report.markup import Markup, join, tag
from fireforge.report.svg import Bar, Dot, Frame, bars, chart, dots, steps
from fireforge.report.ticks import Axis, log_ticks, nice_ticks

LARGEST_PX = 34.0  # radius of the disc of the network with most parameters
COLOURED = 4  # families with a colour of their own, those with most networks; the others share one
WIDTH, HEIGHT = 900, 560
DOT_PX = 5.0


def accuracy(found: Comparison) -> Markup:
    """Bars of the published top-1 accuracy, best first, with the year."""
    judged = sorted(published(found), key=lambda row: -top1(row))
    style = colours(found.networks)
    rows = [
        Bar(
            label=row.name,
            parts=((top1(row), f"bar {style[row.family]}", told(row)),),
            note=f"{percent_words(top1(row))} ({row.published.year})" if row.published else "",
        )
        for row in judged
    ]
    drawn = (
        parts.figure(bars(rows, title="Published top-1 accuracy", width=520, longest=32), legend(judged, style))
        if rows
        else None
    )
    lead = (
        "Right answers on the validation pictures of ImageNet, and the year, as printed: mostly on one crop; what was "
        "done otherwise stands beside the source below."
    )
    return parts.section("accuracy", "Published accuracy", drawn, without(found), lead=lead)


def macs(found: Comparison) -> Markup:
    """Scatter of published accuracy by counted MACs; the area of a disc is the number of parameters."""
    judged = published(found)
    lead = (
        "To the left is less work, upward are more right answers, and a small disc is a small network. "
        "No network here is better with less work than those on the dashed line."
    )
    drawn = _discs(judged, colours(found.networks)) if judged else None
    return parts.section("macs", "Accuracy by multiply-adds", drawn, without(found), lead=lead)


def speed(found: Comparison) -> Markup:
    """Scatter of published accuracy by measured images a second."""
    judged = [row for row in published(found) if row.speed is not None]
    lead = f"One picture at a time, {show.some(found.threads, 'thread')}, on this machine: {found.hardware.processor}."
    drawn = _speeds(judged, colours(found.networks)) if judged else None
    unmeasured = [f"{row.name} ({row.why})" for row in published(found) if row.speed is None]
    slow = parts.missing(f"Not timed: {', '.join(unmeasured)}.") if unmeasured else None
    return parts.section("speed", "Accuracy by speed", drawn, slow, without(found), lead=lead)


def published(found: Comparison) -> list[Compared]:
    """The networks with a published top-1 accuracy."""
    return [row for row in found.networks if row.published is not None and row.published.top1 is not None]


def top1(row: Compared) -> float:
    """The published accuracy in percent; 0 where there is none."""
    return row.published.top1 or 0.0 if row.published else 0.0


def percent_words(share: float) -> str:
    """A published share in percent with the digits that are printed: one after the point, or two."""
    return f"{share:.1f} %" if round(share, 1) == share else f"{share:g} %"


def without(found: Comparison) -> Markup | None:
    """A line with the networks that a picture of published accuracy lacks."""
    names = [row.name for row in found.networks if row not in published(found)]
    return parts.missing(f"No published accuracy: {', '.join(names)}.") if names else None


def colours(networks: Sequence[Compared]) -> dict[str, str]:
    """Family to class: the families with most networks have a colour each, as long as there are colours."""
    common = [family for family, _ in Counter(row.family for row in networks).most_common(COLOURED)]
    return {row.family: f"family-{common.index(row.family) if row.family in common else 'other'}" for row in networks}


def legend(shown: Sequence[Compared], style: dict[str, str]) -> Markup:
    """The colours of the families that are shown."""
    own = {row.family: style[row.family] for row in shown if style[row.family] != "family-other"}
    rest = [("family-other", "other families")] if any(style[row.family] == "family-other" for row in shown) else []
    return parts.legend([(look, family) for family, look in own.items()] + rest)


def told(row: Compared) -> str:
    """A network's numbers as a tooltip tells them."""
    return (
        f"{row.name}: {percent_words(top1(row))} top-1, {show.compact(row.cost.params)} parameters, "
        f"{show.compact(row.cost.macs)} MACs, input {' × '.join(map(str, row.input_shape))}"
    )


def named(frame: Frame, marks: Sequence[Dot], names: Sequence[str]) -> tuple[Markup, str]:
    """The names of marks, placed so that none lies on another, and a sentence with those for which there is no room."""
    spots = [
        Spot(x=frame.px(mark.x), y=frame.py(mark.y), radius=mark.radius, text=name) for mark, name in zip(marks, names)
    ]
    placed = place(spots, within=(frame.left, frame.top - 10, frame.width - frame.right, frame.height - frame.bottom))
    left_out = [spot.text for spot in spots if spot not in [label.spot for label in placed]]
    return labels(placed), f" No room for the names of {', '.join(left_out)}." if left_out else ""


def roomy(values: Sequence[float], label: str) -> Axis:
    """A logarithmic axis with room for names beside the first and the last mark."""
    ticks = log_ticks(min(values) / 1.25, max(values) * 1.6)
    return Axis(ticks=ticks, label=label, show=show.compact, log=True)


def radius(params: int, most: int) -> float:
    """Radius of a disc whose area stands for parameters, LARGEST_PX for the most."""
    return LARGEST_PX * math.sqrt(params / most)


def _discs(judged: Sequence[Compared], style: dict[str, str]) -> Markup:
    frame = Frame(
        x=roomy([row.cost.macs for row in judged], "multiply-adds (MACs) of one picture, counted"),
        y=_percent([top1(row) for row in judged]),
        width=WIDTH,
        height=HEIGHT,
        right=118,
    )
    most = max(row.cost.params for row in judged)
    order = sorted(judged, key=lambda row: -row.cost.params)
    marks = [
        Dot(
            x=row.cost.macs,
            y=top1(row),
            tip=told(row),
            style=f"disc {style[row.family]}",
            radius=radius(row.cost.params, most),
        )
        for row in order
    ]
    points = [(float(row.cost.macs), top1(row)) for row in judged]
    front = steps(frame, [points[index] for index in pareto_front(points)], style="front")
    names, rest = named(frame, marks, [row.name for row in order])
    drawn = chart(frame, front, dots(frame, marks), names, _sizes(most), title="Published accuracy by MACs")
    return parts.figure(drawn, join((legend(judged, style), rest)), wide=True)


def _sizes(most: int) -> Markup:
    """Discs at the right edge that say how large a number of parameters is drawn."""
    steps_down = [tick for tick in log_ticks(most / 30, most) if tick <= most][::-1][:4]
    x, y = WIDTH - 54.0, 60.0
    marks: list[Markup] = [tag("text", "parameters", class_="axis", x=x, y=y - 22, text_anchor="middle")]
    for params in steps_down:
        size = radius(round(params), most)
        marks.append(tag("circle", class_="disc family-other", cx=x, cy=y + size, r=size))
        marks.append(tag("text", show.compact(params), class_="tick", x=x, y=y + 2 * size + 14, text_anchor="middle"))
        y += 2 * size + 30
    return tag("g", marks, class_="sizes")


def _speeds(judged: Sequence[Compared], style: dict[str, str]) -> Markup:
    rates = [row.speed.images_per_second for row in judged if row.speed]
    frame = Frame(
        x=roomy(rates, "images a second, measured"),
        y=_percent([top1(row) for row in judged]),
        width=WIDTH,
        height=HEIGHT,
    )
    marks = [
        Dot(
            x=rate,
            y=top1(row),
            tip=f"{told(row)}; {rate:.3g} images/s over {row.speed.runs if row.speed else 0} runs",
            style=f"dot {style[row.family]}",
            radius=DOT_PX,
        )
        for row, rate in zip(judged, rates)
    ]
    names, rest = named(frame, marks, [row.name for row in judged])
    drawn = chart(frame, dots(frame, marks), names, title="Published accuracy by images a second")
    return parts.figure(drawn, join((legend(judged, style), rest)), wide=True)


def _percent(values: Sequence[float]) -> Axis:
    spread = max(1.0, max(values) - min(values))
    ticks = nice_ticks(max(0.0, min(values) - 0.12 * spread), min(100.0, max(values) + 0.12 * spread), count=9)
    return Axis(ticks=ticks, label="top-1 accuracy, published", show=lambda value: f"{value:g} %")
