# SPDX-License-Identifier: Apache-2.0
"""Trees of labels as people write them: by names, in any order; what does not fit is named."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.imagenet_groups import imagenet_tree
from fireforge.base.tree_file import read_tree

LABELS = ("cat", "car", "dog", "bus", "cow", "cat")  # two classes are called cat
GROUPS = {
    "all": {},
    "animals": {"parent": "all", "classes": ["cow"]},
    "pets": {"parent": "animals", "classes": ["dog", "cat"]},
    "vehicles": {"parent": "all", "classes": ["bus", "car"]},
}


def written(folder: Path, groups: object) -> str:
    path = folder / "tree.json"
    path.write_text(json.dumps({"groups": groups}))
    return str(path)


def refused(folder: Path, **changes: object) -> str:
    """The message for a tree with some groups changed; None leaves one out."""
    groups = {name: branch for name, branch in {**GROUPS, **changes}.items() if branch is not None}
    with pytest.raises(FireforgeError) as caught:
        read_tree(written(folder, groups), LABELS)
    assert caught.value.code == "BAD_TREE"
    assert caught.value.where.endswith("tree.json")
    return caught.value.line()


def test_classes_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    """By hand: pets are 0, 2 and 5, so animals are those and 4."""
    names = list(GROUPS)
    for seed in range(5):
        random.Random(seed).shuffle(names)
        tree = read_tree(written(tmp_path, {name: GROUPS[name] for name in names}), LABELS)
        held = {name: row.nonzero()[0].tolist() for name, row in zip(tree.groups, tree.holds())}
        assert held == {"all": [0, 1, 2, 3, 4, 5], "animals": [0, 2, 4, 5], "pets": [0, 2, 5], "vehicles": [1, 3]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pets": {"parent": "animals", "classes": ["dog", "cat", "cta"]}}, ["'pets'", "'cta'"]),
        ({"animals": {"parent": "all", "classes": ["cow", "dog"]}}, ["'dog'", "'animals'", "'pets'"]),
        ({"vehicles": {"parent": "all", "classes": ["bus"]}}, ["1 classes", "'car'"]),
        ({"vehicles": {"parent": "everything", "classes": ["bus", "car"]}}, ["'vehicles'", "'everything'"]),
        ({"bus": {"parent": "all", "classes": []}}, ["the group 'bus'", "class"]),
        ({"birds": {"parent": "animals"}}, ["'birds'", "no class"]),
        ({"all": {"parent": "animals"}}, ["0 roots"]),
        ({"vehicles": {"classes": ["bus", "car"]}}, ["2 roots"]),
    ],
)
def test_what_does_not_fit_is_named(changes: dict, said: list[str], tmp_path: Path) -> None:
    line = refused(tmp_path, **changes)
    assert all(word in line for word in said), line


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"groups": {"all": {"class": []}}}', '{"groups": {"all": {"classes": [3]}}}']
)
def test_a_file_of_another_form_is_told_where(text: str, tmp_path: Path) -> None:
    (tmp_path / "tree.json").write_text(text)
    with pytest.raises(FireforgeError, match=r"BAD_JSON.*TreeFile"):
        read_tree(str(tmp_path / "tree.json"), LABELS)


def test_imagenet_is_for_its_1000_classes_in_order() -> None:
    synsets = [f"n{place:08d} thing" for place in range(1000)]
    assert read_tree("imagenet", synsets) == imagenet_tree()
    assert read_tree("imagenet", [str(place) for place in range(1000)]) == imagenet_tree()
    for labels, said in ((synsets[:-1], "999 labels"), (synsets[::-1], "another order")):
        with pytest.raises(FireforgeError, match=said):
            read_tree("imagenet", labels)


def test_another_name_is_refused() -> None:
    with pytest.raises(FireforgeError, match=r"BAD_TREE: cifar: .*imagenet, or a file such as"):
        read_tree("cifar", LABELS)
