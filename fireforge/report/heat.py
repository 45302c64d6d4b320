# SPDX-License-Identifier: Apache-2.0
"""A confusion matrix as a heat map."""

from __future__ import annotations

from collections.abc import Sequence

from fireforge.report.markup import Markup, tag
from fireforge.report.svg import LETTER_PX, svg

MOST_CLASSES = 40  # more would be smaller than a fingertip; the page lists the worst pairs in its place
MOST_COUNTED = 16  # up to here the counts fit into the cells


def heat(table: Sequence[Sequence[int]], labels: Sequence[str]) -> Markup:
    """Counts by true class (rows) and answered class (columns); right answers in one colour, wrong ones in another.

    Args:
      table: K rows of K counts; a cell is as dark as its share of its row.
      labels: K names; at most MOST_CLASSES.

    Returns:
      The svg element.
    """
    count = len(labels)
    cell = 36 if count <= 10 else 26 if count <= MOST_COUNTED else 14
    names = [label if len(label) <= 14 else label[:13] + "…" for label in labels]
    longest = LETTER_PX * max((len(name) for name in names), default=1) + 14
    left, top = 22 + longest, 22 + (longest if count > 10 or longest > cell + 10 else 20)
    upright = top <= 44
    marks: list[Markup] = [
        tag("text", "answer →", class_="axis", x=left, y=12),
        tag("text", "truth ↓", class_="axis", x=0, y=top - 6),
    ]
    for index, name in enumerate(names):
        middle = index * cell + cell / 2
        marks.append(tag("text", name, class_="tick", x=left - 8, y=top + middle + 4, text_anchor="end"))
        turn = None if upright else f"rotate(-90 {left + middle + 4:.1f} {top - 8:.1f})"
        anchor = "middle" if upright else "start"
        at = left + middle + (0 if upright else 4)
        marks.append(tag("text", name, class_="tick", x=at, y=top - 8, text_anchor=anchor, transform=turn))
    for row, counts in enumerate(table):
        total = sum(counts) or 1
        for column, number in enumerate(counts):
            spot = (left + column * cell, top + row * cell)
            tip = f"{labels[row]} answered as {labels[column]}: {number:,} of {total:,}"
            marks.append(_cell(number / total, spot, cell, tip, row == column))
            if number and count <= MOST_COUNTED:
                style = "count strong" if number / total > 0.45 else "count"
                marks.append(
                    tag(
                        "text",
                        number,
                        class_=style,
                        x=spot[0] + cell / 2,
                        y=spot[1] + cell / 2 + 4,
                        text_anchor="middle",
                    )
                )
    return svg(left + count * cell + 4, top + count * cell + 4, *marks, title="Confusion matrix")


def _cell(share: float, spot: tuple[float, float], cell: int, tip: str, right: bool) -> Markup:
    """A square; the root lifts small shares so that single mistakes are seen."""
    style = "empty" if share == 0 else "right" if right else "wrong"
    strength = None if share == 0 else max(0.18, share**0.5)
    return tag(
        "rect",
        tag("title", tip) if share else None,
        class_=style,
        x=spot[0] + 1,
        y=spot[1] + 1,
        width=cell - 2,
        height=cell - 2,
        rx=3,
        fill_opacity=strength,
    )
