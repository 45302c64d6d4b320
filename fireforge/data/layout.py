# SPDX-License-Identifier: Apache-2.0
"""From the names of files to classes and parts, by the folders that they lie in; no file is touched here."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fireforge.base.errors import FireforgeError
from fireforge.data.dataset import PARTS
from fireforge.data.formats.folder import PART_NAMES, natural

Why = Callable[[str], tuple[str, str]]  # name -> code and reason why a file is no picture; ("", "") for a picture
LOOSE = {"OUTSIDE_CLASSES": "not inside a class folder", "OUTSIDE_PARTS": "not inside the folder of a part"}
CLASS_LEVELS = 2  # a class is a folder of the top, or of a part
EMPTY = ("EMPTY_FOLDER", "the folder holds no file")


@dataclass
class Layout:
    """Files by what they are for.

    Args:
      pictures: name, class and part ("" where there are none) of each picture, in order.
      skipped: name, code and reason of all else; a folder's name ends in "/".
    """

    pictures: list[tuple[str, str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class _Folder:
    """What lies right inside a folder; and, of folders that can be a part or a class, what lies anywhere below.

    Files are in order, those of a folder before those of its folders.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def lay_out(names: Iterable[str], why: Why, *, folders: Iterable[str] = (), source: str) -> Layout:
    """Classes and parts of files by their folders; the rules are those of `fireforge.data.formats.folder.open_folder`.

    Args:
      names: of all files, with "/" between their parts, hidden ones left out.
      why: whether a file is a picture; asked once a file at most.
      folders: names of folders that may hold no file, without a "/" at the end.
      source: for messages.

    Returns:
      The pictures and the rest.

    Raises:
      FireforgeError: BAD_LAYOUT, if several folders are the same part.
    """
    known: dict[str, tuple[str, str]] = {}

    def judge(name: str) -> tuple[str, str]:
        if name not in known:
            known[name] = why(name)
        return known[name]

    tree = _tree(sorted(names, key=order), folders)
    top, layout = tree[""], Layout()
    parts = _parts(tree, judge, source)
    _skip(layout, top.files, judge, "OUTSIDE_CLASSES")
    for folder in sorted(top.folders, key=lambda name: PARTS.index(parts[name]) if name in parts else len(PARTS)):
        if not parts:
            _take(layout, tree[folder], folder, "", judge)
        elif folder in parts:
            _skip(layout, tree[folder].files, judge, "OUTSIDE_CLASSES")
            for inner in tree[folder].folders:
                _take(layout, tree[inner], inner, parts[folder], judge)
        else:
            _skip(layout, tree[folder].below, judge, "OUTSIDE_PARTS")
    return layout


def order(name: str) -> tuple[tuple[int, object], ...]:
    """Sort key of a file: folder by folder in natural order, the files of a folder before its folders."""
    *above, last = name.split("/")
    return (*((1, natural(part)) for part in above), (0, natural(last)))


def top_folder(names: Iterable[str]) -> str:
    """The folder that everything lies in and that is only a wrapping, "" where there is none.

    A folder is a wrapping if everything lies in it, it is not called like a part, and holds a folder or a
    file that is not named like a picture: a class folder alone stays what it is.

    Args:
      names: of all files.

    Returns:
      Its name, several levels deep where wrappings lie in each other.
    """
    rest = [name.split("/") for name in names]
    found: list[str] = []
    while rest:
        first = rest[0][0]
        if any(len(parts) < 2 or parts[0] != first for parts in rest) or first.lower() in PART_NAMES:
            break
        inside = [parts[1:] for parts in rest]
        if not any(len(parts) > 1 or _describes(parts[0]) for parts in inside):
            break
        found.append(first)
        rest = inside
    return "/".join(found)


def _describes(name: str) -> bool:
    """Whether a file's name is that of data or of a list rather than of a picture or a note."""
    lower = name.lower()
    return lower.endswith((".csv", ".tsv", ".jsonl", ".npz", ".bin", ".gz")) or "ubyte" in lower


def _tree(names: list[str], folders: Iterable[str]) -> dict[str, _Folder]:
    """Every folder by its name, "" the top; names come in order."""
    tree: dict[str, _Folder] = {"": _Folder()}
    for name in names:
        folder = posixpath.dirname(name)
        _add(tree, folder)
        tree[folder].files.append(name)
        for above in _above(folder)[:CLASS_LEVELS]:
            tree[above].below.append(name)
    for folder in folders:
        _add(tree, folder)
    for name, item in tree.items():
        item.folders.sort(key=natural)
        if name and not item.folders and not item.files:
            for above in _above(name)[:CLASS_LEVELS]:
                tree[above].empty.append(name)
    return tree


def _add(tree: dict[str, _Folder], folder: str) -> None:
    """Put a folder and those above it into the tree."""
    for name in () if folder in tree else _above(folder):
        if name not in tree:
            tree[name] = _Folder()
            tree[posixpath.dirname(name)].folders.append(name)


def _above(folder: str) -> list[str]:
    """A folder and those above it but the top."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _parts(tree: dict[str, _Folder], judge: Why, source: str) -> dict[str, str]:
    """Folder to part, or nothing where the folders are classes."""
    top = tree[""].folders
    named = {folder: PART_NAMES[folder.lower()] for folder in top if folder.lower() in PART_NAMES}
    train = [tree[folder] for folder, part in named.items() if part == "train"]
    holds_folders_only = any(item.folders and not any(judge(name)[0] == "" for name in item.files) for item in train)
    if not holds_folders_only or (len(named) == 1 and len(top) > 1):
        return {}
    named = {folder: part for folder, part in named.items() if tree[folder].folders}
    if len(set(named.values())) < len(named):
        twice = ", ".join(sorted(named))
        raise FireforgeError("BAD_LAYOUT", f"several folders for the same part: {twice}", where=source)
    return named


def _take(layout: Layout, item: _Folder, folder: str, part: str, judge: Why) -> None:
    label = posixpath.basename(folder)
    for name in item.below:
        code, reason = judge(name)
        if code:
            layout.skipped.append((name, code, reason))
        else:
            layout.pictures.append((name, label, part))
    layout.skipped.extend((f"{name}/", *EMPTY) for name in item.empty)


def _skip(layout: Layout, names: list[str], judge: Why, code: str) -> None:
    for name in names:
        why = judge(name)
        layout.skipped.append((name, *(why if why[0] else (code, LOOSE[code]))))
