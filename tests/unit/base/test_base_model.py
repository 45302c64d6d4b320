# SPDX-License-Identifier: Apache-2.0
"""A model's arrays and cards; the references are the forms' own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.hedge import Hedge, LabelTree
from fireforge.base.model import Card, Model, Tag, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.tensorform import Dense, Masked
from fireforge.base.value import canonical_json

CARD = Card(
    preprocess=Preprocess(image=ImageSteps(channels=3, resize=None, crop=(4, 4))),
    postprocess=Postprocess(),
    labels=("a",),
)
GRAPH = Graph(
    inputs=(TensorType(name="x", shape=("N", 2)),),
    outputs=("y",),
    weights=(TensorType(name="w", shape=(2,)),),
    nodes=(Node(name="n", op="Add", inputs=("x", "w"), outputs=("y",)),),
)


def test_arrays_are_the_forms_numbers() -> None:
    w = np.array([1.0, 2.0], np.float32)
    model = Model(graph=GRAPH, weights={"w": Masked(values=w, mask=np.array([True, False]))}, card=CARD)
    assert model.arrays()["w"].tolist() == [1, 0]


def test_replace_changes_a_copy() -> None:
    model = Model(graph=GRAPH, weights=dense({"w": np.zeros(2, np.float32)}), card=CARD)
    other = model.replace(weights=dense({"w": np.ones(2, np.float32)}))
    assert isinstance(other.weights["w"], Dense)
    assert other.arrays()["w"].tolist() == [1, 1]
    assert model.arrays()["w"].tolist() == [0, 0]
    assert other.card is model.card


def test_a_tag_of_1000_labels_is_read_back() -> None:
    tag = Tag(card=CARD.replace(labels=tuple(f"class {i}" for i in range(1000))), golden={"top": "AA=="})
    assert Tag.from_json(tag.to_json()) == tag
    assert len(canonical_json(Tag(card=CARD).to_json())) < 600


def test_a_card_whose_tree_has_other_classes_is_refused() -> None:
    n = len(CARD.labels)
    for classes in (n, n + 1):
        tree = LabelTree(parents={"all": ""}, members={"all": ((0, classes - 1),)})
        data = {**CARD.to_json(), "postprocess": Postprocess(hedge=Hedge(tree=tree)).to_json()}
        if classes == n:
            assert Card.from_json(data).labels == CARD.labels
            continue
        with pytest.raises(FireforgeError, match=f"BAD_TREE: card: a tree of {classes} classes for {n} labels"):
            Card.from_json(data)
