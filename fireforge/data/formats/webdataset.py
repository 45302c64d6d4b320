# SPDX-License-Identifier: Apache-2.0
"""WebDataset: archives whose members go together by key, 0001.jpg with 0001.cls; several shards are one dataset."""

from __future__ import annotations

import dataclasses
import functools
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fireforge.base.errors import FireforgeError
from fireforge.base.picture.sniff import refusal, sniff
from fireforge.base.sample import Noted, Sample, Skipped
from fireforge.data.archive.kind import SUFFIXES
from fireforge.data.archive.store import BriefStore, FileStore
from fireforge.data.archive.tree import open_archive
from fireforge.data.braces import has_braces, spelt_out
from fireforge.data.dataset import PARTS, Dataset, check_classes
from fireforge.data.formats.classfile import CLASS_FILES, class_names
from fireforge.data.formats.folder import PART_NAMES, natural
from fireforge.data.formats.format import Format
from fireforge.data.keyed import (
    CLASS,
    JSON,
    JSON_LABELS,
    JSON_NAMES,
    NAMES,
    Key,
    json_in,
    keys_of,
    label_of,
    name_of,
)
from fireforge.data.layout import order, top_folder
from fireforge.data.losses import refuse_losses
from fireforge.data.sidefiles import part_of
from fireforge.data.tree import Below, FolderTree, Tree, printable

ACCEPTS = (
    "a WebDataset: a tar with 0001.jpg and 0001.cls or 0001.json for each picture, a folder of such tars, or "
    "train-{000..003}.tar"
)
TAR_SUFFIXES = tuple(suffix for suffix, kind in SUFFIXES.items() if kind.startswith("tar"))
LOOKED_AT = 20  # JSON members that are opened to tell what an archive is
ENOUGH = 0.5  # share of the pictures that must have a class beside them


@dataclass(frozen=True)
class Shard:
    """One archive of several: its name below the source without suffix, its part, and its members."""

    name: str
    part: str
    tree: Tree
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[Noted, ...] = ()


@dataclass
class _Found:
    """Pictures that have a class: index of the shard, member, class as text, name of the class; and the rest."""

    pictures: list[tuple[int, str, str]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    named: bool = True
    lost: list[Skipped] = field(default_factory=list)
    others: list[Skipped] = field(default_factory=list)

    def call(self, label: str, name: str) -> None:
        """Note the name that goes with a class; where one class has two, or none, names are no names of classes."""
        self.named = name != "" and self.names.setdefault(label, name) == name


def open_shards(shards: Sequence[Shard], source: str) -> Dataset:
    """The pictures of WebDataset shards, shard by shard, in each in the natural order of names.

    The class is that of .cls, or of "cls", "label", "class" or the like in .json, or of .classname. Class numbers take
    names from classes.txt or labels.txt, or from .classname, .txt or .json where each number has one of its own.

    Args:
      shards: at least one, opened.
      source: kept in the dataset.

    Returns:
      The dataset; sample names are members, of several shards below the shard's name.

    Raises:
      FireforgeError: BAD_LABELS, OUTPUT_KIND, TOO_MANY_BAD, NO_DATA or ONE_CLASS; what reading a member raises.
    """
    found = _look(shards)
    total = len(found.pictures) + len(found.lost)
    refuse_losses(found.lost, total, where=source, unit="keys")
    if not found.pictures:
        raise FireforgeError("NO_DATA", "no picture with a class", where=source, allowed=ACCEPTS)
    labels, number = _classes(shards, found, source)
    check_classes(labels, where=source)
    return Dataset(
        format="webdataset",
        source=source,
        labels=tuple(map(printable, labels)),
        samples=_samples(shards, found, number),
        skipped=(*(item for shard in shards for item in shard.skipped), *found.others, *found.lost),
        notes=tuple(note for shard in shards for note in shard.notes),
        reader=functools.partial(
            _read, tuple(shard.tree for shard in shards), tuple((shard, name) for shard, name, _ in found.pictures)
        ),
    )


def is_webdataset(tree: Tree) -> bool:
    """Whether the members of an archive go together by key.

    Args:
      tree: the members; a few of JSON are read.

    Returns:
      True where half of the pictures have a .cls or .classname beside them, or have a .json that tells a class and do
      not lie in class folders.

    Raises:
      FireforgeError: what reading a member raises.
    """
    keys = [key for key in keys_of(tree.names()).values() if key.pictures]
    if not keys:
        return False
    if sum(CLASS in key.sides or any(name in key.sides for name in NAMES) for key in keys) >= ENOUGH * len(keys):
        return True
    described = [key for key in keys if JSON in key.sides]
    folders = {posixpath.dirname(key.pictures[0]) for key in keys}
    classes = {folder for folder in folders if folder and posixpath.basename(folder).lower() not in PART_NAMES}
    if len(described) < ENOUGH * len(keys) or len(classes) > 1:
        return False
    told = described[:: max(1, len(described) // LOOKED_AT)]
    return sum(_tells(tree, key) for key in told) >= ENOUGH * len(told)


def _tells(tree: Tree, key: Key) -> bool:
    try:
        found = json_in(tree, key.sides[JSON])
    except FireforgeError:
        return False
    return any(name in found for name in (*JSON_LABELS, *JSON_NAMES))


def _samples(shards: Sequence[Shard], found: _Found, number: dict[str, int]) -> tuple[Sample, ...]:
    return tuple(
        Sample(id=i, label=number[label], name=_name(shards[shard], name), part=shards[shard].part)
        for i, (shard, name, label) in enumerate(found.pictures)
    )


def _name(shard: Shard, name: str) -> str:
    return printable(posixpath.join(shard.name, name))


def _look(shards: Sequence[Shard]) -> _Found:
    """Every key of every shard, by what it is for."""
    found = _Found()
    for index, shard in enumerate(shards):
        for key, members in keys_of(sorted(shard.tree.names(), key=order)).items():
            _take(found, index, shard, key, members)
    return found


def _take(found: _Found, index: int, shard: Shard, key: str, members: Key) -> None:
    """One key: a picture with a class, or a reason why not."""
    if not members.pictures:
        if CLASS in members.sides:
            reason = "a class without a picture"
            found.lost.append(Skipped(name=_name(shard, key), code="NO_FILE", reason=reason))
        else:
            for name in (name for name in members.sides.values() if posixpath.basename(name) not in CLASS_FILES):
                found.others.append(Skipped(name=_name(shard, name), code="NO_KEY", reason="no picture of its key"))
        return
    name, *more = members.pictures
    for other in more:
        reason = f"another picture of the key of {printable(name)}"
        found.others.append(Skipped(name=_name(shard, other), code="DUP_KEY", reason=reason))
    head = shard.tree.head(name)
    if not sniff(head):
        error = refusal(head)
        found.others.append(Skipped(name=_name(shard, name), code=error.code, reason=error.what))
        return
    label = label_of(shard.tree, members.sides)
    if not label:
        found.lost.append(Skipped(name=_name(shard, name), code="NO_LABEL", reason="no class beside it"))
        return
    found.pictures.append((index, name, label))
    if found.named:
        found.call(label, name_of(shard.tree, members.sides))


def _classes(shards: Sequence[Shard], found: _Found, source: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """Class names, and the number of each class as the members spell it."""
    first = {label: (shard, name) for shard, name, label in reversed(found.pictures)}
    given = _given(shards, source)
    if not all(label.removeprefix("-").isdecimal() and label.isascii() for label in first):
        if given and set(first) <= set(given):
            return given, {label: index for index, label in enumerate(given)}
        labels = tuple(sorted(first, key=natural))
        return labels, {label: index for index, label in enumerate(labels)}
    for label, (shard, name) in first.items():
        if len(label) > 12 or int(label) < 0 or (given and int(label) >= len(given)):
            where = f"{shards[shard].tree.source}: {printable(name)[:200]}"
            allowed = f"0 to {len(given) - 1}, as many as there are class names" if given else "0 or more"
            raise FireforgeError("BAD_LABELS", f"class number {label[:40]}", where=where, allowed=allowed)
    if given:
        return given, {label: int(label) for label in first}
    values = sorted({int(label) for label in first})
    number = {label: values.index(int(label)) for label in first}
    if found.named and len(set(found.names.values())) == len(values) == len(first):
        names = {number[label]: name for label, name in found.names.items()}
        return tuple(names[index] for index in range(len(values))), number
    return tuple(map(str, values)), number


def _given(shards: Sequence[Shard], source: str) -> tuple[str, ...]:
    """Class names of a file beside the shards, or in the only one."""
    if os.path.isdir(os.path.expanduser(source)):
        return class_names(FolderTree(source), "")
    return class_names(shards[0].tree, "") if len(shards) == 1 else ()


def _read(trees: tuple[Tree, ...], members: tuple[tuple[int, str], ...], sample_id: int) -> bytes:
    shard, name = members[sample_id]
    return trees[shard].read(name)


def _shards(source: str) -> list[Shard]:
    """The shards of a folder or of a name with braces, opened, in the order of parts and names."""
    names = sorted(_names(source), key=natural)
    parts = {part_of(name) for name in names}
    if len(parts) > 1 and "" in parts:
        stray = next(name for name in names if not part_of(name))
        what = f"the shard {stray!r} names no part, and others do"
        raise FireforgeError("BAD_LAYOUT", what, where=source, allowed=ACCEPTS)
    names.sort(key=lambda name: PARTS.index(part_of(name)) if part_of(name) else 0)
    return [_shard(source, name, part_of(name) if len(parts) > 1 else "", alone=len(names) == 1) for name in names]


def _shard(source: str, name: str, part: str, *, alone: bool) -> Shard:
    path = os.path.join(source, name) if os.path.isdir(os.path.expanduser(source)) else name
    tree = open_archive(path)
    if isinstance(tree.store, FileStore):
        tree = dataclasses.replace(tree, store=BriefStore(tree.store.stamp))
    top = top_folder(tree.names())
    own = "" if alone else _stem(os.path.basename(name) if path == name else name)
    inside = functools.partial(posixpath.join, own)
    return Shard(
        own,
        part,
        Below(tree, top) if top else tree,
        tuple(item.replace(name=inside(item.name.removeprefix(f"{top}/"))) for item in tree.skipped),
        tuple(Noted(name=printable(os.path.basename(name)), code=code) for code in tree.notes),
    )


def _stem(name: str) -> str:
    suffix = next((suffix for suffix in TAR_SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def _names(source: str) -> Iterator[str]:
    """Names of the tars of a folder and of its folders for parts; or those that braces stand for."""
    root = os.path.expanduser(source)
    if not os.path.isdir(root):
        yield from (name for name in spelt_out(source))
        return
    for folder in ("", *(name for name in sorted(os.listdir(root)) if name.lower() in PART_NAMES)):
        path = os.path.join(root, folder)
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else ():
            is_tar = name.lower().endswith(TAR_SUFFIXES) and not name.startswith(".")
            if is_tar and os.path.isfile(os.path.join(path, name)):
                yield posixpath.join(folder, name)


def _open(source: str) -> Dataset:
    return open_shards(_shards(source), source)


def _recognise(source: str) -> bool:
    root = os.path.expanduser(source)
    if not os.path.exists(root):
        return "://" not in source and has_braces(source) and source.lower().endswith(TAR_SUFFIXES)
    if not os.path.isdir(root):
        return False  # an archive alone is told by what is in it, in `fireforge.data.formats.archive`
    try:
        with os.scandir(root) as entries:
            if any(entry.is_dir() and entry.name.lower() not in PART_NAMES for entry in entries):
                return False
        first = next(_names(source), "")
    except OSError:
        return False
    if not first:
        return False
    try:
        return is_webdataset(open_archive(os.path.join(source, first)))
    except FireforgeError:
        return True  # a folder of tars of which the first is damaged; opening it says so


WEBDATASET = Format(name="webdataset", accepts=ACCEPTS, recognise=_recognise, open=_open)
