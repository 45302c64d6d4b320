# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 and CIFAR-100 in their binary version; the Python version is pickled, and refused by name."""

from __future__ import annotations

import functools
import os
import posixpath
import re
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.sample import Sample
from fireforge.data.blocks import Block, read_block
from fireforge.data.dataset import Dataset, check_classes
from fireforge.data.formats.classfile import names_of
from fireforge.data.formats.format import Format
from fireforge.data.sidefiles import side_names
from fireforge.data.tree import FolderTree, Tree

ACCEPTS = "the binary version of CIFAR-10 (data_batch_1.bin ... test_batch.bin) or CIFAR-100 (train.bin, test.bin)"
SIDE_PX = 32
PIXELS = 3 * SIDE_PX * SIDE_PX
PICKLED = ({"data_batch_1", "batches.meta"}, {"train", "test", "meta"})  # names of the Python versions


@dataclass(frozen=True)
class _Kind:
    """One of the two sets: its files by part, the bytes before a picture, and where the class stands."""

    train: re.Pattern[str]
    test: str
    labels: int
    names: str
    classes: int


KINDS = (
    _Kind(re.compile(r"data_batch_\d\.bin"), "test_batch.bin", 1, "batches.meta.txt", 10),
    _Kind(re.compile(r"train\.bin"), "test.bin", 2, "fine_label_names.txt", 100),
)


def open_cifar(tree: Tree) -> Dataset:
    """The pictures of CIFAR's binary version, (32, 32, 3); of CIFAR-100 with the fine classes.

    Args:
      tree: the files.

    Returns:
      The dataset; sample names are file[row].

    Raises:
      FireforgeError: PICKLE for the Python version, BAD_CIFAR, BAD_LABELS, BAD_LAYOUT or ONE_CLASS.
    """
    names = side_names(tree)
    _refuse_pickles(tree, names)
    kind, folder = _find(names, tree.source)
    inside = [name for name in names if posixpath.dirname(name) == folder]
    inside.sort(key=lambda name: posixpath.basename(name) == kind.test)  # training pictures first
    labels = _class_names(tree, posixpath.join(folder, kind.names), inside, kind.classes)
    check_classes(labels, where=tree.source)
    blocks, samples = [], []
    for name in inside:
        base = posixpath.basename(name)
        part = "train" if kind.train.fullmatch(base) else "test" if base == kind.test else ""
        if part:
            numbers, pixels = _records(tree, name, kind, len(labels))
            blocks.append(Block(name, pixels))
            samples += [(name, row, int(number), part) for row, number in enumerate(numbers)]
    return Dataset(
        format="cifar",
        source=tree.source,
        labels=labels,
        samples=tuple(
            Sample(id=i, label=label, name=f"{name}[{row}]", part=part)
            for i, (name, row, label, part) in enumerate(samples)
        ),
        reader=functools.partial(read_block, tuple(blocks)),
    )


def is_cifar(tree: Tree) -> bool:
    """Whether the files of a binary or a Python version lie in a tree, not among class folders."""
    names = side_names(tree)
    return bool(_pickles(tree, names)) or any(_matches(names, kind) for kind in KINDS)


def _matches(names: list[str], kind: _Kind) -> set[str]:
    """Folders that hold training files of a set; of CIFAR-100, beside its class names or its test file."""
    folders = {posixpath.dirname(name) for name in names if kind.train.fullmatch(posixpath.basename(name))}
    if kind.labels == 1:
        return folders
    return {f for f in folders if {posixpath.join(f, kind.test), posixpath.join(f, kind.names)} & set(names)}


def _find(names: list[str], source: str) -> tuple[_Kind, str]:
    found = [(kind, folder) for kind in KINDS for folder in _matches(names, kind)]
    if len(found) != 1:
        what = "no training file of CIFAR" if not found else "files of several sets"
        raise FireforgeError("BAD_LAYOUT", what, where=source, allowed=ACCEPTS)
    return found[0]


def _class_names(tree: Tree, path: str, names: list[str], classes: int) -> tuple[str, ...]:
    if path not in names:
        return tuple(map(str, range(classes)))
    labels = names_of(tree.read(path))
    if len(labels) != classes:
        what = f"{len(labels)} different class names"
        raise FireforgeError("BAD_CIFAR", what, where=f"{tree.source}/{path}", allowed=f"{classes} lines of text")
    return labels


def _records(tree: Tree, name: str, kind: _Kind, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers (N,) and pixels (N, 3, 32, 32) of one file."""
    data, where = tree.read(name), f"{tree.source.rstrip('/')}/{name}"
    size = kind.labels + PIXELS
    if not data or len(data) % size:
        raise FireforgeError("BAD_CIFAR", f"{len(data):,} bytes", where=where, allowed=f"a multiple of {size:,}")
    table = np.frombuffer(data, np.uint8).reshape(-1, size)
    numbers = table[:, kind.labels - 1]
    wrong = np.flatnonzero(numbers >= classes)
    if len(wrong):
        what = f"class {numbers[wrong[0]]} of picture {wrong[0]}"
        raise FireforgeError("BAD_LABELS", what, where=where, allowed=f"0 to {classes - 1}")
    return numbers, table[:, kind.labels :].reshape(-1, 3, SIDE_PX, SIDE_PX)


def _pickles(tree: Tree, names: list[str]) -> list[str]:
    """The files of a Python version: they have its names, and begin as pickles do."""
    found = []
    for folder in {posixpath.dirname(name) for name in names}:
        inside = {posixpath.basename(name) for name in names if posixpath.dirname(name) == folder}
        for wanted in PICKLED:
            if wanted <= inside:
                found += [posixpath.join(folder, name) for name in sorted(wanted)]
    return [name for name in found if tree.head(name)[:1] == b"\x80"]


def _refuse_pickles(tree: Tree, names: list[str]) -> None:
    found = _pickles(tree, names)
    if found:
        raise FireforgeError(
            "PICKLE",
            f"{found[0]} is a pickle, which can run code when it is read; it was not opened",
            where=tree.source,
            allowed=ACCEPTS,
            do="the binary version of the same pictures: cifar-10-binary.tar.gz or cifar-100-binary.tar.gz",
        )


def _recognise(source: str) -> bool:
    return os.path.isdir(os.path.expanduser(source)) and is_cifar(FolderTree(source))


def _open(source: str) -> Dataset:
    return open_cifar(FolderTree(source))


CIFAR = Format(name="cifar", accepts=ACCEPTS, recognise=_recognise, open=_open)
