# SPDX-License-Identifier: Apache-2.0
"""The data of zip members: found, unpacked in pieces and checked; and what can be read of a zip that is cut short."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from fireforge.data.archive.limits import Tally
from fireforge.data.archive.member import DEFLATED, STORED, Member, tidy
from fireforge.data.archive.zip_directory import ENCRYPTED, UTF8, Entry, decode_name

LOCAL = struct.Struct("<4s5H3L2H")
PIECE_BYTES = 2**16
SIZES_FOLLOW = 0x0008  # flag: crc and sizes stand behind the data


class Local(NamedTuple):
    """A member's own header.

    Args:
      raw: its name as stored.
      flags: its flags.
      method: how it is packed.
      crc: CRC-32, or 0 where it follows the data.
      stored: packed bytes, or 0.
      size: unpacked bytes, or 0.
      at: where the data begins.
    """

    raw: bytes
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    at: int


def read_local(stream: BinaryIO, at: int) -> Local:
    """The header that stands before a member's data.

    Args:
      stream: the file.
      at: where it begins.

    Returns:
      The header.

    Raises:
      ValueError: if there is none.
    """
    stream.seek(at)
    head = stream.read(LOCAL.size)
    if len(head) < LOCAL.size or not head.startswith(b"PK\x03\x04"):
        raise ValueError("its header is missing")
    _, _, flags, method, _, _, crc, stored, size, name_bytes, extra_bytes = LOCAL.unpack(head)
    raw = stream.read(name_bytes)
    if len(raw) < name_bytes:
        raise ValueError("its header is cut short")
    return Local(raw, flags, method, crc, stored, size, at + LOCAL.size + name_bytes + extra_bytes)


def locate(stream: BinaryIO, entry: Entry, end: int) -> Member:
    """The member of a directory's entry, its data found and read once.

    Args:
      stream: the file.
      entry: from the directory.
      end: where the directory begins; data may not reach over it.

    Returns:
      The member; its name is not tidied yet.

    Raises:
      ValueError: if its header is absent or another, or its data has another size or CRC than it declares.
    """
    local = read_local(stream, entry.at)
    if (local.raw, local.method) != (entry.raw, entry.method):
        raise ValueError("its header and the directory differ")
    if local.at + entry.stored > end:
        raise ValueError("its data is cut short")
    member = Member(entry.name, local.at, entry.stored, entry.size, entry.method, entry.crc)
    size, crc = 0, 0
    for piece in pieces(stream, member.at, member.stored, member.method):
        size += len(piece)
        crc = zlib.crc32(piece, crc)
        if size > member.size:
            raise ValueError(f"it holds more than the {member.size:,} bytes that it declares")
    if size < member.size:
        raise ValueError(f"it holds {size:,} bytes and declares {member.size:,}")
    if crc != member.crc:
        raise ValueError(f"its CRC-32 is {crc:08x} and should be {member.crc:08x}")
    return member


def unpack_member(member: Member, stored: bytes) -> bytes:
    """A member's bytes from its packed ones.

    Args:
      member: of any archive.
      stored: what lies in the file.

    Returns:
      The unpacked bytes.

    Raises:
      ValueError: if they do not unpack to the size and CRC of the member.
    """
    data = stored if member.method == STORED else _inflate(stored, member.size + 1)
    if len(stored) != member.stored or len(data) != member.size or member.crc not in (-1, zlib.crc32(data)):
        raise ValueError("its data is damaged")
    return data


def unpack_head(member: Member, stored: bytes, count: int) -> bytes:
    """The first bytes of a member from the first of its packed ones.

    Args:
      member: of any archive.
      stored: the beginning of what lies in the file.
      count: how many are wanted.

    Returns:
      At most so many.

    Raises:
      ValueError: if they do not unpack.
    """
    return stored[:count] if member.method == STORED else _inflate(stored, count)


def pieces(stream: BinaryIO, at: int, stored: int, method: int) -> Iterator[bytes]:
    """A member's unpacked bytes in pieces of at most 64 KiB, its checksum not looked at.

    Args:
      stream: the file; nobody else may move it meanwhile.
      at: where the data begins.
      stored: how many packed bytes there are; fewer are taken where a deflated stream ends before.
      method: 0 or 8.

    Yields:
      The pieces.

    Raises:
      ValueError: if the data is damaged or ends early.
    """
    stream.seek(at)
    left = stored
    worker = None if method == STORED else zlib.decompressobj(-zlib.MAX_WBITS)
    data = b""
    while left or worker is not None:
        if not data and left:
            data = stream.read(min(PIECE_BYTES, left))
            left -= len(data)
            if not data:
                raise ValueError("its data ends early")
        if worker is None:
            yield data
            data = b""
            continue
        try:
            out = worker.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            raise ValueError(f"its data is damaged: {error}") from error
        data = worker.unconsumed_tail
        if out:
            yield out
        if worker.eof:
            stream.seek(-len(worker.unused_data) - len(data), 1)
            return
        if not out and not data and not left:
            raise ValueError("its data ends early")


def readable(stream: BinaryIO, file_bytes: int, tally: Tally) -> tuple[int, str]:
    """What a zip without its directory still holds: members one after the other, each read whole.

    Args:
      stream: the file.
      file_bytes: its length.
      tally: a new one, that stops a bomb.

    Returns:
      How many files can be read before the first that cannot, and the name of the last of them.

    Raises:
      FireforgeError: ARC_BOMB or ARC_PATH.
    """
    stream.seek(0)
    at = max(stream.read(PIECE_BYTES).find(b"PK\x03\x04"), 0)
    count, last = 0, ""
    while at < file_bytes:
        try:
            local = read_local(stream, at)
            name = decode_name(local.raw, utf8=bool(local.flags & UTF8), dos=False)
            follows = bool(local.flags & SIZES_FOLLOW)
            if local.method not in (STORED, DEFLATED) or local.flags & ENCRYPTED or (follows and not local.method):
                break
            at = _pass(stream, local, file_bytes, tally, follows=follows)
        except ValueError:
            break
        name = tidy(name, source=tally.source)
        if not local.raw.endswith(b"/"):
            count, last = count + 1, name
    return count, last


def _pass(stream: BinaryIO, local: Local, file_bytes: int, tally: Tally, *, follows: bool) -> int:
    """Read one member's data; gives where the next header begins."""
    stored = file_bytes - local.at if follows else local.stored
    if local.at + stored > file_bytes:
        raise ValueError("its data is cut short")
    size, crc = 0, 0
    for piece in pieces(stream, local.at, stored, local.method):
        size += len(piece)
        crc = zlib.crc32(piece, crc)
        tally.check_total(tally.total_bytes + size, file_bytes)
    tally.add("", size=size, stored=size)
    if not follows:
        if (size, crc) != (local.size, local.crc):
            raise ValueError("its data is damaged")
        return local.at + stored
    end = stream.tell()
    behind = stream.read(4 + 20 + 2)
    skip = 4 if behind.startswith(b"PK\x07\x08") else 0
    for length in (12, 20):  # crc, then two sizes of 4 or of 8 bytes
        if len(behind) >= skip + length and behind[skip + length :][:2] in (b"", b"P", b"PK"):
            if int.from_bytes(behind[skip : skip + 4], "little") != crc:
                break
            return end + skip + length
    raise ValueError("what follows its data is damaged")


def _inflate(stored: bytes, count: int) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, count)
    except zlib.error as error:
        raise ValueError(f"its data is damaged: {error}") from error
