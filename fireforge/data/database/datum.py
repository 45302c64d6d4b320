# SPDX-License-Identifier: Apache-2.0
"""Caffe's Datum: one labelled picture as a protobuf message, raw or encoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fireforge.base.wire import FIXED32, LENGTH, VARINT, parts
from fireforge.data.dataset import Content

CHANNELS, HEIGHT, WIDTH, DATA, LABEL, FLOATS, ENCODED = 1, 2, 3, 4, 5, 6, 7  # numbers of the fields
HEAD_BYTES = 64  # from which the fields before the pixels are read
MOST_TAIL = 64 * 2**10  # bytes behind the pixels of a Datum whose pixels are not read
MOST_SIDE = 2**16
MOST_BYTES = 2**30  # of one picture


@dataclass(frozen=True, kw_only=True)
class Datum:
    """A Datum without its pixels.

    Args:
      shape: channels, height and width; zeros where they are not given, as for encoded pictures.
      label: class number, 0 where none is given, as protobuf has it.
      encoded: whether the pixels are a picture file.
      pixels: where the bytes of the pixels begin and end in the message.
      floats: how many bytes of floats it holds instead.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    label: int = 0
    encoded: bool = False
    pixels: tuple[int, int] = (0, 0)
    floats: int = 0


def datum_of(read: Callable[[int, int], bytes], size: int) -> Datum:
    """What a Datum says of itself; its pixels are not read where they are longer than the rest.

    Args:
      read: bytes of the message from an offset on, so many.
      size: of the message.

    Returns:
      The Datum, whose pixels agree with its shape.

    Raises:
      ValueError: it is damaged, or says what cannot be.
    """
    head = read(0, min(size, HEAD_BYTES))
    start, stop = _pixels_in(head, size)
    if size - stop > MOST_TAIL and stop > start:
        raise ValueError(f"{size - stop:,} bytes behind the pixels")
    rest = read(stop, size - stop) if stop > start else b""
    message = head[: _tag_before(head, start)] + rest if stop > start else read(0, size)
    datum = _fields(message)
    if stop > start:
        if datum.pixels != (0, 0):
            raise ValueError("the pixels are there twice")
        datum = dataclasses.replace(datum, pixels=(start, stop))
    _check(datum)
    return datum


def picture_of(message: bytes) -> Content:
    """The picture that a Datum holds.

    Args:
      message: the whole Datum.

    Returns:
      Bytes of the picture file, or uint8 array (H, W) or (H, W, 3) in the order red, green, blue.

    Raises:
      ValueError: it is damaged, or its floats are no whole numbers from 0 to 255.

    Source:
      Caffe, caffe.proto and tools/convert_imageset.cpp: three channels are stored as planes of blue, green and red.
    """
    datum = datum_of(lambda at, count: message[at : at + count], len(message))
    start, stop = datum.pixels
    if datum.encoded:
        return message[start:stop]
    if stop > start:
        planes = np.frombuffer(message, np.uint8, stop - start, start)
    else:
        planes = _bytes_of(_floats(message))
    planes = planes.reshape(datum.shape)
    return np.ascontiguousarray(planes[0] if len(planes) == 1 else planes[::-1].transpose(1, 2, 0))


def _pixels_in(head: bytes, size: int) -> tuple[int, int]:
    """Where long pixels begin and end in a message, by its first bytes; (0, 0) where they end within these."""
    place = 0
    while place < len(head):
        tag = head[place]
        at, value, shift = place + 1, 0, 0
        while at < len(head) and shift < 70:
            value |= (head[at] & 127) << shift
            shift += 7
            at += 1
            if head[at - 1] < 128:
                break
        else:
            return 0, 0
        if tag == DATA << 3 | LENGTH:
            if value > size - at:
                raise ValueError(f"pixels of {value:,} bytes where {size - at:,} are left")
            return (at, at + value) if at + value > len(head) else (0, 0)
        if tag & 7 != VARINT or tag > 127:
            return 0, 0
        place = at
    return 0, 0


def _tag_before(head: bytes, start: int) -> int:
    """Where the tag stands whose content begins at `start`."""
    at = start - 2
    while head[at] > 127:  # the bytes of a length but its last have their top bit set; the tag has not
        at -= 1
    return at


def _fields(message: bytes) -> Datum:
    sides = {CHANNELS: 0, HEIGHT: 0, WIDTH: 0}
    label, encoded, pixels, floats = 0, False, (0, 0), 0
    for part in parts(message, 0, len(message)):
        if part.number in sides and part.wire == VARINT:
            sides[part.number] = part.value
        elif part.number == LABEL and part.wire == VARINT:
            label = (part.value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        elif part.number == ENCODED and part.wire == VARINT:
            encoded = part.value != 0
        elif part.number == DATA and part.wire == LENGTH:
            pixels = (part.start, part.stop)
        elif part.number == FLOATS and part.wire in (LENGTH, FIXED32):
            floats += part.stop - part.start
        elif part.number <= ENCODED:
            raise ValueError(f"field {part.number} of a wrong kind")
    shape = (sides[CHANNELS], sides[HEIGHT], sides[WIDTH])
    return Datum(shape=shape, label=label, encoded=encoded, pixels=pixels, floats=floats)


def _check(datum: Datum) -> None:
    """Refuse what says of itself what cannot be."""
    channels, height, width = datum.shape
    size = datum.pixels[1] - datum.pixels[0]
    if datum.encoded:
        if not size:
            raise ValueError("an encoded picture of no bytes")
        return
    if channels not in (1, 3) or not 1 <= height <= MOST_SIDE or not 1 <= width <= MOST_SIDE:
        raise ValueError(f"a picture of {channels} x {height} x {width}, where 1 or 3 channels are read")
    wanted = channels * height * width
    if wanted > MOST_BYTES:
        raise ValueError(f"a picture of {wanted:,} bytes")
    given = size or datum.floats // 4
    if given != wanted or (size and datum.floats):
        raise ValueError(f"{given:,} values for a picture of {channels} x {height} x {width}")


def _floats(message: bytes) -> np.ndarray:
    found = [message[part.start : part.stop] for part in parts(message, 0, len(message)) if part.number == FLOATS]
    return np.frombuffer(b"".join(found), "<f4")


def _bytes_of(values: np.ndarray) -> np.ndarray:
    """Floats as pixels."""
    if not bool(np.all((values >= 0) & (values <= 255) & (values == np.rint(values)))):
        raise ValueError("floats that are no whole numbers from 0 to 255")
    return values.astype(np.uint8)
