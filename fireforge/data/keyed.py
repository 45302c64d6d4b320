# SPDX-License-Identifier: Apache-2.0
"""What one key of a WebDataset says: its picture, and its class as its .cls, .json, .classname or .txt tells it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from fireforge.base.errors import FireforgeError
from fireforge.base.pixels import SUFFIXES
from fireforge.base.value import Json
from fireforge.data.archive.limits import place
from fireforge.data.columns import text_of
from fireforge.data.formats.classfile import MOST_LETTERS
from fireforge.data.outputs import BOXES, LABELS, Output, refusal
from fireforge.data.tree import HEAD_BYTES, Tree

CLASS, JSON, NAME, TEXT = "cls", "json", "classname", "txt"  # endings that tell a class, the surest first
NAMES = (NAME, "class_name", "cls_name", "label_name")
JSON_LABELS = ("cls", "label", "class", "class_id", "class_idx", "class_index", "label_id", "target")
JSON_NAMES = ("class_name", "classname", "label_name", "cls_name", "category")
PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "gif")  # of several pictures of one key, the first is meant
MOST_JSON = 2**20


@dataclass
class Key:
    """The members of one key.

    Args:
      pictures: names of members that are pictures by their names, the one that is meant first.
      sides: ending to name of the members that tell of it.
    """

    pictures: list[str] = field(default_factory=list)
    sides: dict[str, str] = field(default_factory=dict)


def keys_of(names: Iterable[str]) -> dict[str, Key]:
    """Members by key: what stands before the first dot of the last part of a name.

    Args:
      names: of all members, in order.

    Returns:
      Key to its members, in the order of the names.
    """
    found: dict[str, Key] = {}
    for name in names:
        key, ending = key_and_ending(name)
        item = found.setdefault(key, Key())
        if name.lower().endswith(SUFFIXES):
            item.pictures.append(name)
        else:
            item.sides.setdefault(ending, name)
    for item in found.values():
        if len(item.pictures) > 1:
            item.pictures.sort(key=_rank)
    return found


def key_and_ending(name: str) -> tuple[str, str]:
    """The key of a member, and what follows its first dot, in lower case."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def label_of(tree: Tree, sides: dict[str, str]) -> str:
    """The class that the members of a key tell, as text; "" where they tell none.

    Args:
      tree: where the members are.
      sides: ending to name.

    Returns:
      A number or a name.

    Raises:
      FireforgeError: BAD_LABELS or OUTPUT_KIND, naming the member; what reading it raises.
    """
    if CLASS in sides:
        return text_in(tree, sides[CLASS])
    if JSON in sides:
        found = json_in(tree, sides[JSON])
        key = next((key for key in (*JSON_LABELS, *JSON_NAMES) if found.get(key) is not None), "")
        if key:
            return _label(found[key], key, place(tree.source, sides[JSON]))
    name = next((sides[ending] for ending in NAMES if ending in sides), "")
    return text_in(tree, name) if name else ""


def name_of(tree: Tree, sides: dict[str, str]) -> str:
    """The name that goes with a class number, "" where there is none; arguments and errors as those of `label_of`."""
    name = next((sides[ending] for ending in (*NAMES, TEXT) if ending in sides), "")
    if name:
        return text_in(tree, name, strict=False)
    if JSON in sides:
        found = json_in(tree, sides[JSON])
        return next((text_of(found[key]) for key in JSON_NAMES if isinstance(found.get(key), str)), "")
    return ""


def text_in(tree: Tree, name: str, *, strict: bool = True) -> str:
    """The text of a short member without the space around it; where it is no such text, "" or an error if strict."""
    data = tree.head(name)
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        if not strict:
            return ""
        raise FireforgeError("BAD_LABELS", "a class that is not UTF-8", where=place(tree.source, name)) from error
    if strict and (len(data) >= HEAD_BYTES or len(text.splitlines()) > 1 or "\0" in text):
        what = "more than one line" if len(data) < HEAD_BYTES else f"{HEAD_BYTES} bytes or more"
        where = place(tree.source, name)
        raise FireforgeError("BAD_LABELS", what, where=where, allowed="a class number or name")
    return "" if len(data) >= HEAD_BYTES or len(text.splitlines()) > 1 else text


def json_in(tree: Tree, name: str) -> dict[str, Json]:
    """The object in a member; none where it holds anything else."""
    data = tree.read(name)
    try:
        if len(data) > MOST_JSON:
            raise ValueError(f"{len(data):,} bytes")
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        what = f"not JSON: {str(error)[:100]}"
        raise FireforgeError("BAD_LABELS", what, where=place(tree.source, name)) from error
    return found if isinstance(found, dict) else {}


def _label(value: Json, key: str, where: str) -> str:
    if isinstance(value, list) and len(value) != 1:
        raise refusal(Output(LABELS, f"lists under {key!r}"), where=where)
    if isinstance(value, dict):
        raise refusal(Output(BOXES, f"objects under {key!r}"), where=where)
    text = text_of(value).strip()
    if len(text) > MOST_LETTERS:
        raise FireforgeError("BAD_LABELS", f"a class name of {len(text):,} letters", where=where)
    return text


def _rank(name: str) -> tuple[int, str]:
    ending = key_and_ending(name)[1]
    return (PICTURES.index(ending) if ending in PICTURES else len(PICTURES), name)
