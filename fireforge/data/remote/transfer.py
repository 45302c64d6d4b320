# SPDX-License-Identifier: Apache-2.0
"""One file brought here: in a file beside its place, gone on with after a cut, checked, synced, and then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import cannot_write, make_folder, sync_folder
from fireforge.base.units import show_bytes
from fireforge.data.remote.address import public
from fireforge.data.remote.shelf import ELSEWHERE, Wanted
from fireforge.data.remote.source import Changed, Facts, NotReached, Source

PAUSES_S = (0.5, 2.0, 5.0)  # before each of the tries after a cut
GROWN = 2**20  # bytes after which the tries are counted anew


def check_room(folder: Path, wanted: Iterable[Wanted]) -> None:
    """Refuse what the disk has no room for.

    Args:
      folder: where it will stand.
      wanted: files, as far as their sizes are known.

    Raises:
      FireforgeError: CANNOT_WRITE.
    """
    make_folder(folder)
    here = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed = sum(max(0, item.facts.size) for item in wanted) - here
    free = shutil.disk_usage(folder).free
    if needed > free:
        what = f"{show_bytes(needed)} to fetch, {show_bytes(free)} free"
        raise FireforgeError("CANNOT_WRITE", what, where=str(folder), do=ELSEWHERE, exit_code=Exit.ENVIRONMENT)


def transfer(source: Source, item: Wanted, path: Path, *, tell: Callable[[int], None]) -> None:
    """Fetch a file that is not there yet.

    Args:
      source: where it comes from.
      item: the file.
      path: where it shall stand.
      tell: told how many bytes more are there; less than 0 where it begins anew.

    Raises:
      NotReached: the source gives it up.
      FireforgeError: DATA_CHANGED, NO_DATA or CANNOT_WRITE.
    """
    if path.is_file() and item.facts.version and path.stat().st_size == item.facts.size:
        tell(item.facts.size)
        return
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    if not item.facts.version or _is_older_than_boot(part):
        part.unlink(missing_ok=True)  # nobody can say whether it is of the same file, or all on the disk
    tell(_size(part))
    seen = ""
    while True:
        _fetch(source, item, part, tell)
        found = _md5(part) if item.facts.md5 else ""
        if found == item.facts.md5 or (seen == found and not item.facts.sure):
            break  # what comes twice is what is there: the tag was no MD5
        tell(-_size(part))
        part.unlink(missing_ok=True)
        if seen:
            what = f"its MD5 is {found}, the source says {item.facts.md5}; it was fetched twice"
            raise FireforgeError("NO_DATA", what, where=public(item.url), exit_code=Exit.ENVIRONMENT)
        seen = found
    try:
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def _fetch(source: Source, item: Wanted, part: Path, tell: Callable[[int], None]) -> None:
    """All bytes of a file into its part, in as many goes as it takes."""
    failures, best = 0, _size(part)
    while True:
        try:
            _go(source, item, part, tell)
            _check_length(item.facts, part)
            return
        except Changed:
            part.unlink(missing_ok=True)
            what = "it changed while it was fetched"
            do = "the same command again"
            raise FireforgeError("DATA_CHANGED", what, where=public(item.url), do=do) from None
        except NotReached as error:
            if _size(part) >= best + GROWN:
                failures, best = 0, _size(part)
            if not error.is_passing or failures >= len(PAUSES_S):
                raise
            time.sleep(PAUSES_S[failures])
            failures += 1


def _go(source: Source, item: Wanted, part: Path, tell: Callable[[int], None]) -> None:
    """One go: from the end of the part on, or from the beginning where the source cannot."""
    have = _size(part)
    if 0 <= item.facts.size <= have:
        if item.facts.size == have:
            return
        tell(-have)
        part.unlink()
        have = 0
    begun, pieces = source.pieces(item.url, have, item.facts)
    if begun == 0 and have:
        tell(-have)
    try:
        stream = open(part, "r+b" if begun else "wb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise cannot_write(part, error) from error
    with contextlib.closing(stream):
        stream.seek(begun)
        for piece in pieces:
            if 0 <= item.facts.size < begun + len(piece):
                raise Changed
            _write(stream.write, piece, part)
            begun += len(piece)
            tell(len(piece))
        _write(lambda _: stream.flush(), b"", part)
        _write(lambda _: os.fsync(stream.fileno()), b"", part)


def _write(write: Callable[[bytes], object], piece: bytes, part: Path) -> None:
    try:
        write(piece)
    except OSError as error:
        raise cannot_write(part, error) from error


def _check_length(facts: Facts, part: Path) -> None:
    if 0 <= facts.size != _size(part):
        raise NotReached(f"the transfer was cut: {_size(part):,} of {facts.size:,} bytes came")


def _is_older_than_boot(part: Path) -> bool:
    """Whether the machine went down since the part was written: its last bytes may then never have reached the disk."""
    if not part.exists():
        return False
    return part.stat().st_mtime < time.time() - time.clock_gettime(
        getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _md5(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
