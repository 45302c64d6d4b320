# SPDX-License-Identifier: Apache-2.0
"""Trees of labels as people write them: by names, in any order; what does not fit is named."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.imagenet_groups import imagenet_tree
from fireforge.base.tree_file import ANCHORS, read_tree

LABELS = ("cat", "car", "dog", "bus", "cow", "cat")  # two classes are called cat
DATA = os.environ.get("FIREFORGE_DATA")
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


def test_imagenet_is_for_its_1000_classes_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty names, the ids' digest, or the numbers; rising ids that are not ImageNet's prove nothing."""
    numbers = [str(place) for place in range(1000)]
    names = [f"{ANCHORS.get(place, 'Thing').title()}, {place}" for place in range(1000)]
    ids = [f"n{place:08d} thing" for place in range(1000)]
    for labels in (numbers, names, [name.replace(" ", "_") for name in names]):
        assert read_tree("imagenet", labels) == imagenet_tree()
    for labels, said in (
        (numbers[:-1], "999 labels"),
        (numbers[::-1], "'tench' is due"),
        (sorted(names), "is due"),
        ([f"class {place}" for place in range(1000)], "the label 0 is 'class 0', where 'tench' is due"),
        ([*names[:388], names[389], names[388], *names[390:]], "the label 388"),
        (ids, "ids are others"),
        ([*names[:-1], ids[-1]], "ids are others"),
    ):
        with pytest.raises(FireforgeError, match=f"BAD_TREE: imagenet: .*{said}.*order of their synsets: labels that"):
            read_tree("imagenet", labels)
    joined = "\n".join(label[:9] for label in ids)
    monkeypatch.setattr("fireforge.base.tree_file.SYNSETS_SHA256", hashlib.sha256(joined.encode()).hexdigest())
    assert read_tree("imagenet", ids) == imagenet_tree()


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="FIREFORGE_DATA is not set")
def test_imagenet_s_own_lists_are_taken_and_others_are_not() -> None:
    """The lists of the competition: ids, ids with names, names."""
    home = Path(DATA or "") / "imagenet_meta"
    words = (home / "synset_words.txt").read_text().splitlines()
    names = [line.split(" ", 1)[1] for line in words]
    for labels in ((home / "imagenet_synsets.txt").read_text().split(), words, names):
        assert read_tree("imagenet", labels) == imagenet_tree()
        for other in (labels[::-1], [*labels[1:], labels[0]]):
            with pytest.raises(FireforgeError, match="BAD_TREE"):
                read_tree("imagenet", other)
    with pytest.raises(FireforgeError, match="BAD_TREE"):
        read_tree("imagenet", sorted(names))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"groups": {"all": {}, "pets": {}, "pets": {}}}', "BAD_TREE: .*tree.json: 'pets' stands there twice"),
        ('{"groups": {"all": {"classes": ["cat"], "classes": []}}}', "BAD_TREE: .*'classes' stands there twice"),
        ("[" * 200_000, "BAD_JSON: .*tree.json: not JSON that can be read"),
        ('{"groups": {"all": {"classes": ' + "[" * 200_000, "BAD_JSON: .*tree.json"),
        (
            '{"groups": {"": {"classes": ["cat", "car", "dog", "bus", "cow"]}}}',
            "BAD_TREE: .*tree.json: .*without a name",
        ),
        ('{"groups": {"a\\u001b": {"classes": ["cat", "car", "dog", "bus", "cow"]}}}', "BAD_TREE: .*tree.json.*x1b'"),
    ],
)
def test_what_json_lets_through_is_refused_in_a_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "tree.json").write_text(text)
    with pytest.raises(FireforgeError, match=said) as caught:
        read_tree(str(tmp_path / "tree.json"), LABELS)
    assert caught.value.line().isprintable()


def test_another_name_is_refused() -> None:
    with pytest.raises(FireforgeError, match=r"BAD_TREE: cifar: .*imagenet, or a file such as"):
        read_tree("cifar", LABELS)
