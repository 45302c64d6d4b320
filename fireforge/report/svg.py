# SPDX-License-Identifier: Apache-2.0
"""Plots as inline SVG: axes, lines, dots, bars; colours come from the page's style, text from currentColor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fireforge.report.markup import Markup, tag
from fireforge.report.ticks import Axis

LETTER_PX = 6.6  # a character's mean width at the plots' font size


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A plot's area: sizes in the units of its viewBox, and its two axes.

    Args:
      x: from left to right.
      y: from bottom to top.
      width: of the whole picture.
      height: of the whole picture.
      left: margin for the y axis.
      right: margin.
      top: margin.
      bottom: margin for the x axis.
    """

    x: Axis
    y: Axis
    width: int = 460
    height: int = 280
    left: int = 58
    right: int = 14
    top: int = 26
    bottom: int = 46

    def px(self, value: float) -> float:
        """Horizontal place of a value of x."""
        return self.left + self.x.at(value) * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        """Vertical place of a value of y."""
        return self.height - self.bottom - self.y.at(value) * (self.height - self.top - self.bottom)


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A mark of a scatter plot.

    Args:
      x: value on the x axis.
      y: value on the y axis.
      tip: shown when the pointer rests on it.
      style: class of the mark in the page's style.
      radius: in units of the viewBox.
      shape: of SHAPES; all have about the area of the circle.
    """

    x: float
    y: float
    tip: str
    style: str = "dot"
    radius: float = 5.0
    shape: str = "circle"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One row of a bar chart.

    Args:
      label: at its left.
      parts: (value, class, tip) of segments laid end to end.
      note: at its right.
    """

    label: str
    parts: tuple[tuple[float, str, str], ...]
    note: str = ""


def chart(frame: Frame, *marks: Markup, title: str) -> Markup:
    """Axes with grid and marks on them.

    Args:
      frame: sizes and axes.
      *marks: what `line`, `dots` and `steps` made.
      title: what a screen reader says.

    Returns:
      The svg element.
    """
    bottom, right = frame.height - frame.bottom, frame.width - frame.right
    grid: list[Markup] = []
    for tick in frame.y.ticks:
        y = frame.py(tick)
        grid.append(tag("line", class_="grid", x1=frame.left, x2=right, y1=y, y2=y))
        grid.append(tag("text", frame.y.show(tick), class_="tick", x=frame.left - 8, y=y + 4, text_anchor="end"))
    for tick in _sparse(frame):
        x = frame.px(tick)
        grid.append(tag("line", class_="grid", x1=x, x2=x, y1=bottom, y2=bottom + 4))
        grid.append(tag("text", frame.x.show(tick), class_="tick", x=x, y=bottom + 18, text_anchor="middle"))
    middle = (frame.left + right) / 2
    names = [
        tag("text", frame.y.label, class_="axis", x=0, y=12),
        tag("text", frame.x.label, class_="axis", x=middle, y=frame.height - 6, text_anchor="middle"),
    ]
    return svg(frame.width, frame.height, *grid, *names, *marks, title=title)


def svg(width: float, height: float, *children: Markup, title: str) -> Markup:
    """A picture that scales with its column.

    Args:
      width: of the viewBox.
      height: of the viewBox.
      *children: its elements.
      title: what a screen reader says.

    Returns:
      The svg element.
    """
    box = f"0 0 {width:g} {height:g}"
    return tag(
        "svg", tag("title", title), *children, viewBox=box, role="img", aria_label=title, style=f"max-width:{width:g}px"
    )


def line(
    frame: Frame,
    points: Sequence[tuple[float, float]],
    *,
    style: str,
    tip: str = "",
    words: Callable[[float], str] | None = None,
) -> Markup:
    """Values joined by straight lines, each with a small mark that tells its numbers.

    Args:
      frame: the plot.
      points: (x, y) in order.
      style: class of the line.
      tip: the series' name in the marks' tooltips.
      words: a y in the tooltips; None for the axis' words.

    Returns:
      A group.
    """
    path = " ".join(f"{frame.px(x):.1f},{frame.py(y):.1f}" for x, y in points)
    told = words or frame.y.show
    marks = [
        tag("circle", _tip(f"{tip} {frame.x.show(x)}: {told(y)}"), cx=frame.px(x), cy=frame.py(y), r=2.2)
        for x, y in points
    ]
    return tag("g", tag("polyline", points=path, fill="none"), *marks, class_=f"line {style}")


def steps(frame: Frame, points: Sequence[tuple[float, float]], *, style: str) -> Markup:
    """A staircase that holds each y until the next x: the outline of a Pareto front.

    Args:
      frame: the plot.
      points: (x, y), ascending x.
      style: class of the line.

    Returns:
      A polyline from the first point to the right edge.
    """
    corners: list[str] = []
    for index, (x, y) in enumerate(points):
        if index:
            corners.append(f"{frame.px(x):.1f},{frame.py(points[index - 1][1]):.1f}")
        corners.append(f"{frame.px(x):.1f},{frame.py(y):.1f}")
    if points:
        corners.append(f"{frame.width - frame.right:.1f},{frame.py(points[-1][1]):.1f}")
    return tag("polyline", points=" ".join(corners), fill="none", class_=style)


def dots(frame: Frame, marks: Sequence[Dot]) -> Markup:
    """A scatter's marks, in the order given; later ones lie on top.

    Args:
      frame: the plot.
      marks: each with its own class, size and tooltip.

    Returns:
      A group.
    """
    return tag("g", *(_mark(frame, mark) for mark in marks))


def rug(frame: Frame, values: Sequence[float], *, style: str) -> Markup:
    """Short strokes above the x axis: values that have no y.

    Args:
      frame: the plot.
      values: on the x axis.
      style: class of the strokes.

    Returns:
      A path.
    """
    bottom = frame.height - frame.bottom
    strokes = "".join(f"M{frame.px(value):.1f} {bottom - 1}v-7" for value in values)
    return tag("path", d=strokes, class_=style)


def bars(rows: Sequence[Bar], *, title: str, width: int = 460, full: float = 0.0, longest: int = 22) -> Markup:
    """Horizontal bars, one row each.

    Args:
      rows: from top to bottom.
      title: what a screen reader says.
      width: of the viewBox.
      full: the value of a full bar; 0 for the greatest row's.
      longest: characters of a label, of which the rest is left out.

    Returns:
      The svg element.
    """
    pitch, thick = 24, 14
    left = 12 + LETTER_PX * min(longest, max((len(row.label) for row in rows), default=0))
    right = 12 + LETTER_PX * max((len(row.note) for row in rows), default=0)
    full = full or max((sum(part[0] for part in row.parts) for row in rows), default=0.0) or 1.0
    marks: list[Markup] = []
    for index, row in enumerate(rows):
        y, x = index * pitch + (pitch - thick) / 2, left
        marks.append(tag("text", _short(row.label, longest), class_="tick", x=left - 8, y=y + 11, text_anchor="end"))
        for value, style, tip in row.parts:
            length = max(0.0, value) / full * (width - left - right)
            marks.append(tag("rect", _tip(tip), class_=style, x=x, y=y, width=length, height=thick, rx=2))
            x += length
        marks.append(tag("text", row.note, class_="tick", x=x + 8, y=y + 11))
    return svg(width, max(1, len(rows)) * pitch, *marks, title=title)


# shape -> its corners, for a radius of 1; none for a circle
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "circle": (),
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0.0, -1.3), (1.15, 0.8), (-1.15, 0.8)),
    "diamond": ((0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)),
}


def sample(shape: str) -> Markup:
    """A mark alone, as a legend shows it."""
    mark = _shape(shape, (7.0, 7.0), 5.0, style="dot plain")
    return tag("svg", mark, viewBox="0 0 14 14", class_="sample", aria_hidden="true")


def _mark(frame: Frame, mark: Dot) -> Markup:
    return _shape(mark.shape, (frame.px(mark.x), frame.py(mark.y)), mark.radius, style=mark.style, tip=mark.tip)


def _shape(shape: str, middle: tuple[float, float], radius: float, *, style: str, tip: str = "") -> Markup:
    x, y = middle
    title = _tip(tip) if tip else None
    if not SHAPES[shape]:
        return tag("circle", title, class_=style, cx=x, cy=y, r=radius)
    corners = " ".join(f"{x + radius * across:.1f},{y + radius * down:.1f}" for across, down in SHAPES[shape])
    return tag("polygon", title, class_=style, points=corners)


def _sparse(frame: Frame) -> list[float]:
    """Ticks of x whose words do not run into each other."""
    kept: list[float] = []
    edge = -1e9
    for tick in frame.x.ticks:
        half = len(frame.x.show(tick)) * LETTER_PX / 2
        if frame.px(tick) - half >= edge + 10:
            kept.append(tick)
            edge = frame.px(tick) + half
    return kept


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _tip(text: str) -> Markup:
    return tag("title", text)
