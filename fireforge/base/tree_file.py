# SPDX-License-Identifier: Apache-2.0
"""A tree of labels as a person writes it: groups with the names of their classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_json
from fireforge.base.hedge import LabelTree
from fireforge.base.imagenet_groups import CLASSES, imagenet_tree
from fireforge.base.value import Value

IMAGENET = "imagenet"
SYNSET = re.compile(r"n\d{8}")  # that a label may begin with
NAMED = 5  # labels that an error lists
FORM = '{"groups": {"all": {}, "pets": {"parent": "all", "classes": ["cat", "dog"]}, ...}}'


@dataclass(frozen=True, kw_only=True)
class Branch(Value):
    """A group of a tree file.

    Args:
      parent: the group that it lies in; "" for the one that holds all others.
      classes: labels directly in it; those of the groups in it are not named again.
    """

    parent: str = ""
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TreeFile(Value):
    """A tree file.

    Args:
      groups: by name.
    """

    groups: dict[str, Branch]


def read_tree(name: str, labels: Sequence[str]) -> LabelTree:
    """The tree of a name or of a file, over a model's labels.

    Args:
      name: "imagenet" for the groups that come with fireforge, or a .json file.
      labels: of the model, in the order of its outputs.

    Returns:
      The tree.

    Raises:
      FireforgeError: NO_FILE or BAD_JSON; BAD_TREE, if it does not fit the labels: the group or label is named.
    """
    if name != IMAGENET and not name.lower().endswith(".json"):
        what = "neither a tree of ours nor a .json file"
        raise FireforgeError("BAD_TREE", what, where=name, allowed=f"{IMAGENET}, or a file such as {FORM}")
    if name == IMAGENET:
        _check_imagenet(labels)
        return imagenet_tree()
    return tree_of(TreeFile.from_json(read_json(Path(name))).groups, labels, where=name)


def tree_of(groups: Mapping[str, Branch], labels: Sequence[str], *, where: str) -> LabelTree:
    """A tree of groups that name their classes.

    Args:
      groups: by name, in any order.
      labels: of the model; where several classes have one label, its name means all of them.
      where: the file, for errors.

    Returns:
      The tree.

    Raises:
      FireforgeError: BAD_TREE, if a label is unknown, in no group or in two, a group is called like a class, a parent
        is no group, or the groups are no tree.
    """
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    owner: dict[str, str] = {}
    for name, branch in groups.items():
        if name in places:
            raise _bad(f"the group {name!r} is called like a class", where, do="another name for the group")
        if branch.parent and branch.parent not in groups:
            raise _bad(f"the group {name!r} lies in {branch.parent!r}, which is no group", where, allowed=_few(groups))
        for label in branch.classes:
            if label not in places:
                raise _bad(f"the group {name!r} names {label!r}, which is no label", where, allowed=_few(places))
            if label in owner:
                raise _bad(
                    f"the class {label!r} stands in {owner[label]!r} and in {name!r}", where, allowed="one group"
                )
            owner[label] = name
    if missing := [label for label in places if label not in owner]:
        raise _bad(f"{len(missing)} classes stand in no group: {_few(missing)}", where, allowed="each class in one")
    try:
        return LabelTree(
            parents={name: branch.parent for name, branch in groups.items()},
            members={
                name: _spans(sorted(place for label in branch.classes for place in places[label]))
                for name, branch in groups.items()
                if branch.classes
            },
        )
    except FireforgeError as error:
        raise _bad(error.what, where, allowed=error.allowed or FORM) from error


def _spans(places: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Ascending places as first and last of each unbroken run."""
    spans: list[tuple[int, int]] = []
    for place in places:
        if spans and spans[-1][1] == place - 1:
            spans[-1] = (spans[-1][0], place)
        else:
            spans.append((place, place))
    return tuple(spans)


def _check_imagenet(labels: Sequence[str]) -> None:
    """Refuse labels that cannot be ImageNet's in its own order, which is that of the synsets' numbers."""
    synsets = [SYNSET.match(label) for label in labels]
    numbers = [found[0] for found in synsets if found]
    if len(labels) != CLASSES or numbers != sorted(numbers):
        what = f"{len(labels)} labels" if len(labels) != CLASSES else "the labels are in another order"
        raise _bad(what, IMAGENET, allowed=f"the {CLASSES} classes of ImageNet in the order of their synsets")


def _few(names: Sequence[str] | Mapping[str, object]) -> str:
    told = ", ".join(repr(name) for name in list(names)[:NAMED])
    return told if len(names) <= NAMED else f"{told} and {len(names) - NAMED} more"


def _bad(what: str, where: str, *, allowed: str = "", do: str = "") -> FireforgeError:
    return FireforgeError("BAD_TREE", what, where=where, allowed=allowed, do=do)
