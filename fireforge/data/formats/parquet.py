# SPDX-License-Identifier: Apache-2.0
"""Encoded pictures and their classes in Parquet files, as Hugging Face's datasets are stored."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Sample, Skipped
from fireforge.data.archive.store import stamp_of
from fireforge.data.columns import LABEL_NAMES
from fireforge.data.dataset import PARTS, Content, Dataset, check_classes
from fireforge.data.formats.classfile import MOST_LETTERS
from fireforge.data.formats.folder import PART_NAMES, natural
from fireforge.data.formats.format import Format
from fireforge.data.losses import refuse_losses
from fireforge.data.outputs import BOX_NAMES, BOXES, LABEL, LABELS, Output, output_of_cells, refusal
from fireforge.data.parquet_file import MAGIC, PICTURES, Cells, Field, ParquetFile
from fireforge.data.sidefiles import part_of
from fireforge.data.tree import printable

ACCEPTS = (
    "a Parquet file with a column of encoded pictures and a column of classes, or a folder of such files, "
    "train-00000-of-00002.parquet and so on"
)
SUFFIXES = (".parquet", ".pq")
FOLDERS = ("data", "default", *PART_NAMES)  # below a source, where its files may lie
NO_CLASS = -1  # what Hugging Face writes where a picture has no label


@dataclass(frozen=True)
class _File:
    """One file: its name below the source, its part, and the label of each row."""

    name: str
    part: str
    file: ParquetFile
    cells: Cells


@dataclass(frozen=True)
class Reader:
    """Pictures by id.

    Args:
      files: all of them.
      which: index of the file of each id, int32 (N,).
      rows: row in it, int64 (N,).
    """

    files: tuple[ParquetFile, ...]
    which: np.ndarray
    rows: np.ndarray

    def __call__(self, sample_id: int) -> Content:
        """The bytes of a picture; see `fireforge.data.dataset.Dataset.read`."""
        file, row = self.files[int(self.which[sample_id])], int(self.rows[sample_id])
        found = file.read(row)
        if found is None:
            raise FireforgeError("BAD_PARQUET", f"no picture in row {row}", where=file.stamp.source)
        return found


def open_parquet(source: str) -> Dataset:
    """The pictures of Parquet files, file by file in the order train, val, test; read a group of rows at a time.

    The column of pictures holds bytes, or structs with bytes in them. The column of classes holds texts or whole
    numbers, which the file's own description may name. A row without a picture or a class is skipped; a file in which
    no row has a class is left out.

    Args:
      source: a file, or a folder of them.

    Returns:
      The dataset; sample names are file[row].

    Raises:
      FireforgeError: BAD_PARQUET, BAD_LABELS, BAD_LAYOUT, OUTPUT_KIND, TOO_MANY_BAD, NO_DATA, NO_PACKAGE or ONE_CLASS.
    """
    names = _names(source)
    first = ParquetFile(stamp_of(_path(source, names[0])))
    fields = first.fields()
    picture = _picture_column(fields, first.stamp.source)
    label = _label_column(fields, picture, first.stamp.source)
    files = _files(source, names, picture, label)
    labels, numbers = _numbers(files, label)
    return _dataset(source, files, labels, numbers)


def _dataset(source: str, files: Sequence[_File], labels: tuple[str, ...], numbers: Sequence[np.ndarray]) -> Dataset:
    skipped: list[Skipped] = []
    lost: list[Skipped] = []
    kept: list[np.ndarray] = []
    total = 0
    for item, given in zip(files, numbers):
        if len(given) and bool(np.all(given == NO_CLASS)):
            reason = f"none of its {len(given):,} rows has a class"
            skipped.append(Skipped(name=item.name, code="NO_LABEL", reason=reason))
            kept.append(np.zeros(0, np.int64))
            continue
        there = item.file.present()
        total += len(given)
        for row in np.flatnonzero(~there):
            lost.append(Skipped(name=f"{item.name}[{row}]", code="NO_FILE", reason="no picture in this row"))
        for row in np.flatnonzero(there & (given == NO_CLASS)):
            lost.append(Skipped(name=f"{item.name}[{row}]", code="NO_LABEL", reason="no class in this row"))
        kept.append(np.flatnonzero(there & (given != NO_CLASS)))
    refuse_losses(lost, total, where=source, unit="rows")
    if not sum(map(len, kept)):
        raise FireforgeError("NO_DATA", "no row with a picture and a class", where=source, allowed=ACCEPTS)
    check_classes(labels, where=source)
    return Dataset(
        format="parquet",
        source=source,
        labels=labels,
        samples=_samples(files, kept, numbers),
        skipped=(*skipped, *lost),
        reader=Reader(
            tuple(item.file for item in files),
            np.repeat(np.arange(len(files), dtype=np.int32), list(map(len, kept))),
            np.concatenate(kept).astype(np.int64),
        ),
    )


def _samples(files: Sequence[_File], kept: Sequence[np.ndarray], numbers: Sequence[np.ndarray]) -> tuple[Sample, ...]:
    rows = [(item, row, label) for item, own, given in zip(files, kept, numbers) for row, label in _pairs(own, given)]
    return tuple(
        Sample(id=i, label=label, name=f"{item.name}[{row}]", part=item.part)
        for i, (item, row, label) in enumerate(rows)
    )


def _pairs(rows: np.ndarray, labels: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(rows.tolist(), labels[rows].tolist()))


def _names(source: str) -> list[str]:
    """Files below a source by name, "" for itself, in the order of their parts."""
    root = os.path.expanduser(source)
    if not os.path.isdir(root):
        return [""]
    found = sorted(_listed(root), key=natural)
    parts = {part_of(name) for name in found}
    if len(parts) > 1 and "" in parts:
        stray = next(name for name in found if not part_of(name))
        what = f"{stray!r} names no part, and other files do"
        raise FireforgeError("BAD_LAYOUT", what, where=source, allowed=ACCEPTS, do="name the files of one part")
    return sorted(found, key=lambda name: PARTS.index(part_of(name)) if part_of(name) else 0)


def _listed(root: str) -> list[str]:
    """Names of the Parquet files of a folder, and of those below it that may hold a part."""
    found = []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.name.lower() in FOLDERS and entry.is_dir():
                    found += [posixpath.join(entry.name, name) for name in os.listdir(entry.path) if _is_named(name)]
                elif _is_named(entry.name) and entry.is_file():
                    found.append(entry.name)
    except OSError:
        return []
    return found


def _is_named(name: str) -> bool:
    """Whether a file is called like a Parquet file; hidden ones are left out."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _files(source: str, names: Sequence[str], picture: Field, label: Field) -> list[_File]:
    """The files, each with the columns that the first one has."""
    several = len({part_of(name) for name in names}) > 1
    files = []
    for name in names:
        file = ParquetFile(stamp_of(_path(source, name)), picture.name)
        own = {field.name: field for field in file.fields()}
        for wanted in (picture, label):
            if wanted.name not in own or own[wanted.name].kind != wanted.kind:
                what = f"no column {wanted.name!r} like that of {names[0]}"
                raise FireforgeError("BAD_PARQUET", what, where=file.stamp.source)
        if own[label.name].classes != label.classes:
            what = f"other class names than {names[0]}"
            raise FireforgeError("BAD_LABELS", what, where=file.stamp.source)
        shown = printable(name or os.path.basename(source))
        files.append(_File(shown, part_of(name) if several else "", file, file.cells(label.name)))
    return files


def _picture_column(fields: Sequence[Field], where: str) -> Field:
    """By the file's description; otherwise the only one that holds bytes; otherwise by its name."""
    able = [field for field in fields if field.kind in ("picture", "bytes")]
    told = [field for field in able if field.is_image] or [field for field in able if field.kind == "picture"] or able
    named = [field for name in PICTURES for field in told if field.name.lower() == name]
    found = told if len(told) == 1 else named
    if not found:
        names = ", ".join(repr(field.name) for field in fields)[:200]
        what = f"no column that is clearly the picture: {names}"
        raise FireforgeError("BAD_PARQUET", what, where=where, allowed="bytes of picture files, or structs with bytes")
    return found[0]


def _label_column(fields: Sequence[Field], picture: Field, where: str) -> Field:
    """By the file's description, then by its name; otherwise the only one left."""
    others = [field for field in fields if field.name != picture.name and field.kind not in ("picture", "bytes")]
    nested = [field for field in others if field.kind in ("list", "other")]
    boxes = [field for field in nested if field.name.lower() in BOX_NAMES]
    if boxes:
        raise refusal(Output(BOXES, f"the column {boxes[0].name!r}"), where=where)
    told = [field for field in others if field.is_class]
    named = [field for name in LABEL_NAMES for field in others if field.name.lower() == name]
    fine = [field for field in told if field.name.lower().startswith("fine")]
    found = [field for field in named if field in told] or fine or told or named or others
    if found and found[0].kind == "list":
        raise refusal(Output(LABELS, f"lists in the column {found[0].name!r}"), where=where)
    if not found or found[0].kind == "other" or (found is others and len(others) > 1):
        names = ", ".join(repr(field.name) for field in others)[:200] or "none"
        what = f"no column that is clearly the class beside {picture.name!r}; the others: {names}"
        raise FireforgeError("BAD_PARQUET", what, where=where, allowed="a column called label, class or category")
    return found[0]


def _numbers(files: Sequence[_File], label: Field) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Class names, and the class number of each row of each file; -1 for none."""
    values = list(dict.fromkeys(value for item in files for value in item.cells.values if value is not None))
    output = output_of_cells(label.name, [str(value) if isinstance(value, bool) else value for value in values])
    if output.kind != LABEL:
        raise refusal(output, where=files[0].file.stamp.source)
    texts = {value: _text(value, files[0].file.stamp.source) for value in values}
    absent = {value for value in values if texts[value] in ("", "nan") or (label.is_class and value == NO_CLASS)}
    if label.classes:
        names, number = label.classes, {value: value for value in values if value not in absent}
    else:
        names = tuple(sorted({texts[value] for value in values if value not in absent}, key=natural))
        index = {name: i for i, name in enumerate(names)}
        number = {value: index[texts[value]] for value in values if value not in absent}
    if len(set(names)) < len(names):
        raise FireforgeError("BAD_LABELS", "class names that recur", where=files[0].file.stamp.source)
    found = []
    for item in files:
        for value in item.cells.values:
            _check_value(value, item, number, absent, len(names) if label.classes else 0)
        table = np.array([number.get(value, NO_CLASS) for value in item.cells.values] + [NO_CLASS], np.int64)
        found.append(table[item.cells.rows])
    return tuple(map(printable, names)), found


def _check_value(value: object, item: _File, number: dict[object, int], absent: set[object], count: int) -> None:
    """Refuse a class number that is negative or has no name, naming its first row."""
    if value is None or value in absent:
        return
    bad = isinstance(value, int | float) and value < 0
    if count:
        bad = not isinstance(value, int) or not 0 <= number[value] < count
    if bad:
        row = int(np.flatnonzero(item.cells.rows == item.cells.values.index(value))[0])
        allowed = f"0 to {count - 1}, as many as there are class names" if count else "0 or more"
        where = f"{item.file.stamp.source}[{row}]"
        raise FireforgeError("BAD_LABELS", f"class number {str(value)[:40]}", where=where, allowed=allowed)


def _text(value: object, where: str) -> str:
    """A class as text."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if len(text) > MOST_LETTERS:
        what = f"a class name of {len(text):,} letters"
        raise FireforgeError("BAD_LABELS", what, where=where, allowed=f"up to {MOST_LETTERS}")
    return text


def _path(source: str, name: str) -> str:
    return os.path.join(source, name) if name else source


def _recognise(source: str) -> bool:
    path = os.path.expanduser(source)
    if os.path.isdir(path):
        return bool(_listed(path))
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC or path.lower().endswith(SUFFIXES)
    except OSError:
        return False


PARQUET = Format(name="parquet", accepts=ACCEPTS, recognise=_recognise, open=open_parquet)
