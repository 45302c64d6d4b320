# SPDX-License-Identifier: Apache-2.0
"""Caffe's databases of Datum records, LMDB and LevelDB, read without a lock and without a change to them."""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Sample, Skipped
from fireforge.data.archive.store import FileStore, stamp_of
from fireforge.data.database.datum import datum_of, picture_of
from fireforge.data.database.leveldb_file import LevelDb, is_leveldb, listing_of
from fireforge.data.database.lmdb_file import Entry, is_lmdb, lmdb_entries
from fireforge.data.dataset import PARTS, Content, Dataset, check_classes
from fireforge.data.formats.classfile import class_names, names_of
from fireforge.data.formats.folder import natural
from fireforge.data.formats.format import Format
from fireforge.data.losses import refuse_losses
from fireforge.data.sidefiles import part_of
from fireforge.data.tree import FolderTree, printable

ACCEPTS = "an LMDB or LevelDB of Caffe's Datum records, or a folder that holds one each for train, val and test"
LMDB_FILE = "data.mdb"
SYNSETS = "synset_words.txt"
WNID = re.compile(r"n[0-9]{8}\s+(?=\S)")


class Records(Protocol):
    """The records of one database by number, in the order of their keys; picklable."""

    @property
    def keys(self) -> Sequence[bytes]:
        """All keys."""

    def size(self, row: int) -> int:
        """Bytes of a value."""

    def read(self, row: int, at: int, count: int) -> bytes:
        """Some bytes of a value, from an offset on."""


class LmdbRecords:
    """The records of an LMDB; a `Records`.

    Args:
      store: of data.mdb.
      entries: where the values lie.
    """

    def __init__(self, store: FileStore, entries: Sequence[Entry]) -> None:
        self.store = store
        self.keys: Sequence[bytes] = [entry.key for entry in entries]
        self._at = np.fromiter((entry.at for entry in entries), np.int64, len(entries))
        self._size = np.fromiter((entry.size for entry in entries), np.int64, len(entries))

    def size(self, row: int) -> int:
        """Bytes of a value."""
        return int(self._size[row])

    def read(self, row: int, at: int, count: int) -> bytes:
        """Some bytes of a value; see `Records`."""
        return self.store.read_at(int(self._at[row]) + at, count)


class LevelDbRecords:
    """The records of a LevelDB; a `Records`.

    Args:
      database: it.
      keys: all of them.
    """

    def __init__(self, database: LevelDb, keys: Sequence[bytes]) -> None:
        self.database = database
        self.keys = keys
        self._last: tuple[int, bytes] = (-1, b"")

    def size(self, row: int) -> int:
        """Bytes of a value."""
        return len(self._value(row))

    def read(self, row: int, at: int, count: int) -> bytes:
        """Some bytes of a value; see `Records`."""
        return self._value(row)[at : at + count]

    def _value(self, row: int) -> bytes:
        last, value = self._last
        if last != row:
            value = self.database.read(self.keys[row])
            self._last = (row, value)
        return value


@dataclass(frozen=True)
class _Base:
    """A database: its folder below the source ("" for the source itself), its part and its records."""

    folder: str
    part: str
    records: Records

    def name(self, row: int) -> str:
        """A record's name: its key, below the folder."""
        return printable(posixpath.join(self.folder, self.records.keys[row].decode("utf-8", "surrogateescape")))


@dataclass
class _Found:
    """What the records are: base, row and label of those that can be used, and the rest."""

    rows: list[tuple[int, int]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def open_caffe(source: str) -> Dataset:
    """The pictures of a Caffe database, in the order of keys; of several databases part by part: train, val, test.

    Raw pictures are uint8 (H, W) or (H, W, 3), encoded ones are files. Class names are the lines of labels.txt,
    classes.txt or synset_words.txt in the database's folder or beside it; otherwise the numbers that occur. A record
    that is no Datum, or says of itself what cannot be, is skipped.

    Args:
      source: the folder of the database; or data.mdb; or a folder with databases whose names speak of parts.

    Returns:
      The dataset; sample names are keys.

    Raises:
      FireforgeError: BAD_DATABASE, BAD_LABELS, BAD_LAYOUT, TOO_MANY_BAD, NO_DATA, NO_PACKAGE or ONE_CLASS.
    """
    bases = _bases(source)
    found = _look(bases, source)
    total = len(found.rows) + len(found.skipped)
    if not total:
        raise FireforgeError("NO_DATA", "a database without records", where=source, allowed=ACCEPTS)
    refuse_losses(found.skipped, total, where=source, unit="records")
    names = _class_names(source)
    values = list(range(len(names))) if names else sorted(set(found.labels))
    number = {value: index for index, value in enumerate(values)}
    for (base, row), label in zip(found.rows, found.labels):
        if label < 0 or label not in number:
            allowed = f"0 to {len(names) - 1}, as many as there are class names" if names else "0 or more"
            raise FireforgeError(
                "BAD_LABELS", f"class number {label}", where=f"{source}: {bases[base].name(row)[:200]}", allowed=allowed
            )
    labels = names or tuple(map(str, values))
    check_classes(labels, where=source)
    return Dataset(
        format="caffe",
        source=source,
        labels=labels,
        samples=_samples(bases, found, number),
        skipped=tuple(found.skipped),
        reader=functools.partial(_read, tuple(base.records for base in bases), np.array(found.rows, np.int64)),
    )


def _samples(bases: Sequence[_Base], found: _Found, number: dict[int, int]) -> tuple[Sample, ...]:
    return tuple(
        Sample(id=i, label=number[label], name=bases[base].name(row), part=bases[base].part)
        for i, ((base, row), label) in enumerate(zip(found.rows, found.labels))
    )


def _look(bases: Sequence[_Base], source: str) -> _Found:
    found = _Found()
    for index, base in enumerate(bases):
        for row in range(len(base.records.keys)):
            try:
                label = datum_of(functools.partial(base.records.read, row), base.records.size(row)).label
            except ValueError as error:
                found.skipped.append(Skipped(name=base.name(row), code="BAD_DATUM", reason=str(error)))
            else:
                found.rows.append((index, row))
                found.labels.append(label)
    return found


def _bases(source: str) -> list[_Base]:
    """The databases of a source, opened, in the order of the parts."""
    folders = list(_folders(source))
    parts = [part_of(folder) for folder in folders] if len(folders) > 1 else [""]
    if len(folders) > 1 and (len(set(parts)) < len(parts) or "" in parts):
        raise FireforgeError(
            "BAD_LAYOUT",
            f"several databases for one part: {', '.join(folders)}",
            where=source,
            allowed="one, or one each for train, val and test",
            do="name one of them itself",
        )
    order = sorted(zip(folders, parts), key=lambda item: PARTS.index(item[1]) if item[1] else 0)
    return [_Base(folder if len(order) > 1 else "", part, _records(_path(source, folder))) for folder, part in order]


def _records(source: str) -> Records:
    path = os.path.expanduser(source)
    if is_leveldb(path):
        database = LevelDb(listing_of(source))
        return LevelDbRecords(database, database.keys())
    stamp = stamp_of(os.path.join(source, LMDB_FILE) if os.path.isdir(path) else source)
    return LmdbRecords(FileStore(stamp), lmdb_entries(stamp))


def _folders(source: str) -> Iterator[str]:
    """Folders below a source that are databases; "" where it is one itself."""
    if _is_base(os.path.expanduser(source)):
        yield ""
        return
    try:
        with os.scandir(os.path.expanduser(source)) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return
    for name in sorted(names, key=natural):
        if _is_base(os.path.join(os.path.expanduser(source), name)):
            yield name


def _is_base(path: str) -> bool:
    """Whether a path is a database: a folder with LMDB's or LevelDB's files, or a file that begins like an LMDB."""
    if os.path.isdir(path):
        return is_leveldb(path) or os.path.isfile(os.path.join(path, LMDB_FILE))
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as stream:
            return is_lmdb(stream.read(32))
    except OSError:
        return False


def _class_names(source: str) -> tuple[str, ...]:
    """Class names in the folder of the database, else beside it."""
    path = os.path.normpath(os.path.expanduser(source))
    for folder in dict.fromkeys((path if os.path.isdir(path) else os.path.dirname(path), os.path.dirname(path))):
        tree = FolderTree(folder or ".")
        found = class_names(tree, "") or _synsets(tree)
        if found:
            return found
    return ()


def _synsets(tree: FolderTree) -> tuple[str, ...]:
    """The lines of synset_words.txt, without their WordNet numbers where they are unique without."""
    if not os.path.isfile(os.path.join(tree.root, SYNSETS)):
        return ()
    lines = names_of(tree.read(SYNSETS))
    bare = tuple(WNID.sub("", line, count=1) for line in lines)
    return bare if len(set(bare)) == len(bare) else lines


def _path(source: str, folder: str) -> str:
    return os.path.join(source, folder) if folder else source


def _read(records: tuple[Records, ...], rows: np.ndarray, sample_id: int) -> Content:
    base, row = map(int, rows[sample_id])
    try:
        return picture_of(records[base].read(row, 0, records[base].size(row)))
    except ValueError as error:
        key = printable(records[base].keys[row].decode("utf-8", "surrogateescape"))
        raise FireforgeError("BAD_DATABASE", f"record {key[:200]}: {error}") from error


def _recognise(source: str) -> bool:
    return next(_folders(source), None) is not None


CAFFE = Format(name="caffe", accepts=ACCEPTS, recognise=_recognise, open=open_caffe)
