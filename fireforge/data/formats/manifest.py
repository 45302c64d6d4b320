# SPDX-License-Identifier: Apache-2.0
"""A list of pictures and their classes: CSV, TSV or JSON lines, alone or in the folder of the pictures."""

from __future__ import annotations

import functools
import os
import posixpath
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Sample, Skipped
from fireforge.data.columns import Columns, answer_columns, path_column, set_marks, text_of
from fireforge.data.dataset import Dataset, check_classes
from fireforge.data.formats.classfile import MOST_LETTERS, class_names
from fireforge.data.formats.folder import PART_NAMES, natural
from fireforge.data.formats.format import Format
from fireforge.data.outputs import LABEL, LABELS, Output, boxes_beside, is_coco, refusal
from fireforge.data.pictures import Pictures, stamp
from fireforge.data.sidefiles import BOX_FOLDERS, folders_in, part_of, side_names
from fireforge.data.table_file import TABLE_SUFFIXES, Table, read_table
from fireforge.data.tree import FolderTree, Tree, printable

ACCEPTS = "a .csv, .tsv or .jsonl list with a column of pictures and a column of classes, or a folder that holds one"
MOST_LOST = 0.05  # share of rows without a picture, and of pictures with several classes, that is still an accident


@dataclass(frozen=True)
class _Row:
    """One row of a list: file and line, the text and the name of its picture, its class and its part."""

    at: str
    text: str
    name: str
    label: str
    part: str


@dataclass(frozen=True)
class _List:
    """A list whose pictures are found: its table, the columns used and what the answers are."""

    name: str
    table: Table
    pictures: Pictures
    columns: Columns
    output: Output
    part: str


def open_manifest(tree: Tree, name: str = "", *, source: str = "") -> Dataset:
    """The pictures that a list names, in its order.

    A row's picture is a path counted from the list, or its end where that fits one file alone. A picture that is not
    there is skipped; the same row twice is skipped once.

    Args:
      tree: the files.
      name: the list; "" takes those that lie beside the pictures: one for all, or one each for train, val and test.
      source: kept in the dataset; "" is the tree's.

    Returns:
      The dataset; sample names are those of the pictures in the tree.

    Raises:
      FireforgeError: BAD_TABLE, BAD_LABELS, DUP_ROW, TOO_MANY_BAD or OUTPUT_KIND, naming file and line; BAD_LAYOUT; or
        ONE_CLASS.
    """
    lists = _lists(tree, [name] if name else _list_names(side_names(tree)), named=bool(name))
    if not lists:
        boxes = boxes_beside(tree, tree.names())
        if boxes.kind != LABEL:
            raise refusal(boxes, where=tree.source)
        raise FireforgeError("BAD_LAYOUT", "no list names pictures that are there", where=tree.source, allowed=ACCEPTS)
    for item in lists:
        if item.output.kind != LABEL:
            raise refusal(item.output, where=item.table.where)
    rows = [row for item in lists for row in _rows(item, alone=len(lists) == 1)]
    kept, skipped = _usable(rows, tree.source)
    given = class_names(tree, posixpath.dirname(lists[0].name))
    labels, numbers = _numbers(kept, given, tree.source)
    check_classes(labels, where=source or tree.source)
    samples = tuple(
        Sample(id=i, label=number, name=printable(row.name), part=row.part)
        for i, (row, number) in enumerate(zip(kept, numbers))
    )
    return Dataset(
        format="manifest",
        source=source or tree.source,
        labels=labels,
        samples=samples,
        skipped=tuple(skipped),
        reader=functools.partial(_read, tree, tuple((row.name, stamp(tree, row.name)) for row in kept)),
    )


def is_manifest(tree: Tree) -> bool:
    """Whether lists beside the pictures, or annotations of boxes, say what the pictures of a tree are.

    Args:
      tree: the files; no picture is read.

    Returns:
      False where a folder for each class says the same as the list, and where there is no list.
    """
    names = side_names(tree)
    classes = _has_class_folders(tree)
    try:
        lists = _lists(tree, _list_names(names), named=False)
    except FireforgeError:
        return not classes
    if lists:
        return not (classes and all(_agrees(item) for item in lists))
    return not classes and boxes_beside(tree, names).kind != LABEL


def _list_names(names: Sequence[str]) -> list[str]:
    """What may be a list; a sample of a competition's submission is none."""
    return [name for name in names if name.lower().endswith(TABLE_SUFFIXES) and "submission" not in name.lower()]


def _lists(tree: Tree, names: Sequence[str], *, named: bool) -> list[_List]:
    """The lists of pictures and classes among some files; a file that a user named must be one."""
    found: list[_List] = []
    broken: list[FireforgeError] = []
    for name in names:
        try:
            found += _list(tree, name, named=named)
        except FireforgeError as error:
            broken.append(error)
    if broken and not any(item.part == "" for item in found):  # beside a list for all, other tables do not matter
        raise broken[0]
    parts = [item.part for item in found]
    if len(found) > 1 and (len(set(parts)) < len(parts) or "" in parts):
        several = ", ".join(item.name for item in found)
        raise FireforgeError(
            "BAD_LAYOUT",
            f"several lists name pictures: {several}",
            where=tree.source,
            allowed="one list, or one each for train, val and test",
            do="name one of the lists itself",
        )
    return found


def _list(tree: Tree, name: str, *, named: bool) -> list[_List]:
    """A file as a list; nothing where it names no pictures, or no classes, and is not asked to."""
    table = read_table(tree.read(name), where=_full(tree.source, name))
    pictures, part = Pictures(tree, posixpath.dirname(name)), part_of(name)
    path = path_column(table, (pictures.exact, functools.partial(pictures.find, part=part)))
    if path and table.rows and (named or len(table.columns) > 1):
        columns, output = answer_columns(table, path)
        return [_List(name, table, pictures, columns, output, part)]
    if named:
        there = ", ".join(map(repr, table.columns))[:200]
        what = f"no column names pictures that are there: {there}" if table.rows else "no row"
        raise FireforgeError("BAD_TABLE", what, where=table.where, allowed=ACCEPTS)
    return []


def _rows(item: _List, *, alone: bool) -> list[_Row]:
    """Every row of a list; the list's own part counts where it is one of several and has no column for it."""
    table, columns = item.table, item.columns
    path, indices = table.columns.index(columns.path), [table.columns.index(name) for name in columns.marks]
    label = table.columns.index(columns.label) if columns.label else -1
    part = table.columns.index(columns.part) if columns.part else -1
    rows = []
    for number, cells in enumerate(table.rows):
        text = text_of(cells[path])
        if not text:
            raise FireforgeError("BAD_TABLE", f"no picture under {columns.path!r}", where=table.at(number))
        answer = table.columns[set_marks(cells, indices)[0]] if label < 0 else text_of(cells[label])
        if len(answer) > MOST_LETTERS:
            what = f"a class name of {len(answer):,} letters"
            raise FireforgeError("BAD_LABELS", what, where=table.at(number), allowed=f"up to {MOST_LETTERS}")
        given = "" if alone else item.part
        if part >= 0 and text_of(cells[part]):
            given = _part(text_of(cells[part]), table.at(number))
        found = item.pictures.find(text, part=given or item.part)
        rows.append(_Row(f"{item.name} line {table.lines[number]}", text, found, answer, given))
    return rows


def _part(text: str, where: str) -> str:
    if text.lower() not in PART_NAMES:
        raise FireforgeError("BAD_LABELS", f"part {text!r}", where=where, allowed=", ".join(PART_NAMES))
    return PART_NAMES[text.lower()]


@dataclass
class _Ledger:
    """What becomes of the rows: pictures by name, and what was found and not used."""

    used: dict[str, _Row] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    lost: list[_Row] = field(default_factory=list)

    def skip(self, name: str, code: str, reason: str) -> None:
        self.skipped.append(Skipped(name=printable(name), code=code, reason=reason))


def _usable(rows: list[_Row], source: str) -> tuple[list[_Row], list[Skipped]]:
    """The rows with a picture and a class, each picture once; the rest by reason."""
    _refuse_torn(rows, source)
    ledger = _Ledger()
    for row in rows:
        if not row.name:
            ledger.skip(row.text, "NO_FILE", f"{row.at} names it; it is not there")
            ledger.lost.append(row)
        elif not row.label:
            ledger.skip(row.at, "NO_LABEL", "no class in this row")
            ledger.lost.append(row)
        elif row.name in ledger.used:
            ledger.skip(row.at, "DUP_ROW", f"the same picture as {ledger.used[row.name].at}")
        else:
            ledger.used[row.name] = row
    if len(ledger.lost) > MOST_LOST * len(rows):
        first = ledger.lost[0]
        why = "has no class" if first.name else "names no file that is there"
        raise FireforgeError(
            "TOO_MANY_BAD",
            f"{len(ledger.lost):,} of {len(rows):,} rows cannot be used; the first, {first.text[:100]!r}, {why}",
            where=_full(source, first.at),
            allowed=f"up to {MOST_LOST:.0%}",
            do="paths counted from the folder of the list",
        )
    return list(ledger.used.values()), ledger.skipped


def _refuse_torn(rows: list[_Row], source: str) -> None:
    """One picture with several classes or parts: an accident names two rows, a habit is another kind of output."""
    by_name: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        if row.name and row.label:
            by_name[row.name].append(row)
    torn = [same for same in by_name.values() if len({row.label for row in same}) > 1]
    if len(torn) > MOST_LOST * len(by_name) and len(torn) > 1:
        evidence = f"{len(torn):,} pictures have rows with different classes, such as {torn[0][0].text[:100]!r}"
        raise refusal(Output(LABELS, evidence), where=source)
    if torn:
        one = torn[0][0]
        two = next(row for row in torn[0] if row.label != one.label)
        what = f"{two.text[:100]!r} is {two.label!r} here and {one.label!r} in {one.at}"
        raise FireforgeError("DUP_ROW", what, where=_full(source, two.at), allowed="one class a picture")
    for same in by_name.values():
        if len({row.part for row in same}) > 1:
            one, two = same[0], next(row for row in same if row.part != same[0].part)
            what = f"{two.text[:100]!r} is in part {two.part!r} here and in {one.part!r} in {one.at}"
            raise FireforgeError("DUP_ROW", what, where=_full(source, two.at), allowed="one part a picture")


def _numbers(rows: list[_Row], given: tuple[str, ...], source: str) -> tuple[tuple[str, ...], list[int]]:
    """Class names, and the class number of every row."""
    given = given if any(row.label in given or row.label.removeprefix("-").isdecimal() for row in rows) else ()
    labels = given or tuple(sorted({row.label for row in rows}, key=natural))
    number = {label: index for index, label in enumerate(labels)}
    by_id = bool(given) and all(row.label.removeprefix("-").isdecimal() and row.label not in number for row in rows)
    for row in rows if given else ():
        if by_id and not 0 <= int(row.label) < len(labels):
            what, allowed = f"class number {row.label}", f"0 to {len(labels) - 1}, as many as there are class names"
            raise FireforgeError("BAD_LABELS", what, where=_full(source, row.at), allowed=allowed)
        if not by_id and row.label not in number:
            names = ", ".join(labels[:20])
            raise FireforgeError("BAD_LABELS", f"class {row.label!r}", where=_full(source, row.at), allowed=names)
    numbers = [int(row.label) if by_id else number[row.label] for row in rows]
    taught = {label for label, row in zip(numbers, rows) if row.part in ("", "train")}
    for label, row in zip(numbers, rows):
        if taught and label not in taught:
            what = f"class {labels[label]!r} is in the part {row.part!r} and not in train"
            raise FireforgeError("BAD_LABELS", what, where=_full(source, row.at), allowed="classes that train has")
    return tuple(printable(label) for label in labels), numbers


def _has_class_folders(tree: Tree) -> bool:
    """Whether two folders or more could be classes, at the top or in a folder for a part."""
    top = folders_in(tree, "")
    for folder in ("", *(name for name in top if name.lower() in PART_NAMES)):
        inner = [name.lower() for name in (folders_in(tree, folder) if folder else top)]
        if sum(name not in PART_NAMES and name not in BOX_FOLDERS for name in inner) > 1:
            return True
    return False


def _agrees(item: _List) -> bool:
    """Whether every row's class is the name of a folder that its picture lies in."""
    if item.output.kind != LABEL or not item.columns.label:
        return False
    paths, labels = (map(text_of, item.table.column(name)) for name in (item.columns.path, item.columns.label))
    return all(label in path.replace("\\", "/").split("/")[:-1] for path, label in zip(paths, labels))


def _full(source: str, name: str) -> str:
    return f"{source.rstrip('/')}/{name}"


def _read(tree: Tree, files: tuple[tuple[str, tuple[int, int]], ...], sample_id: int) -> bytes:
    name, stamped = files[sample_id]
    data = tree.read(name)
    if stamp(tree, name) != stamped:
        raise FireforgeError("DATA_CHANGED", "the file changed since the list was read", where=_full(tree.source, name))
    return data


def _recognise(source: str) -> bool:
    path = os.path.expanduser(source)
    if os.path.isdir(path):
        return is_manifest(FolderTree(source))
    name = os.path.basename(path)
    if name.lower().endswith(".json"):
        return os.path.isfile(path) and is_coco(FolderTree(os.path.dirname(source) or ".").read(name))
    return name.lower().endswith(TABLE_SUFFIXES) and os.path.isfile(path)


def _open(source: str) -> Dataset:
    if os.path.isdir(os.path.expanduser(source)):
        return open_manifest(FolderTree(source))
    tree, name = FolderTree(os.path.dirname(source) or "."), os.path.basename(source)
    if name.lower().endswith(".json"):
        raise refusal(boxes_beside(tree, [name]), where=source)
    return open_manifest(tree, name, source=source)


MANIFEST = Format(name="manifest", accepts=ACCEPTS, recognise=_recognise, open=_open)
