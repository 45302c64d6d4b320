# SPDX-License-Identifier: Apache-2.0
"""A tree of labels as a person writes it: groups with the names of their classes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.files import read_bytes
from fireforge.base.hedge import LabelTree
from fireforge.base.imagenet_groups import CLASSES, imagenet_tree
from fireforge.base.value import Json, Value

IMAGENET = "imagenet"
SYNSET = re.compile(r"n[0-9]{8}(?![0-9])")  # that a label may begin with
SYNSETS_SHA256 = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"  # of the 1000, joined by newlines
# a few classes whose names tell the order, from all over the list
ANCHORS: Mapping[int, str] = {
    0: "tench",
    1: "goldfish",
    9: "ostrich",
    22: "bald eagle",
    76: "tarantula",
    99: "goose",
    145: "king penguin",
    207: "golden retriever",
    281: "tabby",
    340: "zebra",
    388: "panda",
    404: "airliner",
    470: "candle",
    609: "jeep",
    701: "parachute",
    817: "sports car",
    852: "tennis ball",
    949: "strawberry",
    963: "pizza",
    985: "daisy",
}
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
    return tree_of(_read(Path(name)).groups, labels, where=name)


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
    """Refuse labels that do not show that they are ImageNet's in its own order, which is that of the synsets' ids."""
    synsets = [found[0] for label in labels if (found := SYNSET.match(label))]
    plain = [label.lower().replace("_", " ") for label in labels]
    if len(labels) != CLASSES:
        what = f"{len(labels)} labels"
    elif synsets:
        if hashlib.sha256("\n".join(synsets).encode("ascii")).hexdigest() == SYNSETS_SHA256:
            return
        what = "the labels' ids are others, or in another order"
    elif plain == [str(place) for place in range(CLASSES)]:
        return
    else:
        place = next((place for place, word in ANCHORS.items() if word not in plain[place]), None)
        if place is None:
            return
        what = f"the label {place} is {labels[place][:80]!r}, where {ANCHORS[place]!r} is due"
    ways = "labels that begin with the synsets' ids (n01440764), the classes' names, or the numbers from 0"
    raise _bad(what, IMAGENET, allowed=f"the {CLASSES} classes of ImageNet in the order of their synsets: {ways}")


def _read(path: Path) -> TreeFile:
    """The groups of a file; what JSON would pass over, a name that stands twice, is refused."""

    def once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for name, item in pairs:
            if name in found:
                raise _bad(f"{name[:80]!r} stands there twice", str(path), allowed="each name once")
            found[name] = item
        return found

    try:
        data = json.loads(read_bytes(path).decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise FireforgeError("BAD_JSON", f"not JSON that can be read: {error}", where=str(path)) from error
    return TreeFile.from_json(data)


def _few(names: Sequence[str] | Mapping[str, object]) -> str:
    told = ", ".join(repr(name) for name in list(names)[:NAMED])
    return told if len(names) <= NAMED else f"{told} and {len(names) - NAMED} more"


def _bad(what: str, where: str, *, allowed: str = "", do: str = "") -> FireforgeError:
    return FireforgeError("BAD_TREE", what, where=where, allowed=allowed, do=do)
