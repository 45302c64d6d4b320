# SPDX-License-Identifier: Apache-2.0
"""Writing files so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from fireforge.base.errors import Exit, FireforgeError
from fireforge.base.value import Json, json_bytes

LEFT = re.compile(r"\..+\.([1-9][0-9]{0,8})\.(?:tmp|probe)")  # names of files that are gone but for a kill


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file whole: temporary file in the same folder, fsync, rename, fsync of the folder.

    Args:
      path: where the file shall stand; its folder must exist.
      data: the whole content.

    Returns:
      The path.

    Raises:
      FireforgeError: CANNOT_WRITE, if the folder is missing, not writable or full, or a folder or a device stands at
        the path; what stood there then stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _check_kind(path)
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error, needed=len(data)) from error
    finally:
        with contextlib.suppress(OSError):  # after a success there is none, and the first error is the one to tell
            temporary.unlink()
    return path


def sweep(folder: Path) -> None:
    """Remove what `write_bytes` and `prove_writable` left in a folder when their process was killed.

    Args:
      folder: of fireforge's own files alone, in which no other machine's process writes; not what lies deeper.
    """
    for path in folder.glob(".*"):
        left = LEFT.fullmatch(path.name)
        if left and not _lives(int(left[1])):
            with contextlib.suppress(OSError):  # it does no harm where it stays
                path.unlink()


def _lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file whole, in UTF-8; see `write_bytes`."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, data: Json) -> Path:
    """Write JSON for people: sorted by nothing, two spaces of indentation, NaN refused."""
    return write_bytes(path, json_bytes(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"))


def read_bytes(path: str | Path) -> bytes:
    """The content of a file.

    Args:
      path: of the file.

    Returns:
      Its bytes.

    Raises:
      FireforgeError: NO_FILE, if it is not there or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FireforgeError("NO_FILE", error.strerror or "cannot be read", where=str(path)) from error


def read_json(path: str | Path) -> Json:
    """The JSON of a file.

    Args:
      path: a UTF-8 text file.

    Returns:
      What it holds.

    Raises:
      FireforgeError: NO_FILE or BAD_JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FireforgeError("NO_FILE", error.strerror or "cannot be read", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise FireforgeError("BAD_JSON", f"not JSON: {error}", where=str(path)) from error


def make_folder(path: str | Path) -> Path:
    """Make a folder and its parents, and prove that it can be written to.

    Args:
      path: the folder.

    Returns:
      The path.

    Raises:
      FireforgeError: CANNOT_WRITE, if it is a file or may not be written.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise FireforgeError(
            "CANNOT_WRITE", "the folder may not be written", where=str(path), exit_code=Exit.ENVIRONMENT
        )
    return path


def prove_writable(path: str | Path) -> Path:
    """Prove that a file can be written, before work is spent on what shall stand in it.

    Args:
      path: of the file; its folder is made.

    Returns:
      The path.

    Raises:
      FireforgeError: CANNOT_WRITE; what stood there stays as it was.
    """
    path = Path(path)
    make_folder(path.parent)
    probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
    try:
        _check_kind(path)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def _check_kind(path: Path) -> None:
    """A rename would put a file in the place of a device or a pipe, which was somebody's."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "a device or a pipe stands there, not a file")


def cannot_write(path: Path, error: OSError, *, needed: int = 0) -> FireforgeError:
    """The error for a file or folder that cannot be written.

    Args:
      path: of it.
      error: what the system said.
      needed: bytes that were to be written; 0 where that is not known.

    Returns:
      CANNOT_WRITE; on a full disk with what is needed and what is free.
    """
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and needed:
        with contextlib.suppress(OSError):
            reason += f": {needed:,} bytes are needed, {shutil.disk_usage(path.parent).free:,} are free"
    return FireforgeError("CANNOT_WRITE", reason, where=str(path), do="another --out", exit_code=Exit.ENVIRONMENT)


def sha256_of_file(path: str | Path) -> str:
    """Sha256 of a file's bytes.

    Args:
      path: any file.

    Returns:
      64 hex digits.

    Raises:
      FireforgeError: NO_FILE, if it cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FireforgeError("NO_FILE", error.strerror or "cannot be read", where=str(path)) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to disk, so that a new file is still there after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
