# SPDX-License-Identifier: Apache-2.0
"""Class names that stand in a text file of their own, a line each."""

from __future__ import annotations

import posixpath
import re

from fireforge.base.errors import FireforgeError
from fireforge.data.tree import Tree

CLASS_FILES = ("classes.txt", "class_names.txt", "categories.txt", "labels.txt")
MAX_BYTES = 16 << 20
MOST_LETTERS = 512  # of a class name
NUMBERED = re.compile(r"([0-9]{1,9})\s*[:,\t ]\s*(?=\S)")


def class_names(tree: Tree, folder: str) -> tuple[str, ...]:
    """The class names that a file beside a list gives.

    Args:
      tree: where it lies.
      folder: the folder of the list, "" for the top.

    Returns:
      The names in the order of class numbers; none where there is no such file, or it is no list of unique names.
    """
    for name in CLASS_FILES:
        path = posixpath.join(folder, name)
        try:
            head = tree.head(path)
        except FireforgeError:
            continue  # there is none of this name
        if head:
            found = names_of(tree.read(path))
            if found:
                return found
    return ()


def names_of(data: bytes) -> tuple[str, ...]:
    """The names in a text file's lines, without numbers that count from 0 before them; () where it is no such file."""
    if len(data) > MAX_BYTES:
        return ()
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        return ()
    lines = [line for line in lines if line]
    found = [NUMBERED.match(line) for line in lines]
    if lines and all(match is not None and int(match[1]) == index for index, match in enumerate(found)):
        lines = [line[match.end() :] for line, match in zip(lines, found) if match is not None]
    good = len(set(lines)) == len(lines) and all(len(line) <= MOST_LETTERS and "\0" not in line for line in lines)
    return tuple(lines) if good else ()
