# SPDX-License-Identifier: Apache-2.0
"""The files of a source that may describe its pictures: those beside them, not those among them."""

from __future__ import annotations

import os
import posixpath

from fireforge.base.errors import FireforgeError
from fireforge.data.formats.folder import PART_NAMES
from fireforge.data.tree import FolderTree, Tree, is_hidden, printable

BOX_FOLDERS = ("annotations", "annotation", "annots", "labels", "label", "xml", "xmls")  # where boxes usually lie
RAW_FOLDERS = (
    *(*BOX_FOLDERS, "raw", "images", "jpegimages"),
    *("cifar-10-batches-bin", "cifar-100-binary", "cifar-10-batches-py", "cifar-100-python"),
)
MOST_DEEP = 3  # folders above a describing file


def side_names(tree: Tree) -> list[str]:
    """The files that may describe the pictures; a folder on disk is not walked over for them.

    Args:
      tree: a folder or an archive.

    Returns:
      Names in the tree, sorted: files of the top, and of folders for a part, for annotations or for raw data, one in
      the other.

    Raises:
      FireforgeError: NO_DATA, if a folder cannot be listed.
    """
    if not isinstance(tree, FolderTree):
        folders = {name: posixpath.dirname(name) for name in tree.names()}
        return sorted(name for name, folder in folders.items() if not folder or is_side_folder(folder))
    found, waiting = [], [""]
    while waiting:
        folder = waiting.pop()
        for name, is_folder in _listed(tree, folder):
            if not is_folder:
                found.append(name)
            elif is_side_folder(name):
                waiting.append(name)
    return sorted(found)


def folders_in(tree: Tree, folder: str) -> list[str]:
    """Names of the folders right inside a folder of a tree, sorted; "" is the top."""
    if isinstance(tree, FolderTree):
        return sorted(posixpath.basename(name) for name, is_folder in _listed(tree, folder) if is_folder)
    start = f"{folder}/" if folder else ""
    inside = (name[len(start) :] for name in tree.names() if name.startswith(start))
    return sorted({name.split("/")[0] for name in inside if "/" in name})


def _listed(tree: FolderTree, folder: str) -> list[tuple[str, bool]]:
    """Name in the tree of every entry of a folder that is not hidden, and whether it is a folder."""
    try:
        with os.scandir(os.path.join(tree.root, folder)) as entries:
            found = [(posixpath.join(folder, entry.name), entry.is_dir(), entry.is_file()) for entry in entries]
    except OSError as error:
        raise FireforgeError("NO_DATA", error.strerror or "cannot be read", where=printable(tree.source)) from error
    return [(name, is_folder) for name, is_folder, is_file in found if not is_hidden(name) and (is_folder or is_file)]


def is_side_folder(name: str) -> bool:
    """Whether each part of a folder's name is that of a part, of annotations or of raw data."""
    parts = name.lower().split("/")
    return len(parts) <= MOST_DEEP and all(part in PART_NAMES or part in RAW_FOLDERS for part in parts)


def part_of(name: str) -> str:
    """The part that a file's name or one of its folders speaks of: "train", "val", "test" or ""."""
    stem = posixpath.splitext(posixpath.basename(name))[0].lower()
    words = "".join(letter if letter.isalnum() else " " for letter in stem).split()
    found = {PART_NAMES[word] for word in (*words, *posixpath.dirname(name).lower().split("/")) if word in PART_NAMES}
    return found.pop() if len(found) == 1 else ""
