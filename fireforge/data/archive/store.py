# SPDX-License-Identifier: Apache-2.0
"""Where an archive's bytes are read from: the file itself, or a packed tar unpacked once into a nameless file."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from fireforge.base.errors import Exit, FireforgeError
from fireforge.data.archive.limits import Limits, Tally
from fireforge.data.archive.unpack import unpacked


class Store(Protocol):
    """Bytes by offset; picklable, safe to be used by many threads and forks."""

    def read_at(self, at: int, count: int) -> bytes:
        """Bytes from an offset on.

        Args:
          at: the offset.
          count: how many.

        Returns:
          The bytes; fewer at the end.

        Raises:
          FireforgeError: NO_FILE or DATA_CHANGED, if the archive went away or is another one by now.
        """


@dataclass(frozen=True)
class Stamp:
    """A file as it was when it was first looked at.

    Args:
      source: as the user named it.
      path: with "~" replaced, absolute.
      size: in bytes.
      changed_ns: when it was last changed.
    """

    source: str
    path: str
    size: int
    changed_ns: int

    def open(self) -> BinaryIO:
        """The file, which must be the same still.

        Returns:
          It, open for reading; the caller closes it.

        Raises:
          FireforgeError: NO_FILE or DATA_CHANGED.
        """
        try:
            stream = open(self.path, "rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise no_file(self.source, error) from error
        try:
            self.check(stream)
        except FireforgeError:
            stream.close()
            raise
        return stream

    def check(self, stream: BinaryIO) -> None:
        """Refuse a file that was written to since it was stamped.

        Args:
          stream: the open file.

        Raises:
          FireforgeError: DATA_CHANGED.
        """
        found = os.fstat(stream.fileno())
        if (found.st_size, found.st_mtime_ns) != (self.size, self.changed_ns):
            raise FireforgeError("DATA_CHANGED", "the archive was changed since it was opened", where=self.source)


def stamp_of(source: str) -> Stamp:
    """The stamp of a file as it is now.

    Args:
      source: as the user named it.

    Returns:
      The stamp.

    Raises:
      FireforgeError: NO_FILE.
    """
    path = os.path.abspath(os.path.expanduser(source))
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise no_file(source, error) from error
    return Stamp(source, path, found.st_size, found.st_mtime_ns)


def no_file(source: str, error: OSError | ValueError) -> FireforgeError:
    """The error of an archive that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "cannot be read"
    return FireforgeError("NO_FILE", reason, where=source)


class FileStore:
    """The file itself, opened when it is first read; a `Store`.

    Args:
      stamp: of the file.
    """

    def __init__(self, stamp: Stamp) -> None:
        self.stamp = stamp
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle support: the open file stays here."""
        return (FileStore, (self.stamp,))

    def read_at(self, at: int, count: int) -> bytes:
        """Bytes from an offset on; see `Store`."""
        with self._lock:
            if self._file is None:
                self._file = self.stamp.open()
                weakref.finalize(self, self._file.close)
            self.stamp.check(self._file)
            return _pread(self._file, at, count, self.stamp.source)


@dataclass(frozen=True)
class BriefStore:
    """The file itself, opened for each reading, where there are too many files to keep them open; a `Store`.

    Args:
      stamp: of the file.
    """

    stamp: Stamp

    def read_at(self, at: int, count: int) -> bytes:
        """Bytes from an offset on; see `Store`."""
        with self.stamp.open() as stream:
            return _pread(stream, at, count, self.stamp.source)


class UnpackedStore:
    """A packed tar, unpacked when it is first read into a file that has no name and goes with the process; a `Store`.

    Each process does so for itself; only the stamp crosses a pickle.

    Args:
      stamp: of the packed file.
      kind: "tar.gz", "tar.bz2" or "tar.xz".
      limits: how much it may hold.
    """

    def __init__(self, stamp: Stamp, kind: str, limits: Limits) -> None:
        self.stamp = stamp
        self.kind = kind
        self.limits = limits
        self.notes: list[str] = []
        self.fault = ""  # why the stream ends before its end
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle support: the file stays here."""
        return (UnpackedStore, (self.stamp, self.kind, self.limits))

    def read_at(self, at: int, count: int) -> bytes:
        """Bytes from an offset on; see `Store`."""
        with self._lock:
            return _pread(self.unpack(), at, count, self.stamp.source)

    def unpack(self) -> BinaryIO:
        """Unpack the stream at the first call.

        Returns:
          It as a file; where the packed one is damaged, what came before.

        Raises:
          FireforgeError: ARC_BOMB, NO_FILE, DATA_CHANGED, or CANNOT_WRITE where the disk is full.
        """
        if self._file is None:
            stream = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this store
            weakref.finalize(self, stream.close)
            self._fill(stream)
            self._file = stream
        return self._file

    def _fill(self, target: BinaryIO) -> None:
        tally = Tally(self.stamp.source, packed_bytes=self.stamp.size, limits=self.limits)
        with self.stamp.open() as packed:
            try:
                for piece in unpacked(packed, self.kind, tally, self.notes):
                    _write(target, piece)
            except ValueError as error:
                self.fault = str(error)
        _write(target, b"")


def _write(target: BinaryIO, piece: bytes) -> None:
    """Write a piece; an empty one flushes."""
    try:
        if piece:
            target.write(piece)
        else:
            target.flush()
    except OSError as error:
        raise FireforgeError(
            "CANNOT_WRITE",
            error.strerror or "cannot be written",
            where=tempfile.gettempdir(),
            do="more room there, or another folder in TMPDIR",
            exit_code=Exit.ENVIRONMENT,
        ) from error


def _pread(stream: BinaryIO, at: int, count: int, source: str) -> bytes:
    """Bytes from an offset on; the position, which forks share, is left alone where the system can do so."""
    found = bytearray()
    try:
        while len(found) < count:
            if hasattr(os, "pread"):
                piece = os.pread(stream.fileno(), count - len(found), at + len(found))
            else:
                stream.seek(at + len(found))
                piece = stream.read(count - len(found))
            if not piece:
                break
            found += piece
    except OSError as error:
        raise no_file(source, error) from error
    return bytes(found)
