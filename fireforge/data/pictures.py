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
            return os.path.isfile(os.path.join(self.tree.root, name))
        return name in self._all

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
                return found[0] if len(found) == 1 else ""
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
