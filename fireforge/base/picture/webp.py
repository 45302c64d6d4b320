# SPDX-License-Identifier: Apache-2.0
"""The head of a WebP: its length, its size, and whether it is an animation."""

from __future__ import annotations

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.structure import Structure, check_sides

ANIMATED = 0x02
MOST_PIXELS, MOST_PACKED = 25_000_000, 5_000  # above so many pixels, no more than so many for one byte


def walk_webp(data: bytes, *, where: str) -> Structure:
    """The structure of a WebP.

    Args:
      data: the file's bytes.
      where: named in errors.

    Returns:
      Its size, which is known before the decoder sets memory aside.

    Raises:
      FireforgeError: IMG_TRUNCATED, IMG_CORRUPT, or IMG_TOO_LARGE where a few bytes would fill the memory.
    """
    stop = int.from_bytes(data[4:8], "little") + 8
    if stop > len(data) or len(data) < 30:
        raise FireforgeError("IMG_TRUNCATED", f"{len(data)} bytes of {max(stop, 30)}", where=where)
    size, notes = _size(data), ["IMG_TRAILING"] if stop < len(data) else []
    if size is None:
        raise FireforgeError("IMG_CORRUPT", "a head of no known kind", where=where)
    check_sides(size, where=where)
    if size[0] * size[1] > max(MOST_PIXELS, MOST_PACKED * len(data)):
        what = f"{size[0]} x {size[1]} px in {len(data)} bytes"
        allowed = f"up to {MOST_PIXELS / 1e6:.0f} Mpx, or {MOST_PACKED} px a byte"
        raise FireforgeError("IMG_TOO_LARGE", what, where=where, allowed=allowed)
    if data[12:16] == b"VP8X" and data[20] & ANIMATED:
        notes.append("IMG_FRAMES")
    return Structure(data=data, size=size, notes=tuple(notes))


def _size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of the three kinds: lossy, lossless, extended."""
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None
