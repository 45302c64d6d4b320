# SPDX-License-Identifier: Apache-2.0
"""The chunks of a PNG: each checksum, the size, and nothing but what pixels and orientation need for the decoder."""

from __future__ import annotations

import zlib

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.structure import Structure, check_sides

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
ONCE = (b"IHDR", b"PLTE", b"tRNS", b"eXIf")
TELLING = {b"tEXt": (b"Raw profile type exif",), b"zTXt": (b"Raw profile type exif",), b"iTXt": (b"XML:com.adobe.xmp",)}
MAX_TEXT_BYTES = 262_144  # of a text that may hold the orientation, unpacked
MAX_CHUNKS = 200_000
MOST_PACKED = 1032  # bytes that one byte of deflated data can stand for

Chunk = tuple[bytes, int, int]  # name, first and past the last byte of the whole chunk


def walk_png(data: bytes, *, where: str) -> Structure:
    """The structure of a PNG.

    Args:
      data: the file's bytes.
      where: named in errors.

    Returns:
      Its size, depth and colour type; `data` holds the pixels, palette, transparency and orientation alone.

    Raises:
      FireforgeError: IMG_CORRUPT or IMG_TOO_SLOW.
    """
    chunks = _chunks(data, where)
    names = [name for name, _, _ in chunks]
    if names[0] != b"IHDR" or any(names.count(name) > 1 for name in ONCE) or b"IDAT" not in names:
        raise FireforgeError("IMG_CORRUPT", "chunks that are absent or stand twice", where=where)
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    depth, colour = data[24], data[25]
    if chunks[0][2] != 33 or depth not in DEPTHS.get(colour, ()):
        raise FireforgeError("IMG_CORRUPT", f"a head of depth {depth} and colour type {colour}", where=where)
    check_sides((width, height), where=where)
    packed = sum(stop - first - 12 for name, first, stop in chunks if name == b"IDAT")
    least = width * height * depth * CHANNELS[colour] // 8 // MOST_PACKED
    kept = [chunk for chunk in chunks if chunk[0] in NEEDED or _tells(data, chunk)]
    notes = ("IMG_FRAMES",) * (b"acTL" in names) + ("IMG_TRAILING",) * (chunks[-1][2] < len(data))
    if len(kept) < len(chunks):
        data = b"".join((data[:8], *(data[first:stop] for _, first, stop in kept)))
    return Structure(
        data=data,
        size=(width, height),
        least_bytes=least,
        held_bytes=packed,
        notes=notes,
        depth=depth,
        colour=colour,
    )


def _chunks(data: bytes, where: str) -> list[Chunk]:
    """All chunks to IEND, each with a right checksum."""
    chunks: list[Chunk] = []
    view, at = memoryview(data), 8
    while not chunks or chunks[-1][0] != b"IEND":
        name, stop = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if at + 12 > len(data) or stop > len(data):
            raise FireforgeError("IMG_CORRUPT", f"its end is missing, it is cut at byte {len(data)}", where=where)
        if zlib.crc32(view[at + 4 : stop - 4]) != int.from_bytes(data[stop - 4 : stop], "big"):
            shown = name.decode("ascii", "replace")
            raise FireforgeError("IMG_CORRUPT", f"the checksum of chunk {shown!r} at byte {at} is wrong", where=where)
        chunks.append((name, at, stop))
        at = stop
        if len(chunks) > MAX_CHUNKS:
            raise FireforgeError("IMG_TOO_SLOW", f"more than {MAX_CHUNKS} chunks", where=where)
    return chunks


def _tells(data: bytes, chunk: Chunk) -> bool:
    """Whether a text chunk may hold the orientation, and unpacks to no more than MAX_TEXT_BYTES."""
    name, first, stop = chunk
    keyword, _, rest = data[first + 8 : min(stop - 4, first + 8 + MAX_TEXT_BYTES)].partition(b"\0")
    if keyword not in TELLING.get(name, ()) or stop - first > MAX_TEXT_BYTES:
        return False
    packed = rest[1:] if name == b"zTXt" else rest.split(b"\0", 3)[-1] if name == b"iTXt" and rest[:1] == b"\1" else b""
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, MAX_TEXT_BYTES)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail
