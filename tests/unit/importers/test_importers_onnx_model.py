# SPDX-License-Identifier: Apache-2.0
"""Classifiers in ONNX files as imported models, and hostile files that nothing opens."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from fireforge.base.errors import FireforgeError
from fireforge.base.model import Card, Model, dense
from fireforge.base.onnx_walk import MESSAGES, MOST_BYTES, MOST_FIELDS, walk_onnx
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.reference import run_reference
from fireforge.export.targets import pack
from fireforge.importers.onnx_file import import_onnx
from fireforge.importers.onnx_model import import_onnx_model
from fireforge.nets.families import NETWORKS, build_graph
from fireforge.runtime.onnx_runtime import open_onnx

W = np.random.default_rng(1).normal(size=(5, 3, 3, 3)).astype(np.float32)
HEAD = [
    helper.make_node("Conv", ["data", "w"], ["a"], pads=[1, 1, 1, 1]),
    helper.make_node("GlobalAveragePool", ["a"], ["b"]),
]
ENDS = {
    "softmax, then flatten": [
        helper.make_node("Softmax", ["b"], ["c"], axis=1),
        helper.make_node("Flatten", ["c"], ["prob"]),
    ],
    "reshape of a fixed batch, then softmax": [
        helper.make_node("Reshape", ["b", "flat"], ["c"]),
        helper.make_node("Softmax", ["c"], ["prob"]),
    ],
    "softmax between two reshapes": [
        helper.make_node("Reshape", ["b", "flat"], ["c"]),
        helper.make_node("Softmax", ["c"], ["d"], axis=-1),
        helper.make_node("Reshape", ["d", "flat"], ["prob"]),
    ],
    "softmax of (N, K, 1, 1)": [helper.make_node("Softmax", ["b"], ["prob"], axis=1)],
}


def file_of(nodes: list[onnx.NodeProto], shape: tuple[int | str, ...] = (1, 3, 8, 8), **sizes: int) -> onnx.ModelProto:
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("prob", *sizes)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)],
        outputs,
        [numpy_helper.from_array(W, "w"), numpy_helper.from_array(np.asarray([1, 5]), "flat")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("end", sorted(ENDS))
def test_a_softmax_is_left_out_and_a_fixed_batch_is_opened(end: str, tmp_path: Path) -> None:
    """The softmax of what comes in is ONNX Runtime's answer of the file, of two pictures one by one; 1e-6: float32."""
    path = tmp_path / "net.onnx"
    path.write_bytes(file_of(HEAD + ENDS[end]).SerializeToString())
    found = import_onnx_model([path], None)
    assert (found.graph.inputs[0].name, found.graph.outputs) == ("input", ("logits",))
    assert found.graph.inputs[0].shape == ("N", 3, 8, 8)
    assert [note.split(" ")[1] for note in found.notes] == ["batch", "Softmax"]
    pictures = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    arrays = {name: form.array() for name, form in found.weights.items()}
    logits = run_reference(found.graph, arrays, {"input": pictures})["logits"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    want = np.concatenate([session.run(["prob"], {"data": pictures[i : i + 1]})[0].reshape(1, 5) for i in (0, 1)])
    power = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(power / power.sum(axis=1, keepdims=True), want, rtol=0, atol=1e-6)


def test_a_softmax_over_parts_of_the_classes_stays(tmp_path: Path) -> None:
    """Its rows are halves of the output; the order of classes depends on it."""
    split = [
        helper.make_node("Concat", ["b", "b"], ["c"], axis=3),
        helper.make_node("Softmax", ["c"], ["d"], axis=3),
        helper.make_node("Flatten", ["d"], ["prob"]),
    ]
    path = tmp_path / "net.onnx"
    path.write_bytes(file_of(HEAD + split).SerializeToString())
    assert "Softmax" in [node.op for node in import_onnx_model([path], None).graph.nodes]


def test_our_own_file_comes_back_with_steps_and_labels(tmp_path: Path) -> None:
    graph = build_graph(NETWORKS["firenet-small"](5, input_shape=(3, 16, 16)))
    rng = np.random.default_rng(0)
    arrays = {w.name: rng.uniform(0.1, 0.5, w.shape).astype(w.dtype) for w in graph.weights}
    steps = ImageSteps(channels=3, resize=(16, 16), crop=(16, 16))
    post = Postprocess(temperature=2.0)
    card = Card(preprocess=Preprocess(image=steps), postprocess=post, labels=tuple("abcde"), source="a test")
    path = tmp_path / "net.onnx"
    path.write_bytes(pack(Model(graph=graph, weights=dense(arrays), card=card)))
    found = import_onnx_model([path], None)
    assert (found.steps, found.labels, found.source) == (steps, tuple("abcde"), "a test")
    assert found.notes == ("the card's temperature of scores: left out",)
    x = rng.normal(size=(2, 3, 16, 16)).astype(np.float32)
    numbers = {name: form.array() for name, form in found.weights.items()}
    want = open_onnx(path).run({"input": x})["logits"]
    np.testing.assert_allclose(run_reference(found.graph, numbers, {"input": x})["logits"], want, rtol=1e-4, atol=1e-4)


def test_names_of_ours_that_are_taken_are_moved(tmp_path: Path) -> None:
    model = file_of([*HEAD, helper.make_node("Flatten", ["b"], ["prob"])], ("n", 3, 8, 8))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"a": "logits", "b": "input"}.get(name, name) for name in names]
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    found = import_onnx_model([path], None)
    assert [node.outputs for node in found.graph.nodes] == [("logits_",), ("input_",), ("logits",)]


@pytest.mark.parametrize(
    ("nodes", "shape", "word"),
    [
        ([helper.make_node("Relu", ["data"], ["prob"])], (1, 3, 8, 8), "the output is"),
        ([helper.make_node("Flatten", ["data"], ["prob"], axis=0)], (1, 3, 8, 8), "is not a size"),
        ([helper.make_node("Identity", ["data"], ["prob"])], (1, 5, 1, 1), "the output is"),
        ([*HEAD, helper.make_node("Flatten", ["b"], ["prob"])], (1, 3, "h", "w"), "need a number"),
        ([helper.make_node("Flatten", ["data"], ["prob"])], (1, 12), "inputs"),
        ([*HEAD, helper.make_node("Flatten", ["b"], ["prob"])], (1, 3, 2**20, 2**20), "numbers"),
    ],
)
def test_what_is_no_classifier_of_pictures_is_refused(nodes: list, shape: tuple, word: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(file_of(nodes, shape).SerializeToString())
    with pytest.raises(FireforgeError) as caught:
        import_onnx_model([path], None)
    assert caught.value.code in ("BAD_GRAPH", "BAD_SHAPE")
    assert word in caught.value.what


def field(number: int, body: bytes) -> bytes:
    """One part of a message with its length."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def nested(depth: int) -> bytes:
    """A model whose graph holds a node with a graph that holds a node, and so on."""
    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))
    return field(7, graph)


def outside(location: str, **more: str) -> list[bytes]:
    """Models with a tensor outside, at every place where a tensor can stand."""
    entries = {"location": location, **more}
    tensor = b"".join(field(13, field(1, k.encode()) + field(2, v.encode())) for k, v in entries.items())
    graphs = [field(5, tensor), field(15, field(1, tensor)), field(15, field(2, tensor))]
    for number in (5, 10):
        graphs.append(field(1, field(5, field(number, tensor))))
    graphs += [field(1, field(5, field(22, field(1, tensor)))), field(1, field(5, field(11, field(5, tensor))))]
    models = [field(7, graph) for graph in graphs]
    models += [field(25, field(7, field(5, field(5, tensor)))), field(20, field(1, field(5, tensor)))]
    return [*models, field(7, b"") + field(7, field(5, tensor)), field(7, field(5, b"\x70\x01"))]


@pytest.mark.parametrize(
    "given",
    [
        {"location": "../../etc/passwd"},
        {"location": "/etc/passwd"},
        {"location": "link", "offset": "0", "length": "4"},
        {"location": "w", "offset": "-8"},
        {"location": "w", "offset": "0", "length": "99999999999999999999"},
        {"location": ""},
    ],
)
def test_external_data_of_every_kind_is_refused_before_anything_parses_it(given: dict, tmp_path: Path) -> None:
    """The models are no whole ones: who parsed them first would say so. Importer and runtime refuse alike."""
    (tmp_path / "link").symlink_to("/etc/hostname")
    for number, data in enumerate(outside(**given)):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(data)
        for opened in (import_onnx, open_onnx, lambda p: import_onnx_model([p], None)):
            with pytest.raises(FireforgeError, match="EXTERNAL_DATA"):
                opened(path)


def test_a_graph_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    nodes = [helper.make_node("Add", ["data", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    path.write_bytes(file_of([*nodes, helper.make_node("Relu", ["b"], ["prob"])]).SerializeToString())
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*nothing before it makes"):
        import_onnx_model([path], None)


@pytest.mark.parametrize("depth", [30, 1000])
def test_deep_subgraphs_are_refused(depth: int) -> None:
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*within each other"):
        import_onnx(nested(depth))


def test_two_gigabytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with open(path, "wb") as stream:
        stream.truncate(MOST_BYTES + 1)  # takes no room on the disk
    begin = time.perf_counter()
    for opened in (import_onnx, open_onnx):
        with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE: .*2147483648 bytes"):
            opened(path)
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize("claim", [10, 2**31 - 1, 2**31, 2**63, 2**64 - 1])
def test_lengths_that_lie_are_refused(claim: int) -> None:
    for lie in (
        b"\x3a" + varint(claim),
        field(7, b"\x0a" + varint(claim)),
        field(7, field(5, b"\x4a" + varint(claim))),
    ):
        with pytest.raises(FireforgeError, match=rf"BAD_MODEL_FILE.*part \d of {claim} bytes"):
            import_onnx(lie + b"123456789")


def test_very_many_small_parts_are_refused() -> None:
    """Each empty node takes two bytes here and a hundred in memory."""
    with pytest.raises(FireforgeError, match=f"BAD_MODEL_FILE.*more than {MOST_FIELDS} parts"):
        import_onnx(field(7, b"\x0a\x00" * (MOST_FIELDS + 1)))


def test_the_walk_knows_every_part_that_holds_others() -> None:
    """Against the descriptors of the installed onnx: a message within a message is walked, or holds no message."""
    alias = {"Map": "MapTypeProto", "Tensor": "TensorTypeProto", "SparseTensor": "TensorTypeProto"}
    alias |= {"Sequence": "OfType", "Optional": "OfType"}
    waiting, seen = [onnx.ModelProto.DESCRIPTOR], set()
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        known = MESSAGES[alias.get(message.name, message.name)]
        for item in message.fields:
            if item.message_type is None:
                continue
            if item.number in known:
                assert known[item.number] == alias.get(item.message_type.name, item.message_type.name), item.full_name
                waiting.append(item.message_type)
            else:
                assert not any(inner.message_type for inner in item.message_type.fields), item.full_name


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 10**6),
)
def test_mangled_bytes_end_in_an_error_of_ours_or_none(changes: list, cut: int, tmp_path: Path) -> None:
    data = bytearray(file_of(HEAD + ENDS["softmax, then flatten"]).SerializeToString())
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path / "net.onnx"
    path.write_bytes(data[: 1 + cut % len(data)] if cut % 3 == 0 else data)
    with contextlib.suppress(FireforgeError):  # anything else fails the test
        import_onnx_model([path], None)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_the_walk_takes_any_bytes(data: bytes) -> None:
    with contextlib.suppress(FireforgeError):  # anything else fails the test
        walk_onnx(data, where="bytes")
