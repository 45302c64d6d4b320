# SPDX-License-Identifier: Apache-2.0
"""Graphs written as ONNX, held to ONNX's checker, to ONNX Runtime and to the numpy reference."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import infer
from fireforge.base.model import METADATA_KEY, Tag
from fireforge.base.ops.table import OPERATORS
from fireforge.base.reference import run_reference
from fireforge.base.validate import validate
from fireforge.export.lean import lean_json
from fireforge.export.onnx_file import check_onnx, onnx_bytes

X = ("N", 4, 8, 6)
# operator: inputs (the first is the graph's, the others are weights) and attributes
EXAMPLES = {
    "Conv": (
        [X, (6, 2, 3, 2), (6,)],
        {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 1, 1), "group": 2, "dilations": (1, 2)},
    ),
    "ConvTranspose": (
        [X, (4, 3, 3, 2), (3,)],
        {"kernel_shape": (3, 2), "strides": (2, 2), "pads": (1, 0, 1, 0), "output_padding": (1, 0)},
    ),
    "Gemm": ([("N", 5), (3, 5), (3,)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    "MatMul": ([("N", 5), (5, 3)], {}),
    "BatchNormalization": ([X, (4,), (4,), (4,), (4,)], {"epsilon": 1e-3}),
    "LayerNormalization": ([X, (6,), (6,)], {}),
    "LRN": ([X], {"size": 3, "alpha": 0.1}),
    "Relu": ([X], {}),
    "LeakyRelu": ([X], {"alpha": 0.2}),
    "Clip": ([X], {"min": 0.0, "max": 0.5}),
    "Sigmoid": ([X], {}),
    "Tanh": ([X], {}),
    "HardSigmoid": ([X], {"alpha": 0.25}),
    "HardSwish": ([X], {}),
    "Softmax": ([X], {"axis": 1}),
    "LogSoftmax": ([X], {}),
    "Dropout": ([X], {"ratio": 0.3}),
    "Identity": ([X], {}),
    "MaxPool": ([X], {"kernel_shape": (3, 2), "strides": (2, 2), "pads": (1, 0, 1, 1), "ceil_mode": 1}),
    "AveragePool": ([X], {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "count_include_pad": 1}),
    "GlobalAveragePool": ([X], {}),
    "GlobalMaxPool": ([X], {}),
    "Add": ([X, (4, 1, 1)], {}),
    "Sub": ([X, (6,)], {}),
    "Mul": ([X, (4, 1, 1)], {}),
    "Div": ([X, (4, 1, 1)], {}),
    "Concat": ([X, (1, 4, 8, 6)], {"axis": -1}),
    "Flatten": ([X], {}),
    "Reshape": ([X], {"shape": (0, 8, -1)}),
    "Transpose": ([X], {"perm": (0, 2, 3, 1)}),
    "ReduceMean": ([X], {"axes": (2, 3), "keepdims": 0}),
    "Slice": ([X], {"starts": (1, -1), "ends": (3, -7), "axes": (1, 3), "steps": (1, -2)}),
    "Split": ([X], {"split": (1, 3), "axis": 1}),
    "Pad": ([X], {"pads": (0, 0, 1, 2, 0, 0, 0, 1), "value": 0.5}),
    "Gather": ([X, (2,)], {"axis": 1}),
    "Resize": ([X], {"sizes": (0, 0, 12, 9), "mode": "linear"}),
    "QuantizeLinear": ([X, (4,), (4,)], {}),
    "DequantizeLinear": ([X, (4,), (4,)], {}),
}
# the batch is 1 where a weight joins the input along another axis
BATCH = {"Concat": 1}


def example(op: str) -> tuple[Graph, dict[str, np.ndarray], np.ndarray]:
    shapes, attrs = EXAMPLES[op]
    rng = np.random.default_rng(len(op))
    dtypes = ["float32"] * len(shapes)
    if op == "Gather":
        dtypes[1] = "int64"
    if op == "QuantizeLinear":
        dtypes[2] = "int8"
    if op == "DequantizeLinear":
        dtypes[0] = dtypes[2] = "uint8"
    arrays, weights = {}, []
    for i, (shape, dtype) in enumerate(zip(shapes[1:], dtypes[1:]), 1):
        low, high = (0, 4) if dtype != "float32" else (0.1, 1)
        arrays[f"w{i}"] = rng.uniform(low, high, shape).astype(dtype)
        weights.append(TensorType(name=f"w{i}", dtype=dtype, shape=shape))
    first = (BATCH[op], *shapes[0][1:]) if op in BATCH else shapes[0]
    outputs = ("y", "z") if op == "Split" else ("y",)
    node = Node(name="node", op=op, inputs=("x", *arrays), outputs=outputs, attrs=attrs)
    graph = Graph(
        inputs=(TensorType(name="x", dtype=dtypes[0], shape=first),),
        outputs=outputs,
        weights=tuple(weights),
        nodes=(node,),
    )
    real = tuple(2 if size == "N" else size for size in first)
    values = rng.normal(size=real) if dtypes[0] == "float32" else rng.integers(0, 255, real)
    return graph, arrays, values.astype(dtypes[0])


def run_ort(data: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)


def test_there_is_an_example_of_every_operator():
    assert set(EXAMPLES) == set(OPERATORS)


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_every_operator_runs_in_onnx_runtime_as_in_the_reference(op):
    """Tolerance 1e-5 of the greatest magnitude: the same float32 arithmetic in another order; integers are equal."""
    graph, arrays, values = example(op)
    validate(graph)
    data = onnx_bytes(graph, arrays)
    check_onnx(data)
    want = run_reference(graph, arrays, {"x": values})
    for name, got in zip(graph.outputs, run_ort(data, {"x": values})):
        assert got.dtype == want[name].dtype
        assert got.shape == want[name].shape
        if got.dtype == np.float32:
            assert np.abs(got - want[name]).max() <= 1e-5 * max(1.0, np.abs(want[name]).max())
        else:
            np.testing.assert_array_equal(got, want[name])


@pytest.mark.parametrize("network", ["firenet-small", "resnet-small", "mobilenet-small"])
def test_networks_run_in_onnx_runtime_as_in_the_reference(network, make_model):
    """Tolerance 1e-4 of the greatest magnitude: float32 sums in another order through some tens of layers."""
    model = make_model(network)
    data = onnx_bytes(model.graph, model.arrays())
    check_onnx(data)
    inputs = np.random.default_rng(1).normal(size=(3, 3, 16, 16)).astype(np.float32)
    want = run_reference(model.graph, model.arrays(), {"input": inputs})["logits"]
    got = run_ort(data, {"input": inputs})[0]
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


def test_equal_arguments_give_equal_bytes_and_names_are_free(make_model):
    model = make_model("firenet-small")
    tag = Tag(card=model.card, golden={"top": "x"})
    data = onnx_bytes(model.graph, model.arrays(), tag=tag)
    assert data == onnx_bytes(model.graph, dict(reversed(model.arrays().items())), tag=tag)
    long = onnx.load_from_string(onnx_bytes(model.graph, model.arrays(), short_names=False))
    assert {tensor.name for tensor in long.graph.initializer} == {weight.name for weight in model.graph.weights}
    assert [node.name for node in long.graph.node] == [node.name for node in model.graph.nodes]


def test_form_of_the_file(make_model):
    model = make_model("firenet-small")
    proto = onnx.load_from_string(onnx_bytes(model.graph, model.arrays()))
    assert (proto.ir_version, proto.opset_import[0].version, len(proto.opset_import)) == (8, 17, 1)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert (proto.graph.input[0].name, proto.graph.output[0].name) == ("input", "logits")
    assert all(tensor.raw_data for tensor in proto.graph.initializer)
    assert max(len(tensor.name) for tensor in proto.graph.initializer) <= 2
    pad = next(node for node in proto.graph.node if node.op_type == "Conv")
    assert not {"dilations", "group", "kernel_shape", "strides"} & {item.name for item in pad.attribute}


def test_tag_comes_back_from_the_metadata(make_model):
    model = make_model("firenet-small")
    tag = Tag(card=model.card, golden={"top": "abc"})
    data = onnx_bytes(model.graph, model.arrays(), tag=tag)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    text = session.get_modelmeta().custom_metadata_map[METADATA_KEY]
    assert Tag.from_json(json.loads(text)) == tag
    assert len(text) < len(json.dumps(tag.to_json()))


def test_lean_json_restores_every_field(make_model):
    card = make_model("firenet-small").card
    short = lean_json(card)
    assert "licence" not in short
    assert type(card).from_json(short) == card


@pytest.mark.parametrize("fault", ["absent", "shape", "dtype"])
def test_arrays_that_do_not_fit_are_refused(fault):
    graph, arrays, _ = example("Conv")
    if fault == "absent":
        arrays.pop("w1")
    elif fault == "shape":
        arrays["w1"] = arrays["w1"][:1]
    else:
        arrays["w1"] = arrays["w1"].astype(np.float64)
    with pytest.raises(FireforgeError) as caught:
        onnx_bytes(graph, arrays)
    assert caught.value.code == "BAD_WEIGHTS"
    assert caught.value.where == "w1"


def test_output_types_are_those_of_the_graph():
    graph, arrays, _ = example("QuantizeLinear")
    proto = onnx.load_from_string(onnx_bytes(graph, arrays))
    assert infer(graph)["y"].dtype == "int8"
    assert proto.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.INT8
