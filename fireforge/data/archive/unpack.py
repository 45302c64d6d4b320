# SPDX-License-Identifier: Apache-2.0
"""A packed tar unpacked as one stream, piece by piece, and stopped where it grows too great."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from fireforge.data.archive.index import TRAILING
from fireforge.data.archive.kind import PACKED, unpacker
from fireforge.data.archive.limits import Tally

PIECE_BYTES = 2**16


def unpacked(stream: BinaryIO, kind: str, tally: Tally, notes: list[str]) -> Iterator[bytes]:
    """The pieces of what a packed file holds; several packed streams end to end are read as one.

    Args:
      stream: the packed file, at its beginning.
      kind: "tar.gz", "tar.bz2" or "tar.xz".
      tally: what the bytes so far are held against.
      notes: gets ARC_TRAILING where something else follows the packed streams.

    Yields:
      Pieces of at most 64 KiB.

    Raises:
      ValueError: if the stream is damaged or its end is missing.
      FireforgeError: ARC_BOMB.
    """
    magic = next(magic for magic, name in PACKED.items() if name == kind)
    worker, rest, given = unpacker(kind), b"", 0
    while True:
        if worker.eof:
            rest = _next_stream(worker.unused_data, stream, magic)
            if not rest.startswith(magic):
                if rest:
                    notes.append(TRAILING)
                return
            worker = unpacker(kind)
            tally.add("", size=0, stored=0)
        if worker.needs_input and not rest:
            rest = stream.read(PIECE_BYTES)
            if not rest:
                raise ValueError("the packed stream has no end")
        try:
            piece = worker.decompress(rest, PIECE_BYTES)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            raise ValueError(f"the packed stream is damaged: {error}") from error
        rest = b""
        given += len(piece)
        tally.check_total(given, stream.tell())
        if piece:
            yield piece


def _next_stream(unused: bytes, stream: BinaryIO, magic: bytes) -> bytes:
    """What follows the end of a packed stream, without the zeros that writers fill up with."""
    rest = unused.lstrip(b"\0")
    while len(rest) < len(magic):
        more = stream.read(PIECE_BYTES)
        if not more:
            return rest
        rest = (rest + more).lstrip(b"\0")
    return rest
