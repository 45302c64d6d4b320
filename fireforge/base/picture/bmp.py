# SPDX-License-Identifier: Apache-2.0
"""The head of a BMP: its size and how it is packed."""

from __future__ import annotations

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.structure import Structure, check_sides

OLD_HEAD_BYTES = 12
PLAIN, RLE8, RLE4, BIT_FIELDS, ALPHA_FIELDS = 0, 1, 2, 3, 6
MAX_RUN_PIXELS, MAX_RUN_BYTES = 16_000_000, 2_000_000  # of run-length packing, whose decoder is slow


def walk_bmp(data: bytes, *, where: str) -> Structure:
    """The structure of a BMP.

    Args:
      data: the file's bytes.
      where: named in errors.

    Returns:
      Its size.

    Raises:
      FireforgeError: IMG_TRUNCATED, IMG_CORRUPT, IMG_FORMAT or IMG_TOO_SLOW.
    """
    head = int.from_bytes(data[14:18], "little")
    if len(data) < 14 + head:
        raise FireforgeError("IMG_TRUNCATED", "ends within its head", where=where)
    if head == OLD_HEAD_BYTES:
        width, height = int.from_bytes(data[18:20], "little"), int.from_bytes(data[20:22], "little")
        bits, packing = int.from_bytes(data[24:26], "little"), PLAIN
    else:
        width, height = int.from_bytes(data[18:22], "little"), abs(int.from_bytes(data[22:26], "little", signed=True))
        bits = int.from_bytes(data[28:30], "little")
        packing = int.from_bytes(data[30:34], "little") if head >= 40 else PLAIN
    check_sides((width, height), where=where)
    if packing in (PLAIN, BIT_FIELDS, ALPHA_FIELDS):
        least = width * height * bits // 8
        return Structure(data=data, size=(width, height), least_bytes=least, held_bytes=len(data))
    if packing not in (RLE8, RLE4):
        raise FireforgeError("IMG_FORMAT", f"a BMP of packing {packing}", where=where, allowed="plain or run-length")
    if width * height > MAX_RUN_PIXELS or len(data) > MAX_RUN_BYTES:
        raise FireforgeError(
            "IMG_TOO_SLOW",
            f"a run-length BMP of {width} x {height} px in {len(data)} bytes",
            where=where,
            allowed=f"{MAX_RUN_PIXELS / 1e6:.0f} Mpx in {MAX_RUN_BYTES / 1e6:.0f} MB; plain BMPs may be larger",
        )
    return Structure(data=data, size=(width, height))
