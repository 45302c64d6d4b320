# SPDX-License-Identifier: Apache-2.0
"""From what a list writes for a picture to the file that it means."""

from __future__ import annotations

import functools
import os
import posixpath
from collections import defaultdict

from fireforge.base.pixels import SUFFIXES
from fireforge.data.sidefiles import part_of
from fireforge.data.tree import FolderTree, Tree

MOST_LETTERS = 4096  # of a path


class Pictures:
    """The pictures of a tree, found by the texts of a list.

    Args:
      tree: where they lie.
      folder: the folder of the list, "" for the top; paths count from it.
    """

    def __init__(self, tree: Tree, folder: str) -> None:
        self.tree = tree
        self.folder = folder
        self._inside: dict[str, bool] = {}

    def find(self, text: str, *, part: str = "") -> str:
        """The picture that a text names.

        Args:
          text: a path, with "/" or a backslash, counted from the list or from the top; or its end; or a name without
            its suffix.
          part: of several pictures that fit, the one that lies in a folder of this part is meant.

        Returns:
          Its name in the tree; "" where there is none, or several fit.
        """
        return self.exact(text) or self._by_end(text.replace("\\", "/"), part)

    def exact(self, text: str) -> str:
        """The picture at a path counted from the list or from the top; "" where there is none."""
        if not text or len(text) > MOST_LETTERS or "\0" in text:
            return ""
        for written in dict.fromkeys((text, text.replace("\\", "/"))):
            for base in dict.fromkeys((self.folder, "")):
                name = posixpath.normpath(posixpath.join(base, written))
                if self._is_there(name):
                    return name
        return ""

    def _is_there(self, name: str) -> bool:
        if name.startswith(("/", "../")) or name in ("", ".", ".."):
            return False
        if isinstance(self.tree, FolderTree):  # a look at one file, where a list of all may be long
            path = os.path.join(self.tree.root, name)
            return os.path.isfile(path) and self._lies_inside(path)
        return name in self._all

    def _lies_inside(self, path: str) -> bool:
        """Whether no link on the way leads out of the tree."""
        folder = os.path.dirname(path)
        if folder not in self._inside:
            self._inside[folder] = self._is_below(os.path.realpath(folder))
        return self._inside[folder] and (not os.path.islink(path) or self._is_below(os.path.realpath(path)))

    def _is_below(self, real: str) -> bool:
        return f"{real}{os.sep}".startswith(f"{self._real_root.rstrip(os.sep)}{os.sep}")

    @functools.cached_property
    def _real_root(self) -> str:
        return os.path.realpath(self.tree.root) if isinstance(self.tree, FolderTree) else ""

    def _by_end(self, text: str, part: str) -> str:
        """The only picture whose path ends like the text, with as many of its folders as agree."""
        pieces = [piece for piece in text[-MOST_LETTERS:].split("/") if piece not in ("", ".", "..")]
        if not pieces:
            return ""
        fits = [*self._ends.get(pieces[-1], ()), *self._stems.get(pieces[-1], ())]
        for depth in range(len(pieces), 0, -1):
            end = "/" + "/".join(pieces[-depth:])
            found = [
                name for name in fits if f"/{name}".endswith(end) or posixpath.splitext(f"/{name}")[0].endswith(end)
            ]
            if len(found) > 1 and part:
                found = [name for name in found if part_of(name) == part]
            if found:
                return found[0] if len(found) == 1 and self._is_there(found[0]) else ""
        return ""

    @functools.cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self.tree.names())

    @functools.cached_property
    def _ends(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._all):
            if name.lower().endswith(SUFFIXES):
                found[posixpath.basename(name)].append(name)
        return dict(found)

    @functools.cached_property
    def _stems(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for base, names in self._ends.items():
            found[posixpath.splitext(base)[0]] += names
        return dict(found)


def stamp(tree: Tree, name: str) -> tuple[int, int]:
    """What changes with a file: its size in bytes and time in nanoseconds; (0, 0) in an archive or where it is gone."""
    if not isinstance(tree, FolderTree):
        return 0, 0
    try:
        state = os.stat(os.path.join(tree.root, name))
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns
