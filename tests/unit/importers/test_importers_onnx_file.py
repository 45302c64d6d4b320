# SPDX-License-Identifier: Apache-2.0
"""Reading ONNX: what was exported comes back the same; other files run to ONNX Runtime's numbers or are refused."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from fireforge.base.canonical import graph_digest
from fireforge.base.errors import FireforgeError
from fireforge.base.model import Card, Model, Tag, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.quant import QuantPlan, affine_of_range, symmetric_of_weight
from fireforge.base.reference import run_reference
from fireforge.export.onnx_file import onnx_bytes
from fireforge.export.qdq import lower
from fireforge.importers.onnx_file import import_onnx
from fireforge.nets.families import NETWORKS, build_graph

CARD = Card(
    preprocess=Preprocess(image=ImageSteps(channels=3, resize=(16, 16), crop=(16, 16))),
    postprocess=Postprocess(),
    labels=("a", "b"),
)


def network(name: str):
    graph = build_graph(NETWORKS[name](5, input_shape=(3, 16, 16)))
    rng = np.random.default_rng(0)
    return graph, {w.name: rng.uniform(0.1, 0.5, w.shape).astype(w.dtype) for w in graph.weights}


def one_node(
    op: str, constants: list[Any], *, shape=(2, 3, 8, 6), opset: int = 17, outputs: int = 1, **attrs: Any
) -> bytes:
    """A model of one node with constant inputs; None for one that is absent."""
    names = ["x", *("" if value is None else f"c{i}" for i, value in enumerate(constants))]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, made, **attrs)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made],
        [numpy_helper.from_array(np.asarray(v), f"c{i}") for i, v in enumerate(constants) if v is not None],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


W = np.random.default_rng(1).normal(size=(4, 3, 3, 2)).astype(np.float32)
FOREIGN = {
    "conv without kernel_shape, auto_pad": one_node("Conv", [W], auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv, auto_pad lower": one_node("Conv", [W], auto_pad="SAME_LOWER", strides=[2, 1]),
    "conv, auto_pad valid": one_node("Conv", [W], auto_pad="VALID"),
    "pool, auto_pad": one_node("MaxPool", [], auto_pad="SAME_UPPER", kernel_shape=[3, 3], strides=[2, 2]),
    "split in equal parts": one_node("Split", [], axis=2, outputs=2),
    "split of opset 18": one_node("Split", [], axis=2, outputs=3, opset=18, num_outputs=3),
    "slice without axes and steps": one_node("Slice", [ints(0, 1), ints(2, 3)]),
    "slice to the end": one_node("Slice", [ints(1), ints(2**63 - 1), ints(3), ints(2)]),
    "transpose without perm": one_node("Transpose", []),
    "clip above only": one_node("Clip", [None, np.float32(0.25)]),
    "pad with axes": one_node("Pad", [ints(1, 2), np.float32(0.5), ints(-1)], opset=18),
    "mean, axes an attribute": one_node("ReduceMean", [], axes=[2, 3], keepdims=0),
    "mean, axes an input": one_node("ReduceMean", [ints(1)], opset=18),
    "resize by scales": one_node("Resize", [None, np.asarray([1, 1, 2, 1.5], np.float32)], mode="linear"),
    "resize of axes": one_node("Resize", [None, None, ints(16, 12)], opset=18, axes=[2, 3]),
    "reshape": one_node("Reshape", [ints(0, -1)], allowzero=0),
    "reshape with allowzero, which has no zero": one_node("Reshape", [ints(2, -1)], allowzero=1),
    "dropout": one_node("Dropout", [np.float32(0.5), np.asarray(False)]),
    "shape (N) of opset 13": one_node("Softmax", [], shape=("batch", 3, 8, 6), opset=13, axis=1),
}


def run_ort(data: bytes, inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: inputs})


@pytest.mark.parametrize("name", ["firenet-small", "resnet-small", "mobilenet-small"])
def test_what_was_exported_comes_back_the_same(name):
    """Digest, numbers (exactly: the same reference on the same arrays), tag; exporting again gives the same bytes."""
    graph, arrays = network(name)
    tag = Tag(card=CARD, golden={"top": "abc"})
    data = onnx_bytes(graph, arrays, tag=tag)
    back, numbers, found = import_onnx(data)
    assert graph_digest(back) == graph_digest(graph)
    assert found == tag
    inputs = np.random.default_rng(2).normal(size=(2, 3, 16, 16)).astype(np.float32)
    want = run_reference(graph, arrays, {"input": inputs})["logits"]
    np.testing.assert_array_equal(run_reference(back, numbers, {"input": inputs})["logits"], want)
    assert onnx_bytes(back, numbers, tag=found) == data


def test_a_quantized_file_comes_back_the_same():
    graph, arrays = network("firenet-small")
    convolutions = [node for node in graph.nodes if node.op == "Conv"]
    plan = QuantPlan(
        activations={"input": affine_of_range(-2, 2), **{n.outputs[0]: affine_of_range(-9, 9) for n in convolutions}},
        weights={n.inputs[1]: symmetric_of_weight(arrays[n.inputs[1]], 0) for n in convolutions},
    )
    lowered, numbers = lower(Model(graph=graph, weights=dense(arrays), card=CARD, quant=plan))
    back, found, _ = import_onnx(onnx_bytes(lowered, numbers))
    assert graph_digest(back) == graph_digest(lowered)
    assert sorted(a.tobytes() for a in found.values()) == sorted(a.tobytes() for a in numbers.values())


@pytest.mark.parametrize("form", sorted(FOREIGN))
def test_foreign_forms_run_as_in_onnx_runtime(form):
    """Tolerance 1e-5: float32 sums in another order."""
    data = FOREIGN[form]
    graph, arrays, tag = import_onnx(data)
    assert tag is None
    inputs = np.random.default_rng(3).normal(size=(2, 3, 8, 6)).astype(np.float32)
    got = run_reference(graph, arrays, {"x": inputs})
    for name, want in zip(graph.outputs, run_ort(data, inputs), strict=True):
        assert got[name].shape == want.shape
        np.testing.assert_allclose(got[name], want, rtol=0, atol=1e-5)


def test_an_open_batch_is_called_n():
    graph, _, _ = import_onnx(FOREIGN["shape (N) of opset 13"])
    assert graph.inputs[0].shape == ("N", 3, 8, 6)


def test_a_torch_module_written_by_hand_in_onnx_comes_in(tmp_path):
    """Numbers against torch itself; tolerance 1e-5: float32 sums in another order."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU6(),
        torch.nn.MaxPool2d(2, ceil_mode=True),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(6, 4),
    ).eval()
    x = torch.randn(2, 3, 9, 7)
    path = tmp_path / "torch.onnx"
    nodes = [
        helper.make_node("Conv", ["x", "0.weight"], ["a"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["a", "1.weight", "1.bias", "1.running_mean", "1.running_var"], ["b"]),
        helper.make_node("Constant", [], ["low"], value_float=0.0),
        helper.make_node("Constant", [], ["high"], value=numpy_helper.from_array(np.float32(6))),
        helper.make_node("Clip", ["b", "low", "high"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        helper.make_node("ReduceMean", ["d"], ["e"], axes=[-1, -2]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Identity", ["6.weight"], ["w"]),
        helper.make_node("Gemm", ["f", "w", "6.bias"], ["y"], transB=1),
        helper.make_node("Relu", ["f"], ["unused"]),
    ]
    stored = [numpy_helper.from_array(v.numpy(), k) for k, v in module.state_dict().items() if v.ndim]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 9, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        stored,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    found, arrays, _ = import_onnx(path)
    assert [node.op for node in found.nodes][-2:] == ["Flatten", "Gemm"]
    got = run_reference(found, arrays, {"x": x.numpy()})["y"]
    np.testing.assert_allclose(got, module(x).detach().numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"", "BAD_MODEL_FILE", "not an ONNX model"),
        (b"<html>" * 50, "BAD_MODEL_FILE", "decoded"),
        (bytes(range(256)), "BAD_MODEL_FILE", "decoded"),
        (FOREIGN["reshape"][:40], "BAD_MODEL_FILE", ""),
        (one_node("Erf", []), "UNKNOWN_OPERATOR", "Erf"),
        (one_node("Relu", [], domain="com.example"), "UNKNOWN_OPERATOR", "com.example.Relu"),
        (one_node("Relu", [], opset=7), "BAD_OPSET", "13 to 21"),
        (one_node("BatchNormalization", [np.ones(3, np.float32)] * 4, training_mode=1), "UNKNOWN_OPERATOR", "training"),
        (one_node("MaxPool", [], kernel_shape=[2, 2], outputs=2), "UNKNOWN_OPERATOR", "2 outputs"),
        (one_node("Resize", [None, np.ones(4, np.float32)], antialias=1, opset=18), "UNKNOWN_OPERATOR", "antialias"),
        (one_node("Reshape", [ints(0, -1)], allowzero=1), "UNKNOWN_OPERATOR", "allowzero"),
        (one_node("Reshape", [ints(5, 5)]), "BAD_SHAPE", "Reshape"),
        (one_node("Conv", [W[:, :2]]), "BAD_SHAPE", "channels"),
        (one_node("Pad", [ints(1), None, ints(0, 1)], opset=18), "BAD_GRAPH", "Pad"),
        (one_node("Split", [], axis=7, outputs=2), "BAD_GRAPH", "Split"),
        (one_node("Softmax", [], axis=[1, 2]), "BAD_GRAPH", "Softmax"),
        (one_node("MaxPool", [], kernel_shape=3), "BAD_GRAPH", "MaxPool"),
        (one_node("MaxPool", [], kernel_shape=[2, 2], strides=[0, 1], auto_pad="SAME_UPPER"), "BAD_GRAPH", "MaxPool"),
        (one_node("Constant", [], value_float="x"), "UNKNOWN_OPERATOR", "Constant"),
        (one_node("Constant", [], value_ints=0.5), "UNKNOWN_OPERATOR", "Constant"),
    ],
)
def test_what_cannot_come_in_is_refused_in_one_line(data, code, word):
    with pytest.raises(FireforgeError) as caught:
        import_onnx(data)
    assert caught.value.code == code
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "node", [helper.make_node("Constant", [], [], value_int=3), helper.make_node("Relu", ["x"], [])]
)
def test_a_node_that_makes_nothing_is_refused(node):
    model = onnx.load_from_string(one_node("Relu", []))
    model.graph.node.append(node)
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*makes nothing"):
        import_onnx(model.SerializeToString())


def test_a_long_list_is_not_told_whole():
    with pytest.raises(FireforgeError, match=r"BAD_SHAPE.*perm") as caught:
        import_onnx(one_node("Transpose", [], perm=list(range(100_000))))
    assert len(str(caught.value)) < 2000


def test_nodes_that_are_all_called_alike_are_refused_soon():
    """10,000 names with 0 to 9,999 underscores behind them would take minutes."""
    ends = ["x", *(f"t{i}" for i in range(10_000)), "y"]
    nodes = [helper.make_node("Relu", [a], [b], name="same") for a, b in pairwise(ends)]
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", kinds[:1], kinds[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    start = time.process_time()
    with pytest.raises(FireforgeError, match=r"BAD_GRAPH: same_*: .*too many nodes"):
        import_onnx(model.SerializeToString())
    assert time.process_time() - start < 5


def test_a_computed_shape_is_refused():
    nodes = [helper.make_node("Identity", ["s"], ["t"]), helper.make_node("Reshape", ["x", "t"], ["y"])]
    kinds = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]),
        helper.make_tensor_value_info("s", TensorProto.INT64, [1]),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph(nodes, "g", kinds, [out]), opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(FireforgeError, match=r"UNKNOWN_OPERATOR.*computed"):
        import_onnx(model.SerializeToString())


def test_external_data_is_refused_before_anything_is_read(tmp_path):
    """The file that is named does not exist: reading it would be another error."""
    model = onnx.load_from_string(one_node("Conv", [W]))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/secret"
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FireforgeError) as caught:
        import_onnx(path)
    assert caught.value.code == "EXTERNAL_DATA"
    assert caught.value.where == str(path)


def test_numbers_that_do_not_fill_their_shape_are_refused():
    model = onnx.load_from_string(one_node("Conv", [W]))
    model.graph.initializer[0].raw_data = b"1234"
    with pytest.raises(FireforgeError, match="BAD_MODEL_FILE"):
        import_onnx(model.SerializeToString())


def test_a_spoiled_tag_is_refused():
    model = onnx.load_from_string(one_node("Relu", []))
    helper.set_model_props(model, {"fireforge": '{"card": 1}'})
    with pytest.raises(FireforgeError, match=r"BAD_MODEL_FILE.*fireforge entry"):
        import_onnx(model.SerializeToString())


def test_absent_file(tmp_path):
    with pytest.raises(FireforgeError, match="NO_FILE"):
        import_onnx(tmp_path / "none.onnx")


def test_damaged_files_end_in_an_error_of_ours_or_none():
    """Whatever bytes were changed or cut off; any other exception fails the test."""
    graph, arrays = network("firenet-small")
    data = onnx_bytes(graph, arrays, tag=Tag(card=CARD))
    rng = np.random.default_rng(8)
    codes = set()
    for round_ in range(150):
        damaged = bytearray(data[: rng.integers(1, len(data))] if round_ % 3 == 0 else data)
        for place in rng.integers(0, min(len(damaged), 3000), 2):
            damaged[place] = rng.integers(0, 256)
        try:
            import_onnx(bytes(damaged))
        except FireforgeError as error:
            codes.add(error.code)
    assert {"BAD_MODEL_FILE", "UNKNOWN_OPERATOR"} <= codes
