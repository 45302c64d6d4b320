# SPDX-License-Identifier: Apache-2.0
"""The one thing that is needed of EXIF data, the orientation, without trusting the rest."""

from __future__ import annotations

import re
import struct

ORIENTATION = 0x0112
SHORT, LONG = 3, 4
UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def read_orientation(exif: bytes) -> tuple[int, bool]:
    """Orientation of a block of EXIF data; only its first directory is read, and no value but this one.

    Args:
      exif: the block, with or without "Exif" before it.

    Returns:
      1 to 8, and whether the directory is sound: all of it there, every value inside the block, none of them twice.
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = ORDERS.get(exif[:4])
    if order is None or len(exif) < 10:
        return 1, False
    (start,) = struct.unpack_from(order + "I", exif, 4)
    if not 8 <= start <= len(exif) - 2:
        return 1, False
    (count,) = struct.unpack_from(order + "H", exif, start)
    entries = exif[start + 2 : start + 2 + 12 * count]
    sound, total, found = len(entries) == 12 * count, 0, 0
    for tag, kind, number, value in struct.iter_unpack(order + "HHI4s", entries[: len(entries) // 12 * 12]):
        size = number * UNIT_BYTES.get(kind, 1)
        if size > 4:
            total += size
            sound = sound and struct.unpack(order + "I", value)[0] + size <= len(exif)
        if tag == ORIENTATION and not found and number == 1 and kind in (SHORT, LONG):
            (found,) = struct.unpack(order + "I", value) if kind == LONG else struct.unpack(order + "H", value[:2])
    return found if 1 <= found <= 8 else 1, sound and total <= len(exif)


def write_orientation(orientation: int) -> bytes:
    """The smallest block of EXIF data with this orientation, "Exif" before it."""
    entry = struct.pack("<HHIHH", ORIENTATION, SHORT, 1, orientation, 0)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0\0\0\0"


def raw_profile(text: str) -> bytes:
    """EXIF data written as hexadecimal digits into a PNG's text ("Raw profile type exif"); b"" where it is damaged."""
    digits = "".join(text.split("\n")[3:])
    return bytes.fromhex(digits) if re.fullmatch(r"\s*(?:[0-9a-fA-F]{2}\s*)+", digits) else b""
