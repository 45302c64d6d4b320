# SPDX-License-Identifier: Apache-2.0
"""The pieces that the page's sections are put together from."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Sequence

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import decode
from fireforge.report.markup import Markup, join, tag

TINY_PX = 64  # pictures up to this side are shown with their pixels as squares
MOST_PIXELS = 1_000_000  # of a picture in the record; build writes 96 x 96
KEPT_BYTES = 6_000  # PNG files up to this size stay PNG


def section(name: str, title: str, *children: object, lead: str = "") -> Markup:
    """A section with its heading.

    Args:
      name: its anchor.
      title: its heading.
      *children: its content.
      lead: one sentence below the heading.

    Returns:
      The section.
    """
    return tag("section", tag("h2", title), tag("p", lead, class_="lead") if lead else None, *children, id=name)


def missing(what: str) -> Markup:
    """A line that says plainly what the record lacks."""
    return tag("p", what, class_="missing")


def name(text: object) -> Markup:
    """A name from outside, shielded so that its direction of writing does not turn the words around it."""
    return tag("bdi", text)


def number(value: float | None, words: str) -> Markup | str:
    """A number in words that carries its exact value; plain words for None."""
    return words if value is None else tag("data", words, value=repr(value))


def badge(words: object, good: bool | None) -> Markup:
    """A small verdict: met, broken, or neutral for None."""
    style = "badge" if good is None else "badge good" if good else "badge bad"
    mark = "" if good is None else "✓ " if good else "✗ "
    return tag("span", mark, words, class_=style)


def tile(label: str, value: object, note: object = "") -> Markup:
    """A large number with its name above and a remark below."""
    return tag(
        "div",
        tag("div", label, class_="name"),
        tag("div", value, class_="value"),
        tag("div", note, class_="note") if note else None,
        class_="tile",
    )


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    words: Collection[int] = (0,),
    marked: Collection[int] = (),
    tall: bool = False,
) -> Markup:
    """A table whose columns are numbers, aligned to the right, unless they are named as words.

    Args:
      header: a title for each column.
      rows: cells; text or Markup.
      words: columns of words, aligned to the left.
      marked: rows to stress.
      tall: scrolls inside the page where it is long.

    Returns:
      The table in a box that scrolls sideways on narrow screens.
    """
    head = [tag("th", title, scope="col", class_=_side(index, words)) for index, title in enumerate(header)]
    body = [
        tag(
            "tr",
            [tag("td", cell, class_=_side(index, words)) for index, cell in enumerate(row)],
            class_="marked" if line in marked else None,
        )
        for line, row in enumerate(rows)
    ]
    style = "broad" if len(header) > 5 or (len(header) == 5 and len(words) > 1) else None
    inside = tag("table", tag("thead", tag("tr", head)), tag("tbody", body), class_=style)
    return tag("div", inside, class_="scroll tall" if tall and len(rows) > 15 else "scroll")


def pairs(rows: Sequence[tuple[str, object]]) -> Markup:
    """A list of names and values; pairs whose value is empty are left out."""
    return tag("dl", [join((tag("dt", key), tag("dd", value))) for key, value in rows if value not in ("", None)])


def figure(drawing: Markup, caption: object, *, wide: bool = False) -> Markup:
    """A plot with its caption; a wide one scrolls sideways on narrow screens."""
    below = tag("figcaption", caption) if caption else None
    return tag("figure", tag("div", drawing, class_="plot wide" if wide else "plot"), below)


def legend(items: Sequence[tuple[str, str]]) -> Markup:
    """Colours and what they stand for, as (class, words)."""
    swatch = [tag("span", tag("i", class_=f"key {style}"), words) for style, words in items]
    return tag("span", swatch, class_="legend")


def meter(share: float) -> Markup:
    """A share in [0, 1] as a small bar."""
    filled = tag("span", style=f"width:{100 * min(max(share, 0.0), 1.0):.1f}%")
    return tag("span", filled, class_="meter", aria_hidden="true")


def pile(*children: object) -> Markup:
    """Pieces one below the other."""
    return tag("div", *children)


def columns(*children: object) -> Markup:
    """Pieces side by side where the screen is wide enough."""
    return tag("div", [tag("div", child) for child in children], class_="columns")


def code(text: str, title: str) -> Markup:
    """A listing with its heading."""
    return tag("div", tag("h3", title), tag("pre", tag("code", text)), class_="listing")


def picture(png: str, caption: object, *, title: str = "") -> Markup:
    """A picture from the record with its caption; a frame with words where it is no PNG.

    Args:
      png: base64 of a PNG file.
      caption: below it.
      title: tooltip.

    Returns:
      A figure; tiny pictures keep their pixels square.
    """
    source = _source(png)
    if source is None:
        shown = tag("div", "no picture", class_="hole")
    else:
        uri, side = source
        style = "tiny" if side <= TINY_PX else None
        shown = tag("img", src=uri, alt=title, class_=style, loading="lazy")
    return tag("figure", shown, tag("figcaption", caption), class_="picture", title=title or None)


def gallery(pictures: Sequence[Markup]) -> Markup:
    """Pictures in rows."""
    return tag("div", list(pictures), class_="gallery")


def _side(index: int, words: Collection[int]) -> str | None:
    return None if index in words else "num"


def _source(png: str) -> tuple[str, int] | None:
    """A data URI and the picture's greater side; None for what is no base64 of a whole PNG.

    Small files stay as they are, bit for bit; larger ones, which are photos, become JPEG so that the page stays light.
    """
    try:
        data = base64.b64decode(png, validate=True)
        image = decode(data, where="record", max_pixels=MOST_PIXELS)
    except (ValueError, FireforgeError):
        return None
    if image.format != "PNG":
        return None
    if len(data) <= KEPT_BYTES:
        return f"data:image/png;base64,{png}", max(image.size)
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}", max(image.size)
