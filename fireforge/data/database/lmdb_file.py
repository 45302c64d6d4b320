# SPDX-License-Identifier: Apache-2.0
"""An LMDB read page by page, as a file: no lock is taken, nothing is mapped, and no number in it is believed.

LMDB's own library trusts the pages that it maps, so that a damaged file can end the process. A walk over the tree gives
the place of every value, and a value is then read at its place.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from fireforge.base.errors import FireforgeError
from fireforge.data.archive.store import FileStore, Stamp

MAGIC, VERSION = 0xBEEFC0DE, 1
HEAD = 16  # bytes of a page's head; those of a value on pages of its own begin behind it
META = struct.Struct("<II8x8x")  # magic, version, address, size of the map
TABLE = struct.Struct("<IHHQQQQQ")  # page size or pad, flags, depth, branch, leaf and overflow pages, entries, root
META_BYTES = HEAD + META.size + 2 * TABLE.size + 16
BRANCH, LEAF, OVERFLOW = 1, 2, 4  # flags of a page
BIG = 1  # flag of a node whose value lies on pages of its own
PLAIN_FLAGS = 0x02  # of a table: keys compared from their end; anything else changes what a node is
EMPTY = 2**64 - 1
PAGE_BYTES = (4096, 65536)  # a file of a terabyte has few enough of them to be counted
MOST_DEEP = 32


class Entry(NamedTuple):
    """Where a value lies.

    Args:
      key: as stored.
      at: offset in the file.
      size: bytes.
    """

    key: bytes
    at: int
    size: int


@dataclass(frozen=True)
class _Meta:
    """What one of the two first pages says: the newer of them holds."""

    page_bytes: int
    flags: int
    entries: int
    root: int
    turn: int


def lmdb_entries(stamp: Stamp) -> list[Entry]:
    """Every record of the main table, in the order of the keys.

    Args:
      stamp: of data.mdb.

    Returns:
      Keys with the places of their values, all within the file and none shared.

    Raises:
      FireforgeError: BAD_DATABASE, or NO_FILE or DATA_CHANGED.

    Source:
      LMDB 0.9, mdb.c: MDB_page, MDB_node, MDB_meta; of 64-bit little-endian machines.
    """
    try:
        return _Walk(stamp, _meta(FileStore(stamp), stamp.size)).entries()
    except (ValueError, struct.error) as error:
        raise FireforgeError(
            "BAD_DATABASE", f"an LMDB that is damaged or cut off: {error}", where=stamp.source, do="copy it again"
        ) from error


def is_lmdb(head: bytes) -> bool:
    """Whether a file begins like an LMDB, given its first 20 bytes or more."""
    return len(head) >= HEAD + 4 and struct.unpack_from("<I", head, HEAD)[0] == MAGIC


def _meta(store: FileStore, size: int) -> _Meta:
    """The newer of the two heads."""
    first = _read_meta(store.read_at(0, META_BYTES))
    if first is None:
        raise ValueError("its first page is none of LMDB's")
    second = _read_meta(store.read_at(first.page_bytes, META_BYTES))
    if second is None or second.page_bytes != first.page_bytes:
        raise ValueError("its second page is none of LMDB's")
    newest = max(first, second, key=lambda meta: meta.turn)
    if newest.flags & ~PLAIN_FLAGS:
        raise ValueError(f"a table with the flags {newest.flags:#x}, which hold several values a key")
    if newest.entries > size:
        raise ValueError(f"{newest.entries:,} records in {size:,} bytes")
    return newest


def _read_meta(page: bytes) -> _Meta | None:
    if len(page) < META_BYTES:
        return None
    magic, version = META.unpack_from(page, HEAD)
    free = TABLE.unpack_from(page, HEAD + META.size)
    main = TABLE.unpack_from(page, HEAD + META.size + TABLE.size)
    low, high = PAGE_BYTES
    if magic != MAGIC or not low <= free[0] <= high or free[0] & (free[0] - 1):
        return None
    if version != VERSION:
        raise ValueError(f"version {version} of the format, where {VERSION} is read")
    turn = struct.unpack_from("<Q", page, META_BYTES - 8)[0]
    return _Meta(free[0], main[1], main[6], main[7], turn)


class _Walk:
    """One walk over the tree of the main table.

    Args:
      stamp: of the file.
      meta: its head.
    """

    def __init__(self, stamp: Stamp, meta: _Meta) -> None:
        self.store = FileStore(stamp)
        self.size = stamp.size
        self.meta = meta
        self.seen = bytearray(stamp.size // meta.page_bytes + 1)  # of each page, so that no two records share one
        self.found: list[Entry] = []

    def entries(self) -> list[Entry]:
        waiting = [] if self.meta.root == EMPTY else [(self.meta.root, 0)]
        while waiting:
            number, depth = waiting.pop()
            page = self._page(number)
            kind, low = struct.unpack_from("<HH", page, 10)
            nodes = self._nodes(page, low, number)
            if kind & BRANCH and depth < MOST_DEEP:
                waiting.extend((_below(page, at), depth + 1) for at in reversed(nodes))
            elif kind & LEAF and not kind & ~(LEAF | 0x10):
                self.found.extend(self._leaf(page, at, number) for at in nodes)
            else:
                raise ValueError(f"page {number} is of the kind {kind:#x}")
        if len(self.found) != self.meta.entries:
            raise ValueError(f"{len(self.found):,} records where its head says {self.meta.entries:,}")
        return self.found

    def _page(self, number: int, count: int = 1) -> bytes:
        """The first of some pages that belong together, none of which was met before."""
        wide = self.meta.page_bytes
        if number < 2 or count < 1 or (number + count) * wide > self.size + wide - 1:
            raise ValueError(f"page {number} lies outside the file")
        if any(self.seen[number : number + count]):
            raise ValueError(f"page {number} is there twice")
        self.seen[number : number + count] = b"\1" * count
        return self.store.read_at(number * wide, wide)

    def _nodes(self, page: bytes, low: int, number: int) -> tuple[int, ...]:
        """Where the nodes of a page begin."""
        count = (low - HEAD) // 2
        if not 0 <= count <= (len(page) - HEAD) // 2:
            raise ValueError(f"page {number} has an impossible number of nodes")
        nodes = struct.unpack_from(f"<{count}H", page, HEAD)
        if any(at + 8 > len(page) for at in nodes):
            raise ValueError(f"a node lies outside page {number}")
        return nodes

    def _leaf(self, page: bytes, at: int, number: int) -> Entry:
        size, flags, letters = struct.unpack_from("<IHH", page, at)
        start = at + 8 + letters
        key = page[at + 8 : start]
        if flags & ~BIG or start > len(page):
            raise ValueError(f"a record of page {number} is no plain one")
        if not flags & BIG:
            if start + size > len(page):
                raise ValueError(f"a value of page {number} is longer than the page")
            return Entry(key=key, at=number * self.meta.page_bytes + start, size=size)
        (first,) = struct.unpack_from("<Q", page, start)
        wide = self.meta.page_bytes
        head = self._page(first, -(-(size + HEAD) // wide))
        if not struct.unpack_from("<H", head, 10)[0] & OVERFLOW or first * wide + HEAD + size > self.size:
            raise ValueError(f"the value of {key[:60]!r} does not lie in the file")
        return Entry(key=key, at=first * wide + HEAD, size=size)


def _below(page: bytes, at: int) -> int:
    """Number of the page that a node of a branch leads to."""
    low, high, more = struct.unpack_from("<HHH", page, at)
    return int(low | high << 16 | more << 32)
