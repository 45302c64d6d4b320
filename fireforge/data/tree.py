# SPDX-License-Identifier: Apache-2.0
"""Files below one source, by name: a folder here, an archive in `fireforge.data.archive`."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fireforge.base.errors import FireforgeError

HEAD_BYTES = 512  # enough to tell what a file is, a tar included
MAX_DEPTH = 32  # folders below the root
DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Tree(Protocol):
    """Named files of one source, read one by one; picklable.

    Names are relative and have "/" between their parts. Hidden files and those of __MACOSX are left out.
    """

    @property
    def source(self) -> str:
        """The path that a user gave."""

    def names(self) -> list[str]:
        """Every file, sorted."""

    def head(self, name: str) -> bytes:
        """The first bytes of a file, at most 512; fewer where the file is shorter."""

    def read(self, name: str) -> bytes:
        """A file whole.

        Args:
          name: one of `names`.

        Returns:
          Its bytes.

        Raises:
          FireforgeError: NO_FILE where there is no such file or it cannot be read, or a code of the archive.
        """


@dataclass(frozen=True)
class FolderTree:
    """The files below a folder; a `Tree`.

    Args:
      source: the folder as the user named it.
    """

    source: str

    @property
    def root(self) -> str:
        """The folder with "~" replaced."""
        return os.path.expanduser(self.source)

    def names(self) -> list[str]:
        """Every regular file below the folder, sorted; links are followed, but not round in a circle."""
        found: list[str] = []
        waiting: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(self.root),))]
        while waiting:
            folder, above = waiting.pop()
            for name, path in _listing(self.root, folder):
                if os.path.isdir(path):
                    real = os.path.realpath(path)
                    if real not in above and len(above) <= MAX_DEPTH:
                        waiting.append((name, (*above, real)))
                elif os.path.isfile(path):
                    found.append(name)
        return sorted(found)

    def head(self, name: str) -> bytes:
        """The first bytes of a file, at most 512; see `Tree`."""
        try:
            with open(os.path.join(self.root, name), "rb") as stream:
                return stream.read(HEAD_BYTES)
        except (OSError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def read(self, name: str) -> bytes:
        """A file whole; see `Tree`."""
        try:
            return Path(self.root, name).read_bytes()
        except (OSError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError | ValueError) -> FireforgeError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "cannot be read"
        return FireforgeError("NO_FILE", reason, where=f"{self.source.rstrip('/')}/{printable(name)}")


@dataclass(frozen=True)
class Below:
    """A folder of a tree as a tree of its own; a `Tree`.

    Args:
      tree: the whole.
      folder: name of the folder in it.
    """

    tree: Tree
    folder: str

    @property
    def source(self) -> str:
        """The path that a user gave."""
        return self.tree.source

    def names(self) -> list[str]:
        """Every file below the folder, sorted."""
        start = len(self.folder) + 1
        return [name[start:] for name in self.tree.names() if name.startswith(f"{self.folder}/")]

    def head(self, name: str) -> bytes:
        """The first bytes of a file; see `Tree`."""
        return self.tree.head(f"{self.folder}/{name}")

    def read(self, name: str) -> bytes:
        """A file whole; see `Tree`."""
        return self.tree.read(f"{self.folder}/{name}")


def is_hidden(name: str) -> bool:
    """Whether a file of this name is left out: a part begins with a dot or is __MACOSX."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def printable(name: str) -> str:
    """A name as it can be shown: control characters, direction marks and bytes that are not UTF-8 are escaped."""
    return name if name.isprintable() else "".join(map(_shown, name))


def _shown(letter: str) -> str:
    if 0xDC80 <= ord(letter) <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    if letter in DIRECTION_MARKS or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
        return letter.encode("unicode_escape").decode("ascii")
    return letter


def _listing(root: str, folder: str) -> list[tuple[str, str]]:
    """Name below the root and path of every entry of a folder that is not hidden."""
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            names = [entry.name for entry in entries]
    except OSError as error:
        raise FireforgeError(
            "NO_DATA", error.strerror or "cannot be read", where=printable(os.path.join(root, folder))
        ) from error
    kept = [f"{folder}/{name}" if folder else name for name in names if not is_hidden(name)]
    return [(name, os.path.join(root, name)) for name in kept]
