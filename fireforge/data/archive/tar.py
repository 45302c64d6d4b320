# SPDX-License-Identifier: Apache-2.0
"""The members of a tar file, by one walk over its headers; the data between them is not read.

The walk is our own, since it must end early on every damage and never take a damaged header for the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from fireforge.base.errors import FireforgeError
from fireforge.data.archive.index import TRAILING, Index, damaged
from fireforge.data.archive.limits import DO, Tally, place
from fireforge.data.archive.member import Member, refuse_link, tidy
from fireforge.data.archive.tar_header import BLOCK, ZERO, Header, read_header, read_pax
from fireforge.data.tree import is_hidden

LINKS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
}
EXTENDED_BYTES = 2**20  # most that a long name or an extended header may take


@dataclass
class _Extra:
    """What extended headers say: of the next member, and of all that follow."""

    own: dict[str, bytes] = field(default_factory=dict)
    common: dict[str, bytes] = field(default_factory=dict)


def index_tar(stream: BinaryIO, total_bytes: int, tally: Tally, *, fault: str = "") -> Index:
    """Walk over a tar.

    Args:
      stream: the tar, not packed, at any position.
      total_bytes: its length.
      tally: what entries are held against.
      fault: why the stream ends where it does, if it was found to be damaged before.

    Returns:
      Its members and folders; hidden ones are left out.

    Raises:
      FireforgeError: ARC_PATH, ARC_LINK, ARC_BOMB, ARC_METHOD or ARC_TRUNCATED.
    """
    index, extra, at = Index(), _Extra(), 0
    while True:
        stream.seek(at)
        block = stream.read(BLOCK)
        try:
            if block == ZERO and not fault:
                _after_end(stream, index)
                return index
            if len(block) < BLOCK or block == ZERO:
                raise ValueError("it ends without the mark of its end")
            header = read_header(block)
            at += BLOCK
            if header.kind in b"LKxXg":
                _extend(extra, header, _extended(stream, header, tally))
                size = header.size
            else:
                size = _take(index, extra, header, at, total_bytes, tally)
        except ValueError as error:
            last = index.members[-1].name if index.members else ""
            reason = fault or f"{error} at byte {at:,}"
            raise damaged(tally.source, reason, readable=len(index.members), last=last) from error
        at += -(-size // BLOCK) * BLOCK


def _take(index: Index, extra: _Extra, header: Header, at: int, total_bytes: int, tally: Tally) -> int:
    """Put one file or folder into the index; gives the bytes of data that follow the header."""
    fields = {**extra.common, **extra.own}
    extra.own = {}
    raw = fields.get("path", header.name).decode("utf-8", "surrogateescape")
    name = tidy(raw, source=tally.source)
    if header.kind in LINKS:
        raise refuse_link(raw, LINKS[header.kind], source=tally.source)
    if header.kind not in (b"0", b"5", b"V") or any(key.startswith("GNU.sparse") for key in fields):
        what = "a sparse file" if header.kind in (b"0", b"S") else f"an entry of type {header.kind!r}"
        raise FireforgeError("ARC_METHOD", what, where=place(tally.source, raw), allowed="files and folders", do=DO)
    size = int(fields["size"]) if fields.get("size", b"").isdigit() else header.size
    size = size if header.kind == b"0" else 0
    tally.add(name, size=size, stored=size)
    if at + size > total_bytes:
        raise ValueError(f"it ends inside {name[:200]!a}")
    if header.kind == b"0" and name and not is_hidden(name):
        index.members.append(Member(name, at, size, size))
    elif header.kind == b"5" and name and not is_hidden(name):
        index.folders.append(name)
    return size


def _extended(stream: BinaryIO, header: Header, tally: Tally) -> bytes:
    if header.size > EXTENDED_BYTES:
        raise tally.bomb(f"an extended header of {header.size:,} bytes", f"{EXTENDED_BYTES:,} bytes")
    tally.add("", size=0, stored=0)
    data = stream.read(header.size)
    if len(data) < header.size:
        raise ValueError("it ends inside an extended header")
    return data


def _extend(extra: _Extra, header: Header, data: bytes) -> None:
    if header.kind == b"L":
        extra.own["path"] = data.partition(b"\0")[0]
    elif header.kind == b"g":
        extra.common.update(read_pax(data))
    elif header.kind in b"xX":
        extra.own.update(read_pax(data))


def _after_end(stream: BinaryIO, index: Index) -> None:
    """Note what stands behind the mark of the end; writers fill up with zeros."""
    while piece := stream.read(2**20):
        if piece.count(0) != len(piece):
            index.notes.append(TRAILING)
            return
