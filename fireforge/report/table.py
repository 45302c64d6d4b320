# SPDX-License-Identifier: Apache-2.0
"""Tables as text: aligned for a terminal, or as Markdown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

Cell = str | int | float | None
NUMBER = re.compile(r"[-+−]?\d")  # how a cell that is aligned to the right begins


def text_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Lines of equal columns, two spaces apart; columns of numbers are aligned to the right.

    Args:
      header: a title for each column.
      rows: a cell for each column; whole numbers get commas, other numbers four digits, None a dash.

    Returns:
      The header, a rule, and a line for each row, none with space at its end.
    """
    cells = [[_words(cell) for cell in row] for row in rows]
    right = _right(header, cells)
    widths = [max(width(line[index]) for line in (header, *cells)) for index in range(len(header))]
    lines = [_line(header, widths, right), "  ".join("-" * size for size in widths)]
    return lines + [_line(row, widths, right) for row in cells]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Lines of a Markdown table; columns of numbers are aligned to the right.

    Args:
      header: a title for each column.
      rows: a cell for each column, as for `text_table`; what would be read as markup is escaped.

    Returns:
      The lines.
    """
    cells = [[_words(cell) for cell in row] for row in rows]
    rule = ["---:" if right else "---" for right in _right(header, cells)]
    escaped = [[markdown_escape(cell) for cell in row] for row in (header, *cells)]
    return [f"| {' | '.join(row)} |" for row in (escaped[0], rule, *escaped[1:])]


def markdown_escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    escaped = re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", _plain(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def width(text: str) -> int:
    """Columns that a terminal gives a text: two for wide characters, none for combining ones."""
    total = 0
    for letter in text:
        if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
            continue
        total += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return total


def _words(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.4g}" if isinstance(cell, float) else _plain(cell)


def _plain(text: str) -> str:
    """One line without control characters, which could move a terminal's cursor."""
    return "".join(" " if letter.isspace() else letter if letter.isprintable() else "\ufffd" for letter in text)


def _right(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[bool]:
    columns = [[row[index] for row in rows] for index in range(len(header))]
    return [bool(column) and all(cell == "–" or bool(NUMBER.match(cell)) for cell in column) for column in columns]


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = []
    for cell, size, to_right in zip(cells, widths, right):
        space = " " * (size - width(cell))
        parts.append(space + cell if to_right else cell + space)
    return "  ".join(parts).rstrip()
