# SPDX-License-Identifier: Apache-2.0
"""The blocks of a GIF as far as its first frame, and whether another one follows."""

from __future__ import annotations

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.structure import Structure, check_sides

EXTENSION, FRAME, END = 0x21, 0x2C, 0x3B
MAX_PARTS, MAX_BLOCKS = 10_000, 1_000_000  # as far as the first frame's end; blocks of one frame
MOST_PACKED = 3000  # pixels that one byte can stand for: codes of 12 bits for runs of up to 4096 pixels


def walk_gif(data: bytes, *, where: str) -> Structure:
    """The structure of a GIF.

    Args:
      data: the file's bytes.
      where: named in errors.

    Returns:
      Its size, and whether it is an animation.

    Raises:
      FireforgeError: IMG_TRUNCATED, if the first frame is not whole, IMG_CORRUPT or IMG_TOO_SLOW.
    """
    if len(data) < 13:
        raise FireforgeError("IMG_TRUNCATED", "ends within its head", where=where)
    size = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    check_sides(size, where=where)
    notes = _notes(data, where)
    return Structure(
        data=data, size=size, least_bytes=size[0] * size[1] // MOST_PACKED, held_bytes=len(data), notes=notes
    )


def _notes(data: bytes, where: str) -> tuple[str, ...]:
    """What follows the first frame, which must be whole."""
    at, framed = 13 + _palette(data[10]), False
    for _ in range(MAX_PARTS):
        kind = data[at] if 0 <= at < len(data) else None
        if kind is None and framed and at >= 0:
            return ("IMG_NO_END",)
        if kind is None:
            raise FireforgeError("IMG_TRUNCATED", "ends before its first frame does", where=where)
        if kind == END:
            return ("IMG_TRAILING",) if at + 1 < len(data) else ()
        if kind == FRAME and framed:
            return ("IMG_FRAMES",)
        if kind == FRAME:
            framed = True
            at = _past_blocks(data, at + 11 + (_palette(data[at + 9]) if at + 9 < len(data) else 0), where)
        elif kind == EXTENSION:
            at = _past_blocks(data, at + 2, where)
        else:
            at += 1  # a stray byte
    raise FireforgeError("IMG_TOO_SLOW", f"more than {MAX_PARTS} parts", where=where)


def _palette(flags: int) -> int:
    """Bytes of the palette that these flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _past_blocks(data: bytes, at: int, where: str) -> int:
    """Past a chain of blocks, each with its length before it; -1 where the data ends within it."""
    for _ in range(MAX_BLOCKS):
        if at >= len(data):
            return -1
        if not data[at]:
            return at + 1
        at += data[at] + 1
    raise FireforgeError("IMG_TOO_SLOW", f"a frame of more than {MAX_BLOCKS} blocks", where=where)
