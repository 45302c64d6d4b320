# SPDX-License-Identifier: Apache-2.0
"""Protobuf's wire format, field by field, with no length believed before it is held against the bytes that are left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types
FIXED = {FIXED64: 8, FIXED32: 4}


class Part(NamedTuple):
    """One field of a message.

    Args:
      number: of the field.
      wire: its wire type.
      value: of a VARINT, else 0.
      start: where its content begins.
      stop: where it ends, and the next field begins.
    """

    number: int
    wire: int
    value: int
    start: int
    stop: int


def parts(data: bytes, start: int, end: int) -> Iterator[Part]:
    """The fields of one message, one by one; those of messages within it are not looked at.

    Args:
      data: the whole file.
      start: where the message begins.
      end: where it ends.

    Yields:
      A Part, whose bytes are all there.

    Raises:
      ValueError: a field is cut off, lies about its length, or is of a kind or number that there is not.
    """
    place = start
    while place < end:
        key, place = _varint(data, place, end)
        number, wire, value, size = key >> 3, key & 7, 0, 0
        begin = place
        if wire == VARINT:
            value, place = _varint(data, place, end)
        elif wire == LENGTH:
            size, begin = _varint(data, place, end)
        elif wire in FIXED:
            size = FIXED[wire]
        else:
            raise ValueError(f"a part of kind {wire}")
        if not number or size > end - begin:
            raise ValueError(f"part {number} of {size} bytes where {end - begin} are left")
        place = place if wire == VARINT else begin + size
        yield Part(number, wire, value, begin, place)


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """A whole number of up to 10 bytes, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise ValueError("a number is cut off")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number of more than 10 bytes")
