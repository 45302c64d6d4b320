# SPDX-License-Identifier: Apache-2.0
"""Flatbuffers without a schema: tables whose fields are read by place, every offset and length looked at first."""

from __future__ import annotations

import struct
from typing import NoReturn

import numpy as np

from fireforge.base.errors import FireforgeError

MOST_READ = 2**28  # numbers that are read of one file, those that several places share counted each time
MOST_OF_BYTE = 16  # and for each of its bytes
OF_TABLE = 64  # numbers that reading a table counts as


class Flat:
    """The bytes of a file.

    Args:
      data: the whole file.
      where: it, for errors.
    """

    def __init__(self, data: bytes, *, where: str) -> None:
        self.data, self.where = data, where
        self._most = min(MOST_READ, MOST_OF_BYTE * len(data) + 2**22)
        self._left = self._most

    def root(self) -> Table:
        """The table that the file is of.

        Returns:
          It.

        Raises:
          FireforgeError: BAD_MODEL_FILE.
        """
        return Table(self, self.whole("<I", 0))

    def whole(self, form: str, place: int) -> int:
        """A whole number at a place; form as struct has it."""
        self.need(place, struct.calcsize(form))
        return int(struct.unpack_from(form, self.data, place)[0])

    def need(self, place: int, size: int) -> None:
        """Refuse a place of which the file has not so many bytes."""
        if place < 0 or size < 0 or place + size > len(self.data):
            self.fail(f"{size} bytes at {place} of {len(self.data)}")

    def count(self, numbers: int) -> None:
        """Refuse a file that asks to be read over and over."""
        self._left -= numbers
        if self._left < 0:
            self.fail(f"more than {self._most} numbers")

    def fail(self, what: str) -> NoReturn:
        """Say that the file is damaged.

        Args:
          what: is wrong.

        Raises:
          FireforgeError: BAD_MODEL_FILE, always.
        """
        raise FireforgeError("BAD_MODEL_FILE", f"damaged: {what}", where=self.where, do="copy the file again")


class Table:
    """One table.

    Args:
      flat: the file.
      place: of the table in it.
    """

    def __init__(self, flat: Flat, place: int) -> None:
        flat.count(OF_TABLE)
        self.flat, self.place = flat, place
        self._fields = place - flat.whole("<i", place)
        self._size = flat.whole("<H", self._fields)
        flat.need(self._fields, max(self._size, 4))

    def has(self, slot: int) -> bool:
        """Whether a field is there."""
        return self._at(slot) is not None

    def number(self, slot: int, form: str = "i", default: int = 0) -> int:
        """A field that is a whole number; form as struct has it."""
        place = self._at(slot)
        return default if place is None else self.flat.whole("<" + form, place)

    def real(self, slot: int, default: float) -> float:
        """A field that is a float32."""
        place = self._at(slot)
        if place is None:
            return default
        self.flat.need(place, 4)
        return float(struct.unpack_from("<f", self.flat.data, place)[0])

    def table(self, slot: int) -> Table | None:
        """A field that is a table, None where it is absent."""
        place = self._target(slot)
        return None if place is None else Table(self.flat, place)

    def tables(self, slot: int) -> list[Table]:
        """A field that is a list of tables."""
        start, count = self._list(slot, 4)
        places = [start + 4 * i for i in range(count)]
        return [Table(self.flat, place + self.flat.whole("<I", place)) for place in places]

    def array(self, slot: int, dtype: str) -> np.ndarray:
        """A field that is a list of numbers, such as "<i4"."""
        start, count = self._list(slot, np.dtype(dtype).itemsize)
        self.flat.count(count)
        return np.frombuffer(self.flat.data, dtype, count, start)

    def raw(self, slot: int) -> np.ndarray:
        """A field that is bytes: uint8, not copied."""
        start, count = self._list(slot, 1)
        return np.frombuffer(self.flat.data, np.uint8, count, start)

    def text(self, slot: int, most: int) -> str:
        """A field that is text, cut to so many letters."""
        start, count = self._list(slot, 1)
        return self.flat.data[start : start + min(count, 4 * most)].decode(errors="replace")[:most]

    def _at(self, slot: int) -> int | None:
        offset = 4 + 2 * slot
        if offset + 2 > self._size:
            return None
        found = self.flat.whole("<H", self._fields + offset)
        return self.place + found if found else None

    def _target(self, slot: int) -> int | None:
        place = self._at(slot)
        return None if place is None else place + self.flat.whole("<I", place)

    def _list(self, slot: int, size: int) -> tuple[int, int]:
        """Where the parts of a list begin, and how many of `size` bytes each there are."""
        place = self._target(slot)
        if place is None:
            return 0, 0
        count = self.flat.whole("<I", place)
        self.flat.need(place + 4, count * size)
        return place + 4, count
