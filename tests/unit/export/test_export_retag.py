# SPDX-License-Identifier: Apache-2.0
"""Another card in a written file: all other bytes stay, and ONNX reads what is meant."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from fireforge.base.errors import FireforgeError
from fireforge.base.model import METADATA_KEY, Card, Tag
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.value import canonical_json
from fireforge.export.lean import lean_json
from fireforge.export.retag import retag, split_tag

STEPS = ImageSteps(channels=1, resize=None, crop=(2, 2), order="L", mean=(0.0,), std=(1.0,))
CARD = Card(preprocess=Preprocess(image=STEPS), postprocess=Postprocess(), labels=("ä", "b"))


def model(entries: dict[str, str]) -> onnx.ModelProto:
    """One node, and metadata in this order."""
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", info[:1], info[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    for key, value in entries.items():
        made.metadata_props.add(key=key, value=value)
    return made


@pytest.mark.parametrize("labels", [("ä", "b"), ("c" * 100, "d"), tuple("e" * 40 + str(i) for i in range(700))])
def test_only_the_tag_is_another(labels: tuple[str, ...]) -> None:
    """Reference: onnx itself writes the model with the other text. Lengths of one, two and three bytes."""
    old = Tag(card=CARD, weights="12", golden={"top": "x"})
    new = old.replace(card=CARD.replace(labels=labels))
    texts = [canonical_json(lean_json(tag)) for tag in (old, new)]
    before, wanted = (model({"first": "1", METADATA_KEY: text, "last": "2"}).SerializeToString() for text in texts)
    made = retag(before, new)
    assert made == wanted
    assert split_tag(made) == split_tag(before)
    assert retag(made, old) == before
    assert {p.key: p.value for p in onnx.ModelProto.FromString(made).metadata_props}[METADATA_KEY] == texts[1]


@pytest.mark.parametrize("entries", [{}, {"other": "1"}, {"fireforge2": "1"}])
def test_a_file_without_a_tag_is_refused(entries: dict[str, str]) -> None:
    with pytest.raises(FireforgeError, match="NO_CARD: metadata: 0 fireforge entries"):
        retag(model(entries).SerializeToString(), Tag(card=CARD))


def test_two_tags_and_broken_bytes_are_refused() -> None:
    data = model({METADATA_KEY: "{}"})
    data.metadata_props.add(key=METADATA_KEY, value="{}")
    with pytest.raises(FireforgeError, match="2 fireforge entries"):
        retag(data.SerializeToString(), Tag(card=CARD))
    with pytest.raises(FireforgeError, match="BAD_MODEL_FILE"):
        retag(model({METADATA_KEY: "{}"}).SerializeToString()[:-1], Tag(card=CARD))
