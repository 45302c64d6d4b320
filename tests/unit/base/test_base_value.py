# SPDX-License-Identifier: Apache-2.0
"""Values to JSON and back; the reference is the value itself, and JSON texts written by hand."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.budget import Budget
from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError
from fireforge.base.golden import Golden
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.machine import Hardware
from fireforge.base.model import Card, Tag
from fireforge.base.postprocess import Classification, Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.progress import Update
from fireforge.base.quant import Quantization, QuantPlan
from fireforge.base.record import Facts, RunRecord, StageReport
from fireforge.base.sample import Sample, Skipped
from fireforge.base.spec import NetSpec
from fireforge.base.trial import Augment, DataRef, Recipe, Trial
from fireforge.base.value import Value, canonical_json, sha256_of

STEPS = ImageSteps(channels=1, resize=(9, 8), crop=(8, 8), order="L", mean=(0.0,), std=(16.0,))
PRE = Preprocess(image=STEPS)
CARD = Card(preprocess=PRE, postprocess=Postprocess(), labels=("a", "ß"), licence="CC0-1.0")
QUANT = Quantization(scale=(0.5, 0.25), zero_point=(0, 0), axis=0)
NODE = Node(
    name="c",
    op="Conv",
    inputs=("x", "w", ""),
    outputs=("y",),
    attrs={"kernel_shape": (3, 3), "group": 1, "alpha": 1.0, "mode": "floor", "scales": (1.0, 2.5)},
)
GRAPH = Graph(
    inputs=(TensorType(name="x", shape=("N", 1, 8, 8)),),
    outputs=("y",),
    weights=(TensorType(name="w", shape=(2, 1, 3, 3)),),
    nodes=(NODE,),
)
COST = Cost(params=1, macs=2, activations=3, peak_activation_bytes=4, weight_bytes=5, wire_bytes=6)
SPEC = NetSpec(family="firenet", params={"width": 0.5, "norm": True, "depth": 3}, classes=10, input_shape=(1, 8, 8))
TRIAL = Trial(spec=SPEC, recipe=Recipe(epochs=2, augment=Augment(flip=True)), data=DataRef(source="d"), preprocess=PRE)
HARDWARE = Hardware(
    processor="p", architecture="x86_64", cores=2, memory_bytes=1, instructions=("avx2",), system="Linux 6"
)
FACTS = Facts(accuracy=0.5, interval=(0.4, 0.6), samples=10, macs=5, bytes=7)
RECORD = RunRecord(
    trial=TRIAL,
    trial_digest=TRIAL.digest(),
    metrics={"val/loss": (1.0, 0.5)},
    accuracy=None,
    seconds={"train": 1.5},
    samples={"train": 3},
    weights="weights/best.safetensors",
    weights_sha256="0" * 64,
    hardware=HARDWARE,
)
VALUES: list[Value] = [
    STEPS,
    ImageSteps(channels=3, resize=None, crop=(1, 2)),
    ImageSteps(channels=3, resize=256, crop=(224, 224), order="BGR"),
    PRE,
    CARD,
    Tag(card=CARD, golden=Golden(top="AA==").to_json()),
    QUANT,
    QuantPlan(activations={"x": QUANT}, weights={"w": QUANT}, float_nodes=("c",), method="m"),
    NODE,
    GRAPH,
    COST,
    SPEC,
    TRIAL,
    HARDWARE,
    FACTS,
    Facts(),
    RECORD,
    StageReport(stage="fold", before=FACTS, after=Facts(), notes=("n",), seconds=0.5),
    Budget(max_bytes=40_000, min_accuracy=0.98),
    Classification(labels=("a",), scores=(1.0,)),
    Sample(id=0, label=1, name="n"),
    Skipped(name="n", code="IMG_EMPTY", reason="r"),
    Update(stage="train", done=1.0),
    Golden(top=""),
]


def through_text(value: Value) -> Value:
    return type(value).from_json(json.loads(canonical_json(value.to_json())))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_value_equals_itself_after_json_text(value: Value) -> None:
    again = through_text(value)
    assert again == value
    assert again.digest() == value.digest()
    assert canonical_json(again.to_json()) == canonical_json(value.to_json())  # int stays int, float stays float


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_unknown_field_is_refused_by_name(value: Value) -> None:
    with pytest.raises(FireforgeError, match="unknown field 'colour'") as caught:
        type(value).from_json({**value.to_json(), "colour": 1})
    assert caught.value.code == "BAD_JSON"
    assert type(value).__name__ in caught.value.line()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"cores": "2"}, "Hardware.cores"),
        ({"cores": 2.0}, "Hardware.cores"),
        ({"cores": True}, "Hardware.cores"),
        ({"cores": None}, "Hardware.cores"),
        ({"instructions": "avx2"}, "Hardware.instructions"),
        ({"instructions": ["avx2", 3]}, "Hardware.instructions[1]"),
        ({"system": 6}, "Hardware.system"),
    ],
)
def test_mistyped_field_is_refused_with_its_place(change: dict[str, object], where: str) -> None:
    with pytest.raises(FireforgeError) as caught:
        Hardware.from_json({**HARDWARE.to_json(), **change})
    assert caught.value.where == where


@pytest.mark.parametrize("wrong", [[], "x", 3, None])
def test_something_else_than_an_object_is_refused(wrong: object) -> None:
    with pytest.raises(FireforgeError, match="BAD_JSON"):
        NetSpec.from_json(wrong)


def test_absent_field_without_default_is_refused_and_with_default_is_filled() -> None:
    with pytest.raises(FireforgeError, match="classes"):
        NetSpec.from_json({"family": "f", "input_shape": [1, 8, 8]})
    assert NetSpec.from_json({"family": "f", "classes": 2, "input_shape": [1, 8, 8]}).params == {}


def test_optional_member_tells_its_own_error() -> None:
    data = PRE.to_json()
    data["image"]["colour"] = 1
    with pytest.raises(FireforgeError, match="unknown field 'colour'") as caught:
        Preprocess.from_json(data)
    assert caught.value.where == "Preprocess.image"


@pytest.mark.parametrize("shape", [[1, 8], [1, 8, 8, 8], [1, 8, "8"]])
def test_tuple_of_other_length_or_type_is_refused(shape: list[object]) -> None:
    with pytest.raises(FireforgeError, match="input_shape"):
        NetSpec.from_json({"family": "f", "classes": 2, "input_shape": shape})


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1" + "0" * 400])
def test_numbers_that_are_not_finite_are_refused_on_the_way_in(text: str) -> None:
    with pytest.raises(FireforgeError, match="BAD_JSON"):
        Facts.from_json(json.loads('{"accuracy": ' + text + "}"))


def test_a_number_may_be_whole_and_never_a_truth_value() -> None:
    assert Facts.from_json({"accuracy": 1}).accuracy == 1.0
    for wrong in ({"accuracy": True}, {"samples": False}, {"accuracy": "1"}):
        with pytest.raises(FireforgeError, match="BAD_JSON"):
            Facts.from_json(wrong)


def test_numbers_that_are_not_finite_are_refused_on_the_way_out() -> None:
    with pytest.raises(FireforgeError, match="BAD_JSON"):
        Facts(accuracy=float("nan")).to_json()
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("inf")})


def test_canonical_json_and_digest_by_hand() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "ß"}) == '{"a":"ß","b":[1,2.5]}'
    assert sha256_of({"b": 1.0, "a": None}) == hashlib.sha256(b'{"a":null,"b":1}').hexdigest()
    assert sha256_of({"a": True}) != sha256_of({"a": 1})


def test_digest_depends_on_content_and_not_on_the_order_of_keys() -> None:
    other = NetSpec(
        family="firenet", params={"depth": 3, "norm": True, "width": 0.5}, classes=10, input_shape=(1, 8, 8)
    )
    assert other.digest() == SPEC.digest()
    assert SPEC.replace(classes=11).digest() != SPEC.digest()


def test_file_name_that_is_not_utf8_survives() -> None:
    value = Skipped(name=b"caf\xe9.jpg".decode("utf-8", "surrogateescape"), code="C", reason="r")
    assert through_text(value) == value
    assert len(value.digest()) == 64


def test_fields_that_came_later_leave_digests_of_before_as_they_were() -> None:
    """The digest is that of the version that did not have them; what is set is written and read."""
    before = "d34ab3261ab0fe7dca4782cc90a5e68944c0ab414215792de8464afbbb54b894"
    recipe = Recipe(epochs=2)
    assert recipe.digest() == before
    assert recipe.replace(whiten=False, bias_times=1.0).digest() == before
    other = recipe.replace(whiten=True, bias_times=2.0)
    assert other.digest() != before
    assert other.to_json()["whiten"] is True
    assert "whiten" not in recipe.to_json()
    assert through_text(other) == other
    assert through_text(recipe) == recipe


texts = st.text(st.characters(codec="utf-8"), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False)
attrs = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    numbers,
    texts,
    st.lists(st.integers(-9, 9), max_size=3).map(tuple),
    st.lists(numbers, min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(texts, attrs, max_size=4), st.lists(texts, max_size=3).map(tuple))
def test_any_node_survives_json(attributes: dict, names: tuple[str, ...]) -> None:
    node = Node(name="n", op="Conv", inputs=names, outputs=names, attrs=attributes)
    assert through_text(node) == node


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(texts, st.lists(numbers, max_size=3).map(tuple), max_size=3),
    st.none() | st.floats(0, 1),
    st.dictionaries(texts, st.integers(0, 10**12), max_size=3),
)
def test_any_record_survives_json(metrics: dict, accuracy: float | None, samples: dict) -> None:
    record = RECORD.replace(metrics=metrics, accuracy=accuracy, samples=samples)
    assert through_text(record) == record
    assert through_text(record).digest() == record.digest()
