# SPDX-License-Identifier: Apache-2.0
"""What kind of archive a file is, by its content; by its name only where the content is damaged."""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from typing import BinaryIO, Protocol

from fireforge.data.archive.tar_header import BLOCK, is_header

SUFFIXES = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.bz2": "tar.bz2",
    ".tbz2": "tar.bz2",
    ".tar.xz": "tar.xz",
    ".txz": "tar.xz",
}
OTHERS = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "rar", b"\x28\xb5\x2f\xfd": "zstd"}
PACKED = {b"\x1f\x8b": "tar.gz", b"BZh": "tar.bz2", b"\xfd7zXZ\x00": "tar.xz"}
ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08PK\x03\x04")
XZ_MEMORY_BYTES = 128 * 2**20  # xz -9 asks for 65 MiB
HEAD_BYTES = 64 * 2**10
BZIP2_BYTES = 2**20  # a block of bzip2 must be there whole before anything comes out


class Unpacker(Protocol):
    """What bz2 and lzma call a decompressor."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Unpack some bytes, at most so many."""

    @property
    def needs_input(self) -> bool:
        """Whether more packed bytes are wanted before anything can come out."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was met."""

    @property
    def unused_data(self) -> bytes:
        """What was handed over past that end."""


class Gunzip:
    """A gzip decompressor with the face of those of bz2 and lzma; an `Unpacker`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._full = False  # the last call gave all that it was allowed to: there may be more

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Unpack what is left of the last call and these bytes."""
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out

    @property
    def needs_input(self) -> bool:
        """Whether more packed bytes are wanted."""
        return not self._full and not self._inner.unconsumed_tail and not self.eof

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was met, its checksum included."""
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """What was handed over past that end."""
        return self._inner.unused_data


def unpacker(kind: str) -> Unpacker:
    """A new decompressor for a packed tar."""
    if kind == "tar.gz":
        return Gunzip()
    if kind == "tar.bz2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


def kind_of(path: str) -> str:
    """What a file is: "zip", "tar", "tar.gz", "tar.bz2", "tar.xz"; "7z", "rar", "zstd", which are not read; or "".

    A zip or tar that is too damaged to be told by its first bytes is told by its suffix.

    Args:
      path: a file.

    Returns:
      The kind; "" for anything else, and for an npz file.
    """
    lower = os.path.basename(path).lower()
    if lower.endswith(".npz"):  # a zip too, but with its own format
        return ""
    try:
        with open(path, "rb") as stream:
            kind = kind_of_stream(stream)
    except OSError:
        return ""
    return kind or next((kind for suffix, kind in SUFFIXES.items() if lower.endswith(suffix)), "")


def kind_of_stream(stream: BinaryIO) -> str:
    """What the first bytes say that a file is; see `kind_of`."""
    head = stream.read(HEAD_BYTES)
    if head.startswith(ZIP_HEADS):
        return "zip"
    if is_header(head[:BLOCK]):
        return "tar"
    for magic, kind in PACKED.items():
        if head.startswith(magic):
            head += stream.read(BZIP2_BYTES) if kind == "tar.bz2" else b""
            return kind if is_header(_first_block(head, kind)) else ""
    return next((kind for magic, kind in OTHERS.items() if head.startswith(magic)), "")


def is_archive(head: bytes) -> bool:
    """Whether the first bytes are those of something packed, tar included where the whole first block is given."""
    return head.startswith((*ZIP_HEADS, *PACKED, *OTHERS)) or is_header(head[:BLOCK])


def _first_block(packed: bytes, kind: str) -> bytes:
    try:
        return unpacker(kind).decompress(packed, BLOCK)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        return b""
