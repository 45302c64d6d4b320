# SPDX-License-Identifier: Apache-2.0
"""The central directory of a zip file, entry by entry, with every length checked and little held in memory.

Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

END = struct.Struct("<4s4H2LH")
END64_LOCATOR = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
ENCRYPTED = 0x2041  # flags: encrypted, strongly encrypted, headers masked
UTF8 = 0x0800
UNIX = (3, 19)  # systems that keep a Unix mode
DOS = (0, 10, 11, 14)  # systems that write "\\" between the parts of a name
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF


class Directory(NamedTuple):
    """Where a central directory lies.

    Args:
      at: where it begins.
      end: where it ends.
      prefix: bytes in front of the archive; offsets count from there.
      entries: as it declares.
      exact: whether that number is whole, not modulo 65,536.
      tail: bytes behind the archive that are not its comment.
    """

    at: int
    end: int
    prefix: int
    entries: int
    exact: bool
    tail: int


class Entry(NamedTuple):
    """One line of the directory.

    Args:
      name: decoded, with "/" between its parts.
      raw: the name as stored.
      encrypted: whether a password is needed.
      method: how it is packed.
      crc: CRC-32 of the unpacked bytes.
      stored: packed bytes.
      size: unpacked bytes.
      at: where its own header begins.
      mode: Unix mode; 0 where there is none.
    """

    name: str
    raw: bytes
    encrypted: bool
    method: int
    crc: int
    stored: int
    size: int
    at: int
    mode: int


def find_directory(stream: BinaryIO, file_bytes: int) -> Directory:
    """Where the central directory of a zip file lies.

    Args:
      stream: the file.
      file_bytes: its length.

    Returns:
      The place.

    Raises:
      ValueError: if there is none, or what is said of it cannot be.
    """
    tail_bytes = min(file_bytes, END.size + FULL16)
    tail = _read_at(stream, file_bytes - tail_bytes, tail_bytes)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + END.size > len(tail):
        raise ValueError("the directory at the end is missing")
    _, disk, first_disk, here, entries, size, offset, comment = END.unpack_from(tail, found)
    end = file_bytes - tail_bytes + found
    after = file_bytes - end - END.size - comment
    if after < 0:
        raise ValueError("it ends inside its last record")
    exact = False
    large = _end64(stream, end)
    if large is not None:
        end, (disk, first_disk, here, entries, size, offset), exact = large[0], large[1], True
    if disk or first_disk or here != entries:
        raise ValueError("it is one of several volumes")
    prefix = end - size - offset
    if prefix < 0:
        raise ValueError(f"{-prefix:,} bytes are missing")
    return Directory(end - size, end, prefix, entries, exact, after)


def walk(stream: BinaryIO, directory: Directory) -> Iterator[Entry]:
    """The entries of a directory, in its order.

    Args:
      stream: the file.
      directory: where they lie.

    Yields:
      Each entry; its offset counts from the beginning of the file.

    Raises:
      ValueError: if an entry is damaged or there are more or fewer than declared.
    """
    at, count = directory.at, 0
    while at < directory.end:
        head = _read_at(stream, at, CENTRAL.size)
        if len(head) < CENTRAL.size or not head.startswith(b"PK\x01\x02"):
            raise ValueError(f"entry {count + 1:,} of the directory is damaged")
        fields = CENTRAL.unpack(head)
        lengths = fields[10:13]  # of name, extra field and comment
        at += CENTRAL.size + sum(lengths)
        if at > directory.end:
            raise ValueError(f"entry {count + 1:,} of the directory is damaged")
        name, extra = stream.read(lengths[0]), stream.read(lengths[1])
        count += 1
        yield _entry(fields, name, extra, directory)
    declared = directory.entries if directory.exact else directory.entries % (FULL16 + 1)
    if declared != (count if directory.exact else count % (FULL16 + 1)):
        raise ValueError(f"the directory says {directory.entries:,} entries and holds {count:,}")


def decode_name(raw: bytes, *, utf8: bool, dos: bool) -> str:
    """A member's name; UTF-8 where it can be, since many writers do not say so, else code page 437."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = raw.decode("utf-8", "surrogateescape") if utf8 else raw.decode("cp437")
    return name.replace("\\", "/") if dos else name


def _entry(fields: tuple[int, ...], raw: bytes, extra: bytes, directory: Directory) -> Entry:
    made, flags, method, crc, stored, size = fields[1], fields[3], fields[4], fields[7], fields[8], fields[9]
    offset, system = fields[16], fields[1] >> 8
    if FULL32 in (stored, size, offset):
        size, stored, offset = _large(extra, size, stored, offset)
    name = decode_name(raw, utf8=bool(flags & UTF8), dos=system in DOS)
    mode = fields[15] >> 16 if made >> 8 in UNIX else 0
    at = offset + directory.prefix
    return Entry(name, raw, bool(flags & ENCRYPTED), method, crc, stored, size, at, mode)


def _large(extra: bytes, size: int, stored: int, offset: int) -> tuple[int, int, int]:
    """The three numbers with those that are full replaced from the zip64 field, in this order."""
    at, values = 0, [size, stored, offset]
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        at += 4
        if tag == 1:
            data = extra[at : at + length]
            for i, value in enumerate(values):
                if value == FULL32:
                    if len(data) < 8:
                        raise ValueError("a damaged zip64 field")
                    values[i] = int.from_bytes(data[:8], "little")
                    data = data[8:]
            break
        at += length
    return values[0], values[1], values[2]


def _end64(stream: BinaryIO, end: int) -> tuple[int, tuple[int, ...]] | None:
    """The large end record before the end record: where it begins, and its numbers; None where there is none."""
    at = end - END64_LOCATOR.size
    if at < END64.size or not _read_at(stream, at, 4).startswith(b"PK\x06\x07"):
        return None
    at -= END64.size
    record = _read_at(stream, at, END64.size)
    if not record.startswith(b"PK\x06\x06"):
        raise ValueError("the large end record is damaged")
    return at, END64.unpack(record)[4:]


def _read_at(stream: BinaryIO, at: int, count: int) -> bytes:
    stream.seek(at)
    return stream.read(count)
