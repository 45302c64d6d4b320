# SPDX-License-Identifier: Apache-2.0
"""Which column of a list names the pictures, which the class and which the part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import SUFFIXES
from fireforge.base.value import Json
from fireforge.data.formats.folder import PART_NAMES
from fireforge.data.outputs import LABEL, LABELS, Output, output_of_cells, output_of_columns
from fireforge.data.table_file import Table

PATH_NAMES = (
    *("file", "filename", "file_name", "path", "filepath", "file_path", "image", "image_path", "image_file"),
    *("imagepath", "img", "img_path", "picture", "photo", "image_name", "imagename", "image_id", "id", "name", "url"),
)
LABEL_NAMES = (
    *("label", "class", "class_name", "classname", "label_name", "category", "category_name", "target", "species"),
    *("breed", "synset", "diagnosis", "dx", "labels", "classes", "tags", "tag", "answer", "truth", "ground_truth", "y"),
    *("class_id", "classid", "class_index", "label_id", "category_id", "target_id"),
)
PART_COLUMNS = ("split", "part", "subset", "set", "partition", "fold", "usage")
TRUTHS = {
    "-1": False,
    "0": False,
    "0.0": False,
    "false": False,
    "no": False,
    "1": True,
    "1.0": True,
    "true": True,
    "yes": True,
}
SAMPLED = 200  # rows that the column of pictures is told by
ENOUGH = 0.5  # share of those that must name a picture


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a list that are used.

    Args:
      path: the one that names pictures.
      label: the one with the class; "" where `marks` are used.
      marks: columns of 0 and 1, one for each class, of which each row sets exactly one.
      part: the one with train, val or test; "" where there is none.
    """

    path: str
    label: str = ""
    marks: tuple[str, ...] = ()
    part: str = ""


def path_column(table: Table, tests: Sequence[Callable[[str], str]]) -> str:
    """The column that names pictures, told by its content.

    Args:
      table: the list.
      tests: ways to find the picture that a text names, "" for none; a later, dearer one is asked only where those
        before it find no column.

    Returns:
      The column with the most texts that name a picture that is there; otherwise one whose texts end like pictures;
      otherwise "".
    """
    rows = table.rows[:: max(1, len(table.rows) // SAMPLED)]
    texts = {}
    for index, name in enumerate(table.columns):
        found = [text_of(row[index]) for row in rows if row[index] != ""]
        if name.lower() in PATH_NAMES or not all(text.isdecimal() for text in found):  # an epoch is no picture 1.png
            texts[name] = found
    for test in (*tests, _shaped):
        hits = {name: sum(bool(test(text)) for text in found) for name, found in texts.items()}
        best = max(hits, key=lambda name: (hits[name], name.lower() in PATH_NAMES), default="")
        if best and hits[best] >= ENOUGH * len(rows):
            return best
    return ""


def answer_columns(table: Table, path: str) -> tuple[Columns, Output]:
    """The columns of class and part of a list whose column of pictures is known.

    Args:
      table: the list.
      path: the column that names pictures.

    Returns:
      The columns, and what the answers are; the columns serve only where that is one label.

    Raises:
      FireforgeError: BAD_TABLE where no column, or more than one, could be the class.
    """
    others = [name for name in table.columns if name != path]
    output = output_of_columns(others, {name: table.column(name) for name in others})
    if output.kind != LABEL:
        return Columns(path=path), output
    part = _part_column(table, others)
    others = [name for name in others if name != part]
    label = _label_column(table, others)
    marks = () if label else _marks(table, others)
    columns = Columns(path=path, label=label, marks=marks, part=part)
    if label:
        return columns, output_of_cells(label, table.column(label))
    if not marks:
        raise _no_label(table, path)
    return columns, _output_of_marks(table, marks)


def text_of(cell: Json) -> str:
    """A cell as text: 3.0 and "3.0" are "3", and a list of one is its item; "" for other lists and objects."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    if isinstance(cell, list):
        return text_of(cell[0]) if len(cell) == 1 else ""
    if isinstance(cell, dict):
        return ""
    text = str(cell)
    return text[:-2] if text.endswith(".0") and text[:-2].removeprefix("-").isdecimal() else text


def _shaped(text: str) -> str:
    return text if text.lower().endswith(SUFFIXES) else ""


def _label_column(table: Table, names: list[str]) -> str:
    """By its name; otherwise the only one left; otherwise the only one whose texts recur."""
    lower = {name.lower().replace(" ", "_"): name for name in reversed(names)}
    known = [lower[name] for name in LABEL_NAMES if name in lower]
    known = [name for name in known if any(cell != "" for cell in table.column(name))]
    if known:
        return known[0]
    if len(names) == 1:
        return names[0]
    recurring = [name for name in names if _recurs(table.column(name))]
    return recurring[0] if len(recurring) == 1 else ""


def _recurs(cells: list[Json]) -> bool:
    texts = [text_of(cell) for cell in cells if cell != ""]
    words = [text for text in texts if not text.lstrip("-").replace(".", "", 1).isdecimal()]
    return len(words) * 2 > len(texts) > 0 and 1 < len(set(texts)) <= len(texts) / 2


def _part_column(table: Table, names: list[str]) -> str:
    lower = {name.lower(): name for name in reversed(names)}
    for name in PART_COLUMNS:
        if name in lower:
            values = {text_of(cell).lower() for cell in table.column(lower[name])}
            if values & set(PART_NAMES):
                return lower[name]
    return ""


def _marks(table: Table, names: list[str]) -> tuple[str, ...]:
    """Columns that hold 0 and 1 alone, at least two of them."""
    found = tuple(name for name in names if all(text_of(cell).lower() in TRUTHS for cell in table.column(name)))
    return found if len(found) > 1 and table.rows else ()


def _output_of_marks(table: Table, marks: tuple[str, ...]) -> Output:
    indices = [table.columns.index(name) for name in marks]
    several = sum(len(set_marks(row, indices)) != 1 for row in table.rows)
    if several:
        names = ", ".join(marks[:3]) + (", ..." if len(marks) > 3 else "")
        return Output(LABELS, f"columns of 0 and 1 ({names}), and {several:,} rows that do not set exactly one")
    return Output()


def set_marks(row: Sequence[Json], indices: Sequence[int]) -> list[int]:
    """Which of the columns of 0 and 1 a row sets."""
    return [index for index in indices if TRUTHS[text_of(row[index]).lower()]]


def _no_label(table: Table, path: str) -> FireforgeError:
    names = ", ".join(repr(name) for name in table.columns if name != path) or "none"
    return FireforgeError(
        "BAD_TABLE",
        f"no column that is clearly the class beside {path!r}; the others: {names[:200]}",
        where=table.where,
        allowed="a column called label, class or category",
        do="rename the column with the class to label",
    )
