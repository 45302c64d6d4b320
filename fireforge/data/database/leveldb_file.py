# SPDX-License-Identifier: Apache-2.0
"""A LevelDB read through plyvel in a temporary folder of links, since opening one writes into its folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fireforge.base.errors import FireforgeError
from fireforge.base.package import package
from fireforge.data.archive.store import no_file

TABLES = (".ldb", ".sst")  # written once, never changed: a link to one is as good as a copy
MOST_COPIED = 2**30  # bytes of the other files, which are copied
CACHE_BYTES = 16 * 2**20
PREFIX = "fireforge-leveldb-"
ALIVE = ".alive"
_LEFT: list[Any] = []  # databases that a fork has from its parent
_FOLDERS: dict[str, int] = {}  # of links, to the process that made each


@dataclass(frozen=True)
class Listing:
    """The files of a database as they were when it was opened.

    Args:
      source: the folder as the user named it.
      path: with "~" replaced, absolute.
      files: name, size in bytes and time in nanoseconds of each.
    """

    source: str
    path: str
    files: tuple[tuple[str, int, int], ...]


def listing_of(source: str) -> Listing:
    """The files of a LevelDB as they are now.

    Args:
      source: its folder.

    Returns:
      The listing.

    Raises:
      FireforgeError: NO_FILE.
    """
    path = os.path.abspath(os.path.expanduser(source))
    try:
        with os.scandir(path) as entries:
            kept = [entry for entry in entries if entry.is_file() and _is_part(entry.name)]
            files = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in kept]
    except OSError as error:
        raise no_file(source, error) from error
    return Listing(source, path, tuple(sorted(files)))


def is_leveldb(path: str) -> bool:
    """Whether a folder holds a LevelDB."""
    try:
        with open(os.path.join(path, "CURRENT"), "rb") as stream:
            return stream.read(9) == b"MANIFEST-"
    except OSError:
        return False


def remove_folders() -> None:
    """Remove what this process made in the temporary folder; for one that ends without Python's own end."""
    for folder in [folder for folder, owner in _FOLDERS.items() if owner == os.getpid()]:
        del _FOLDERS[folder]
        shutil.rmtree(folder, ignore_errors=True)


class LevelDb:
    """The records of a LevelDB, opened when it is first read, once in each process.

    Args:
      listing: of its files.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._lock = threading.Lock()
        self._open: tuple[int, Any] = (0, None)  # process and database: one cannot be shared with a fork

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle support: the open database stays here."""
        return (LevelDb, (self.listing,))

    def keys(self) -> list[bytes]:
        """Every key, in order.

        Returns:
          The keys.

        Raises:
          FireforgeError: BAD_DATABASE, NO_PACKAGE, NO_FILE or DATA_CHANGED.
        """
        with (
            self._reading() as database,
            database.iterator(include_value=False, verify_checksums=True, fill_cache=False) as found,
        ):
            return list(found)

    def read(self, key: bytes) -> bytes:
        """The value of a key.

        Args:
          key: one of `keys`.

        Returns:
          The bytes.

        Raises:
          FireforgeError: BAD_DATABASE, NO_PACKAGE, NO_FILE or DATA_CHANGED.
        """
        with self._reading() as database:
            value = database.get(key, verify_checksums=True)
        if value is None:
            raise FireforgeError(
                "BAD_DATABASE", f"no record {key[:60].decode('ascii', 'backslashreplace')}", where=self.listing.source
            )
        return bytes(value)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Any]:
        """The open database, for one reader at a time; what it says of damage becomes an error of ours."""
        with self._lock:
            database = self._database()
            try:
                yield database
            except self._errors() as error:
                raise self._bad(error) from error

    def _database(self) -> Any:
        owner, database = self._open
        if owner == os.getpid() and database is not None:
            return database
        if database is not None:
            _LEFT.append(database)  # its threads stayed with the parent: closing it here could wait for them for ever
        plyvel = package("plyvel", extra="sources")
        if listing_of(self.listing.source).files != self.listing.files:
            raise FireforgeError("DATA_CHANGED", "the database changed since it was opened", where=self.listing.source)
        folder = self._links()
        try:
            database = plyvel.DB(folder, create_if_missing=False, paranoid_checks=True, lru_cache_size=CACHE_BYTES)
        except (plyvel.Error, OSError) as error:
            raise self._bad(error) from error
        self._open = (os.getpid(), database)
        return database

    def _links(self) -> str:
        """A folder of links to the tables and of copies of all else; it goes with this object."""
        copied = sum(size for name, size, _ in self.listing.files if not name.endswith(TABLES))
        if copied > MOST_COPIED:
            what = f"{copied:,} bytes that are in no table yet"
            raise FireforgeError("BAD_DATABASE", what, where=self.listing.source, allowed=f"{MOST_COPIED:,} bytes")
        try:
            _sweep()
            folder, alive = _own_folder()
            _FOLDERS[folder] = os.getpid()
            weakref.finalize(self, _remove, folder, alive)
            for name, _, _ in self.listing.files:
                path = os.path.join(self.listing.path, name)
                if name.endswith(TABLES):
                    os.symlink(path, os.path.join(folder, name))
                else:
                    shutil.copyfile(path, os.path.join(folder, name))
            return folder
        except OSError as error:
            raise no_file(self.listing.source, error) from error

    def _errors(self) -> tuple[type[BaseException], ...]:
        plyvel = package("plyvel", extra="sources")
        return (plyvel.Error, OSError)

    def _bad(self, error: BaseException) -> FireforgeError:
        told = error.args[0] if error.args and isinstance(error.args[0], bytes) else str(error).encode()
        reason = told.decode("utf-8", "replace").split("/fireforge-leveldb-")[0][:120]
        what = f"a LevelDB that is damaged or cut off: {reason}"
        return FireforgeError("BAD_DATABASE", what, where=self.listing.source, do="copy it again")


def _is_part(name: str) -> bool:
    """Whether a file is one of the database, and not a lock or what was logged of its use."""
    return name == "CURRENT" or name.startswith("MANIFEST-") or name.endswith((*TABLES, ".log"))


def _own_folder() -> tuple[str, IO[str]]:
    """A new folder, and the file in it whose lock says that it is in use."""
    while True:
        folder = tempfile.mkdtemp(prefix=PREFIX)
        alive = open(os.path.join(folder, ALIVE), "w")  # noqa: SIM115 - held while the folder is used
        fcntl.flock(alive, fcntl.LOCK_EX)
        if os.path.exists(os.path.join(folder, ALIVE)):
            return folder, alive
        alive.close()  # another process swept it before it was locked


def _remove(folder: str, alive: IO[str]) -> None:
    """Remove the folder of links; a fork leaves that of its parent alone."""
    if _FOLDERS.pop(folder, 0) == os.getpid():
        shutil.rmtree(folder, ignore_errors=True)
    alive.close()


def _sweep() -> None:
    """Remove the folders of processes that were killed: nobody holds the lock in them any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            with open(folder / ALIVE) as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, another user's, or just being made
