# SPDX-License-Identifier: Apache-2.0
"""One Parquet file through pyarrow: its columns, one column of answers, and pictures a group of rows at a time."""

from __future__ import annotations

import bisect
import itertools
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.package import package
from fireforge.base.value import Json
from fireforge.data.archive.limits import LIMITS
from fireforge.data.archive.store import Stamp

T = TypeVar("T")
MAGIC = b"PAR1"
MOST_ROWS = 20_000_000  # of one file: a few bytes can claim any number of them
MOST_GROUP_BYTES = 2 * 2**30  # of the pictures of one group of rows, which are read together
MOST_HEAD_BYTES = 64 * 2**20  # of a name in the file's own index
READ_BYTES = 1 << 20  # at a time from the file
KEPT_GROUPS = 2
PICTURES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp")  # of several columns of pictures


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column.

    Args:
      name: of it.
      kind: "bytes", "picture" (a struct with bytes in it), "whole", "text", "float", "bool", "list" or "other".
      classes: class names that the file's own description gives.
      is_class: whether that description calls it a class.
      is_image: whether it calls it a picture.
    """

    name: str
    kind: str
    classes: tuple[str, ...] = ()
    is_class: bool = False
    is_image: bool = False


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A column of answers.

    Args:
      values: the different ones: whole numbers, floats, truths or texts.
      rows: index into them of each row, int64 (N,); -1 where a row has none.
    """

    values: list[Any] = field(default_factory=list)
    rows: np.ndarray


class ParquetFile:
    """A Parquet file, opened when it is first asked, once in each process.

    Args:
      stamp: of the file.
      picture: name of the column of pictures; "" before it is known.
    """

    def __init__(self, stamp: Stamp, picture: str = "") -> None:
        self.stamp = stamp
        self.picture = picture
        self._lock = threading.Lock()
        self._open: tuple[int, Any] = (0, None)
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._starts: list[int] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle support: the open file stays here."""
        return (ParquetFile, (self.stamp, self.picture))

    @property
    def count(self) -> int:
        """How many rows it has."""
        return int(self._try(lambda file: file.metadata.num_rows))

    def fields(self) -> list[Field]:
        """The columns, in order.

        Returns:
          The columns.

        Raises:
          FireforgeError: BAD_PARQUET, NO_PACKAGE, NO_FILE or DATA_CHANGED.
        """
        return self._try(_fields)

    def cells(self, name: str) -> Cells:
        """A whole column of answers.

        Args:
          name: of the column.

        Returns:
          Its cells.

        Raises:
          FireforgeError: BAD_PARQUET, NO_PACKAGE, NO_FILE or DATA_CHANGED.
        """
        return self._try(lambda file: _cells(file, name))

    def read(self, row: int) -> bytes | None:
        """One picture.

        Args:
          row: its number in the file.

        Returns:
          The bytes of its file; None where the row has none.

        Raises:
          FireforgeError: BAD_PARQUET, NO_PACKAGE, NO_FILE or DATA_CHANGED.
        """
        with self._lock:
            return self._try(lambda file: self._cell(file, row))

    def present(self) -> np.ndarray:
        """Which rows have a picture, bool (N,), told without reading one where the file counts what is missing."""
        return self._try(self._present)

    def _present(self, file: Any) -> np.ndarray:
        there = np.ones(file.metadata.num_rows, bool)
        for group, start in enumerate(self._group_starts(file)):
            chunk = _chunk(file, group, self.picture)
            counted = chunk.statistics.null_count if chunk.statistics is not None else None
            if counted != 0:
                column = self._group(file, group)
                valid = package("pyarrow.compute", extra="sources").is_valid(column)
                there[start : start + len(column)] = valid.to_numpy()
        return there

    def _cell(self, file: Any, row: int) -> bytes | None:
        starts = self._group_starts(file)
        group = bisect.bisect_right(starts, row) - 1
        found = self._group(file, group)[row - starts[group]].as_py()
        return found if found is None else bytes(found)

    def _group_starts(self, file: Any) -> list[int]:
        if not self._starts:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            if min(sizes, default=0) < 0 or sum(sizes) != file.metadata.num_rows:
                raise ValueError(f"groups of {sum(sizes):,} rows in a file of {file.metadata.num_rows:,}")
            self._starts = [0, *itertools.accumulate(sizes[:-1])] if sizes else []
        return self._starts

    def _group(self, file: Any, group: int) -> Any:
        """The bytes of the pictures of one group of rows, as pyarrow holds them."""
        if group in self._kept:
            self._kept.move_to_end(group)
            return self._kept[group]
        if _changed(self.stamp):
            raise FireforgeError("DATA_CHANGED", "the file changed since it was opened", where=self.stamp.source)
        chunk = _chunk(file, group, self.picture)
        packed, size = chunk.total_compressed_size, chunk.total_uncompressed_size
        if not 0 <= size <= MOST_GROUP_BYTES or size > max(LIMITS.free_bytes, LIMITS.ratio * packed):
            raise ValueError(f"a group of rows of {size:,} bytes, packed {packed:,}")
        table = file.read_row_group(group, columns=[chunk.path_in_schema], use_threads=False)
        column = _leaves(table.column(0))
        if len(column) != file.metadata.row_group(group).num_rows:
            raise ValueError(f"{len(column):,} pictures in a group of {file.metadata.row_group(group).num_rows:,} rows")
        package("pyarrow", extra="sources").default_memory_pool().release_unused()  # what decoding it took besides
        self._kept[group] = column
        while len(self._kept) > KEPT_GROUPS:
            self._kept.popitem(last=False)
        return column

    def _try(self, work: Callable[[Any], T]) -> T:
        """Do something with the open file; what pyarrow says against it becomes one line."""
        arrow = package("pyarrow", extra="sources")
        try:
            return work(self._file())
        except FireforgeError:
            raise
        except (arrow.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError, OverflowError) as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            do = "copy or download it again"
            raise FireforgeError("BAD_PARQUET", f"cannot be read: {reason}", where=self.stamp.source, do=do) from error

    def _file(self) -> Any:
        owner, file = self._open
        if owner == os.getpid() and file is not None:
            return file
        parquet = package("pyarrow.parquet", extra="sources")
        self.stamp.open().close()
        how: dict[str, Any] = {"pre_buffer": False, "buffer_size": READ_BYTES}  # else packed columns are held whole
        how |= {"thrift_string_size_limit": MOST_HEAD_BYTES, "thrift_container_size_limit": MOST_ROWS}
        file = parquet.ParquetFile(self.stamp.path, **how)
        texts = [column.path for column in map(file.schema.column, range(len(file.schema))) if _is_bytes(column)]
        if texts:  # a value that recurs is then held once, however many rows have it
            file.close()
            file = parquet.ParquetFile(self.stamp.path, read_dictionary=texts, **how)
        if file.metadata.num_rows > MOST_ROWS:
            raise ValueError(f"{file.metadata.num_rows:,} rows, where {MOST_ROWS:,} are read")
        self._kept.clear()
        self._open = (os.getpid(), file)
        return file


def _is_bytes(column: Any) -> bool:
    return bool(column.physical_type == "BYTE_ARRAY" and column.max_repetition_level == 0)


def _changed(stamp: Stamp) -> bool:
    try:
        found = os.stat(stamp.path)
    except OSError:
        return True
    return (found.st_size, found.st_mtime_ns) != (stamp.size, stamp.changed_ns)


def _chunk(file: Any, group: int, picture: str) -> Any:
    """What the file's index says of the bytes of the pictures of one group of rows."""
    found = file.metadata.row_group(group)
    for index in range(found.num_columns):
        chunk = found.column(index)
        if chunk.path_in_schema in (picture, f"{picture}.bytes"):
            return chunk
    raise ValueError(f"no column {picture!r}")


def _leaves(column: Any) -> Any:
    """The bytes in a column of structs; any other column as it is."""
    arrow, compute = package("pyarrow", extra="sources"), package("pyarrow.compute", extra="sources")
    return compute.struct_field(column, [0]) if arrow.types.is_struct(column.type) else column


def _fields(file: Any) -> list[Field]:
    schema = file.schema_arrow
    described = _described((schema.metadata or {}).get(b"huggingface", b""))
    found = []
    for column in schema:
        told = described.get(column.name)
        told = told if isinstance(told, dict) else {}
        names = told.get("names")
        classes = tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()
        found.append(
            Field(
                name=column.name,
                kind=_kind(column.type),
                classes=classes if told.get("_type") == "ClassLabel" else (),
                is_class=told.get("_type") == "ClassLabel",
                is_image=told.get("_type") == "Image",
            )
        )
    return found


def _described(text: bytes) -> dict[str, Json]:
    """The features that Hugging Face's datasets writes into a file's metadata; none where they cannot be read."""
    try:
        found = json.loads(text)["info"]["features"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _kind(kind: Any) -> str:
    types = package("pyarrow", extra="sources").types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        inner = {kind.field(index).name: _kind(kind.field(index).type) for index in range(kind.num_fields)}
        return "picture" if inner.get("bytes") == "bytes" else "other"
    tests = {
        "bytes": (types.is_binary, types.is_large_binary),
        "text": (types.is_string, types.is_large_string),
        "whole": (types.is_integer,),
        "float": (types.is_floating, types.is_decimal),
        "bool": (types.is_boolean,),
        "list": (types.is_list, types.is_large_list, types.is_fixed_size_list),
    }
    return next((name for name, found in tests.items() if any(test(kind) for test in found)), "other")


def _cells(file: Any, name: str) -> Cells:
    """A column as its different values and where they stand."""
    arrow = package("pyarrow", extra="sources")
    column = file.read(columns=[name], use_threads=False).column(0)
    if len(column) != file.metadata.num_rows:
        raise ValueError(f"{len(column):,} cells of {name!r} in {file.metadata.num_rows:,} rows")
    if not arrow.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    if not len(column):
        return Cells(rows=np.zeros(0, np.int64))
    array = column.chunk(0) if isinstance(column, arrow.ChunkedArray) else column
    array.validate(full=True)
    indices = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Cells(values=array.dictionary.to_pylist(), rows=indices)
