# SPDX-License-Identifier: Apache-2.0
"""Names beside the marks of a scatter plot, so that none lies on another."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from fireforge.report.markup import Markup, tag

LETTER_PX, HEIGHT_PX = 6.2, 12.5  # of a character of a name, and of its line
GAPS_PX = (3.0, 8.0, 16.0, 28.0, 42.0, 60.0, 80.0, 105.0, 135.0, 170.0)  # between a mark and its name
CROWD_PX = 80.0  # marks nearer than this are in each other's way
LED_PX = 16.0  # from this gap on a line leads from the mark to its name
TURNS = 16  # directions
CORE_PX = 6.0  # of a mark's middle, at most, which no name may cover
STEPS = 12  # places of a line that are looked at
COVER = 0.04  # what a covered square unit of a disc costs, in units of a gap

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A mark that has a name.

    Args:
      x: its middle, in units of the viewBox.
      y: likewise, downward.
      radius: of the mark.
      text: its name.
    """

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Label:
    """Where a name stands.

    Args:
      spot: whose.
      box: that it fills.
      led: whether a line leads to it.
    """

    spot: Spot
    box: Box
    led: bool


def place(spots: Sequence[Spot], *, within: Box) -> tuple[Label, ...]:
    """Places for names: each as near to its mark as the others leave room, the most crowded marks first.

    Args:
      spots: all marks of the plot.
      within: no name leaves this box.

    Returns:
      Labels in the order of the spots, whose boxes overlap neither one another nor the middle of a mark. No line to a
      name goes through another name as long as there is room; a name for which there is none is not among them.
    """
    near = [sum(math.hypot(a.x - b.x, a.y - b.y) < CROWD_PX for b in spots) for a in spots]
    order = sorted(range(len(spots)), key=lambda i: (-near[i], i))
    found: dict[int, Label] = {}
    for strict in (True, False):
        for index in order:
            if index in found:
                continue
            label = _best(spots[index], spots, found.values(), within=within, strict=strict)
            if label is not None:
                found[index] = label
    return tuple(found[index] for index in sorted(found))


def labels(placed: Sequence[Label]) -> Markup:
    """Names where `place` put them, with their lines; class "name" and "leader" in the page's style."""
    lines = [
        tag("line", class_="leader", x1=label.spot.x, y1=label.spot.y, x2=x, y2=y)
        for label in placed
        if label.led
        for x, y in [_nearest(label)]
    ]
    texts = [tag("text", label.spot.text, class_="name", x=label.box[0] + 1, y=label.box[3] - 3) for label in placed]
    return tag("g", lines, texts)


def _choices(spot: Spot) -> Iterator[tuple[float, Box]]:
    """Boxes around a mark from near to far, at its right first."""
    wide = LETTER_PX * len(spot.text) + 2
    for gap in GAPS_PX:
        reach = spot.radius + gap
        for turn in sorted(range(TURNS), key=lambda turn: min(turn, TURNS - turn)):
            angle = 2 * math.pi * turn / TURNS
            x = spot.x + math.cos(angle) * (reach + wide / 2)
            y = spot.y + math.sin(angle) * (reach + HEIGHT_PX / 2)
            yield gap, (x - wide / 2, y - HEIGHT_PX / 2, x + wide / 2, y + HEIGHT_PX / 2)


def _best(spot: Spot, spots: Sequence[Spot], placed: Collection[Label], *, within: Box, strict: bool) -> Label | None:
    """The free place of a name that is nearest to its mark and covers least of the discs; None for no room."""
    best: tuple[float, Label] | None = None
    for gap, box in _choices(spot):
        if best is not None and gap >= best[0]:
            break
        label = Label(spot=spot, box=box, led=gap >= LED_PX)
        if not _inside(box, within) or not _free(label, spots, placed, strict=strict):
            continue
        cost = gap + COVER * sum(_shared(box, _around(other, math.inf)) for other in spots)
        if best is None or cost < best[0]:
            best = (cost, label)
    return best[1] if best else None


def _free(label: Label, spots: Sequence[Spot], placed: Collection[Label], *, strict: bool) -> bool:
    """Whether a label covers no other one and no mark's middle; if strict, also that no line goes through a label."""
    if any(_shared(label.box, _around(spot, CORE_PX)) > 0 for spot in spots):
        return False
    if any(_shared(label.box, other.box) > 0 for other in placed):
        return False
    return not strict or not any(_crosses(label, other.box) or _crosses(other, label.box) for other in placed)


def _crosses(label: Label, box: Box) -> bool:
    """Whether the line to a label goes through a box, judged at STEPS places on it."""
    if not label.led:
        return False
    (x, y), spot = _nearest(label), label.spot
    shares = [step / STEPS for step in range(STEPS + 1)]
    return any(
        box[0] < spot.x + share * (x - spot.x) < box[2] and box[1] < spot.y + share * (y - spot.y) < box[3]
        for share in shares
    )


def _around(spot: Spot, most: float) -> Box:
    radius = min(spot.radius, most)
    return spot.x - radius, spot.y - radius, spot.x + radius, spot.y + radius


def _inside(box: Box, within: Box) -> bool:
    return box[0] >= within[0] and box[1] >= within[1] and box[2] <= within[2] and box[3] <= within[3]


def _shared(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _nearest(label: Label) -> tuple[float, float]:
    """The point of a label's box that is nearest to its mark."""
    left, top, right, bottom = label.box
    return min(max(label.spot.x, left), right), min(max(label.spot.y, top), bottom)
