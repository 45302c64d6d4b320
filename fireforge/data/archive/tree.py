# SPDX-License-Identifier: Apache-2.0
"""The files of an archive as a tree: looked through once, then read at random."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Skipped
from fireforge.data.archive.index import Index
from fireforge.data.archive.kind import PACKED, kind_of
from fireforge.data.archive.limits import DO, LIMITS, Limits, Tally, place
from fireforge.data.archive.member import STORED, Member, without_doubles
from fireforge.data.archive.store import FileStore, Stamp, Store, UnpackedStore, no_file, stamp_of
from fireforge.data.archive.tar import index_tar
from fireforge.data.archive.zip import index_zip
from fireforge.data.archive.zip_data import unpack_head, unpack_member
from fireforge.data.tree import HEAD_BYTES

ACCEPTS = "zip; tar, plain or packed by gzip, bzip2 or xz"
PACKED_HEAD_BYTES = 4 * HEAD_BYTES  # packed bytes from which the first unpacked ones always come


@dataclass(frozen=True)
class ArchiveTree:
    """The files of an archive; a `fireforge.data.tree.Tree`.

    Args:
      source: the archive as the user named it.
      members: its files by name, sorted; hidden ones left out.
      folders: names of folders that the archive names.
      skipped: files that cannot be used: damaged (ARC_CRC), or not the only ones of their name (ARC_DUP).
      notes: codes of what is odd about it, though it can be read: ARC_PREFIX, ARC_TRAILING.
      store: where bytes are read from.
    """

    source: str
    members: dict[str, Member] = field(repr=False)
    folders: tuple[str, ...] = field(repr=False)
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    store: Store = field(repr=False)

    def names(self) -> list[str]:
        """Every file, sorted; see `Tree`."""
        return list(self.members)

    def head(self, name: str) -> bytes:
        """The first bytes of a file, at most 512; see `Tree`."""
        member = self._member(name)
        wanted = HEAD_BYTES if member.method == STORED else PACKED_HEAD_BYTES
        stored = self.store.read_at(member.at, min(member.stored, wanted))
        try:
            return unpack_head(member, stored, HEAD_BYTES)
        except ValueError as error:
            raise self._damaged(name, error) from error

    def read(self, name: str) -> bytes:
        """A file whole, its CRC checked where the archive has one; see `Tree`."""
        member = self._member(name)
        stored = self.store.read_at(member.at, member.stored)
        try:
            return unpack_member(member, stored)
        except ValueError as error:
            raise self._damaged(name, error) from error

    def _member(self, name: str) -> Member:
        if name not in self.members:
            raise FireforgeError("NO_FILE", "no such file in the archive", where=place(self.source, name))
        return self.members[name]

    def _damaged(self, name: str, error: ValueError) -> FireforgeError:
        return FireforgeError("ARC_CRC", str(error), where=place(self.source, name))


def open_archive(source: str, *, limits: Limits = LIMITS, kind: str = "") -> ArchiveTree:
    """Look through an archive and refuse it where it is hostile, cut short, or of a kind that is not read.

    Every file of a zip is read once, so that a damaged one is known from the start. Nothing is written to disk, but
    that a packed tar is unpacked as one stream into a temporary file without a name.

    Args:
      source: the file.
      limits: how much it may hold.
      kind: what it is known to be; "" to look.

    Returns:
      Its tree.

    Raises:
      FireforgeError: ARC_PATH, ARC_LINK, ARC_BOMB, ARC_METHOD, ARC_TRUNCATED or NO_FILE.
    """
    stamp = stamp_of(source)
    kind = kind or kind_of(stamp.path)
    if kind == "zip":
        store: Store = FileStore(stamp)
        index = _look_zip(stamp, limits)
    elif kind == "tar":
        store = FileStore(stamp)
        index = _look_tar(stamp, limits)
    elif kind in PACKED.values():
        store = packed = UnpackedStore(stamp, kind, limits)
        index = _look_packed(packed, limits)
    else:
        what = f"an archive of the kind {kind}" if kind else "not an archive"
        raise FireforgeError("ARC_METHOD", what, where=source, allowed=ACCEPTS, do=DO)
    members, doubles = without_doubles(index.members)
    return ArchiveTree(
        source=source,
        members=members,
        folders=tuple(index.folders),
        skipped=(*index.skipped, *doubles),
        notes=tuple(dict.fromkeys(index.notes)),
        store=store,
    )


def _look_zip(stamp: Stamp, limits: Limits) -> Index:
    with stamp.open() as stream:
        try:
            return index_zip(stream, stamp.size, Tally(stamp.source, packed_bytes=stamp.size, limits=limits))
        except OSError as error:
            raise no_file(stamp.source, error) from error


def _look_tar(stamp: Stamp, limits: Limits) -> Index:
    with stamp.open() as stream:
        try:
            return index_tar(stream, stamp.size, Tally(stamp.source, packed_bytes=stamp.size, limits=limits))
        except OSError as error:
            raise no_file(stamp.source, error) from error


def _look_packed(store: UnpackedStore, limits: Limits) -> Index:
    stream = store.unpack()
    unpacked_bytes = stream.seek(0, 2)
    tally = Tally(store.stamp.source, packed_bytes=max(unpacked_bytes, store.stamp.size), limits=limits)
    index = index_tar(stream, unpacked_bytes, tally, fault=store.fault)
    index.notes.extend(store.notes)
    return index
