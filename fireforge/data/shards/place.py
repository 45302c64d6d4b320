# SPDX-License-Identifier: Apache-2.0
"""The folder that a dataset is packed into: never one that holds something else, and empty again after a failure."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.files import cannot_write, make_folder, sync_folder
from fireforge.base.units import show_bytes
from fireforge.data.remote.address import LOCAL, is_address, local_path, scheme_of
from fireforge.data.shards.layout import INDEX

MARK = "unfinished.txt"
MARK_TEXT = b"fireforge pack has not ended here; what stands in this folder is no dataset yet, and is made anew.\n"
OURS = re.compile(r"shard-[0-9]{5}\.bin|\.index\.ffs\.[0-9]+\.tmp")
SPARE = 1 << 20  # bytes that stay free


@contextlib.contextmanager
def packing_into(folder: Path) -> Iterator[Path]:
    """Hold a folder while a dataset is packed into it.

    It must be new, empty, or left by a packing that was killed, which is cleared. When the block ends with an error all
    that it wrote is taken away; a killed one leaves a mark by which the next begins anew.

    Args:
      folder: made where absent.

    Yields:
      The folder, empty but for the mark.

    Raises:
      FireforgeError: OUT_TAKEN where something else stands there or another process packs; CANNOT_WRITE.
    """
    new = not folder.exists()
    make_folder(folder)
    _refuse_others(folder)
    mark = folder / MARK
    try:
        handle = os.open(mark, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise cannot_write(mark, error) from error
    try:
        _hold(handle, folder)
        _refuse_others(folder)  # another process may have ended meanwhile
        _clear(folder)
        try:
            yield folder
        except BaseException:
            _clear(folder)
            _remove(mark)
            if new:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise
        _remove(mark)
        sync_folder(folder)
    finally:
        os.close(handle)


def refuse_taken(out: Path, data: str) -> None:
    """Refuse a place to pack to before any work is done.

    Args:
      out: a file that must not be there, or a folder that must be as `packing_into` wants it.
      data: what shall be packed, as the user named it; nothing is packed into its own folder.

    Raises:
      FireforgeError: OUT_TAKEN.
    """
    source = data if not is_address(data) else local_path(data) if scheme_of(data) in LOCAL else ""
    inside = Path(os.path.realpath(out))
    own = Path(os.path.realpath(os.path.expanduser(source)))
    if source and own.is_dir() and not (out / INDEX).exists() and (own == inside or own in inside.parents):
        raise _taken(out, "it lies within the data itself")
    if out.is_dir():
        _refuse_others(out)
    elif os.path.lexists(out):
        raise _taken(out, "something stands there already, which is left as it is")


def is_unfinished(folder: str) -> bool:
    """Whether a packing was begun in a folder and has not ended.

    Args:
      folder: "~" is understood.

    Returns:
      True where its mark stands and no index does.
    """
    path = Path(os.path.expanduser(folder))
    return not (path / INDEX).exists() and (path / MARK).is_file() and _is_ours(path / MARK)


def check_room(folder: Path, need: int) -> None:
    """Refuse work whose result would not fit on the disk.

    Args:
      folder: where it shall lie.
      need: bytes.

    Raises:
      FireforgeError: NO_ROOM.
    """
    free = shutil.disk_usage(folder).free
    if need + SPARE > free:
        raise FireforgeError(
            "NO_ROOM",
            f"it takes about {show_bytes(need)}, and {show_bytes(free)} are free",
            where=str(folder),
            do="another --out, or a smaller --size",
            exit_code=Exit.ENVIRONMENT,
        )


def _refuse_others(folder: Path) -> None:
    """A folder that holds anything but an unfinished packing of ours is left as it is."""
    names = set(os.listdir(folder))
    if INDEX in names:
        raise _taken(folder, "a packed dataset stands there already")
    if names and not (_is_ours(folder / MARK) and all(name == MARK or OURS.fullmatch(name) for name in names)):
        raise _taken(folder, "the folder is not empty")


def _is_ours(mark: Path) -> bool:
    """Whether a file is our mark; an empty one was left by a process that was killed while it began."""
    try:
        return mark.is_file() and mark.stat().st_size <= len(MARK_TEXT) and MARK_TEXT.startswith(mark.read_bytes())
    except OSError:
        return False


def _hold(handle: int, folder: Path) -> None:
    """Take the folder for this process, which the system gives back when it ends, and write the mark."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _taken(folder, "another process packs into it") from error
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, MARK_TEXT, 0)
        os.fsync(handle)
    except OSError as error:
        raise cannot_write(folder / MARK, error) from error


def _clear(folder: Path) -> None:
    for name in os.listdir(folder):
        if OURS.fullmatch(name) or name == INDEX:
            _remove(folder / name)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _taken(folder: Path, what: str) -> FireforgeError:
    return FireforgeError(
        "OUT_TAKEN", what, where=str(folder), allowed="a new name, or an empty folder", do="another --out"
    )
