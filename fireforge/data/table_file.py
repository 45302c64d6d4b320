# SPDX-License-Identifier: Apache-2.0
"""Rows and columns of a text file: CSV with any usual delimiter, or JSON lines; errors say the line."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import SUFFIXES
from fireforge.base.value import Json

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
DELIMITERS = (",", ";", "\t", "|")
MAX_LINE_BYTES = 1 << 20
MAX_COLUMNS = 10_000
SAMPLED = 50  # records that a delimiter is judged by
ALLOWED = "CSV in UTF-8 with commas, semicolons, tabs or |, a header first; or one JSON object a line"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A text file's rows.

    Args:
      where: the file, for messages.
      columns: unique names; "column 1" and so on where the file has no header.
      lines: for each row the line at which it begins, from 1.
      rows: for each row a cell a column; "" for an absent one.
    """

    where: str
    columns: tuple[str, ...]
    lines: tuple[int, ...]
    rows: tuple[tuple[Json, ...], ...]

    def column(self, name: str) -> list[Json]:
        """The cells of one column, a row each."""
        index = self.columns.index(name)
        return [row[index] for row in self.rows]

    def at(self, row: int) -> str:
        """The place of a row for messages: file and line."""
        return f"{self.where} line {self.lines[row]}"


def read_table(data: bytes, *, where: str) -> Table:
    """The rows of a file.

    Args:
      data: its bytes; UTF-8 with or without a byte order mark, or UTF-16 with one; any line ends.
      where: its name; ".jsonl" and ".ndjson" mean JSON lines, ".tsv" means tabs.

    Returns:
      The table; cells of CSV are text without space around it.

    Raises:
      FireforgeError: BAD_TABLE, naming the line.
    """
    _check_lines(data, where)
    text = _decode(data, where)
    if where.lower().endswith((".jsonl", ".ndjson")):
        return _read_json_lines(text, where)
    return _read_csv(text, where)


def _check_lines(data: bytes, where: str) -> None:
    start, number = 0, 1
    while True:
        end = data.find(b"\n", start)
        if (len(data) if end < 0 else end) - start > MAX_LINE_BYTES:
            last = data.find(b"\r", start, start + MAX_LINE_BYTES)
            if last < 0:
                raise _bad(f"{where} line {number}", "a line of more than 1 MiB")
            end = last
        if end < 0:
            return
        start, number = end + 1, number + 1


def _decode(data: bytes, where: str) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _bad(f"{where} line {line}", "a byte that is not UTF-8", do="save it as CSV UTF-8") from error
    nul = text.find("\0")
    if nul >= 0:
        raise _bad(f"{where} line {text.count(chr(10), 0, nul) + 1}", "a zero byte: this is no text")
    if not text.strip():
        raise _bad(where, "the file is empty")
    return text


def _read_csv(text: str, where: str) -> Table:
    delimiter = "\t" if where.lower().endswith(".tsv") else _delimiter(text)
    if not delimiter and all(line.strip().lower().endswith(SUFFIXES) for line in text.split("\n")[1:] if line.strip()):
        delimiter = ","  # pictures without classes, one a line
    if not delimiter:
        raise _bad(f"{where} line 1", f"one column only: {text.lstrip()[:60]!r}")
    records = _records(text, delimiter, where)
    if not records:
        raise _bad(f"{where} line 1", "no row that says anything")
    line, head = records[0]
    if any(cell.lower().endswith(SUFFIXES) for cell in head):  # no header: the first row names a picture already
        columns = tuple(f"column {index + 1}" for index in range(len(head)))
    else:
        columns = _columns(head, f"{where} line {line}")
        records = records[1:]
    same: dict[str, str] = {}
    lines, rows = [], []
    for line, cells in records:
        if any(cells[len(columns) :]) or len(cells) < len(columns):
            raise _bad(f"{where} line {line}", f"{len(cells)} cells under {len(columns)} columns")
        lines.append(line)
        rows.append(tuple(same.setdefault(cell, cell) for cell in cells[: len(columns)]))
    return Table(where=where, columns=columns, lines=tuple(lines), rows=tuple(rows))


def _records(text: str, delimiter: str, where: str) -> list[tuple[int, list[str]]]:
    """Line at which it begins and cells of every record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    found, line = [], 1
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                found.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _bad(f"{where} line {line}", f"{_reason(error)} in the row that begins here") from error
    return found


def _reason(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quote that is never closed"
    if "field limit" in str(error):
        return "a cell of more than 131,072 letters, or a quote that is never closed,"
    return f"a quote out of place ({error})"


def _delimiter(text: str) -> str:
    """The delimiter that cuts the first records into the most columns, equally many in each; "" if none does."""
    best, chosen, head = (0.0, 0.0), "", text[:MAX_LINE_BYTES]
    for delimiter in DELIMITERS:
        widths = _widths(head, delimiter)
        if widths and widths[0] > 1:
            equal = sum(width == widths[0] for width in widths) / len(widths)
            score = (float(equal > 0.5), equal * widths[0])
            if score > best:
                best, chosen = score, delimiter
    return chosen


def _widths(text: str, delimiter: str) -> list[int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return [len(cells) for cells in itertools.islice(reader, SAMPLED) if any(cells)]
    except csv.Error:  # `_records` meets it again and says where
        return [text.partition("\n")[0].count(delimiter) + 1]


def _columns(head: Iterable[str], where: str) -> tuple[str, ...]:
    columns = tuple(cell or f"column {index + 1}" for index, cell in enumerate(head))
    if len(columns) > MAX_COLUMNS:
        raise _bad(where, f"{len(columns)} columns", allowed=f"up to {MAX_COLUMNS:,}")
    name, count = Counter(columns).most_common(1)[0]
    if count > 1:
        raise _bad(where, f"{count} columns called {name!r}")
    return columns


def _read_json_lines(text: str, where: str) -> Table:
    objects: list[tuple[int, dict[str, Json]]] = []
    columns: dict[str, None] = {}
    for line, piece in enumerate(text.split("\n"), 1):
        if piece.strip():
            item = _object(piece, f"{where} line {line}")
            objects.append((line, item))
            columns.update(dict.fromkeys(item))
            if len(columns) > MAX_COLUMNS:
                raise _bad(f"{where} line {line}", f"{len(columns)} columns", allowed=f"up to {MAX_COLUMNS:,}")
    names = tuple(columns)
    rows = tuple(tuple(_cell(item.get(name)) for name in names) for _, item in objects)
    return Table(where=where, columns=names, lines=tuple(line for line, _ in objects), rows=rows)


def _object(text: str, where: str) -> dict[str, Json]:
    try:
        item = json.loads(text, object_pairs_hook=_unique)
        json.dumps(item, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise _bad(where, f"not JSON: {error}") from error
    if not isinstance(item, dict):
        raise _bad(where, f"JSON, but no object: {text.strip()[:40]!r}")
    return item


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _cell(value: Json) -> Json:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else value


def _bad(where: str, what: str, *, allowed: str = ALLOWED, do: str = "") -> FireforgeError:
    return FireforgeError("BAD_TABLE", what, where=where, allowed=allowed, do=do)
