# SPDX-License-Identifier: Apache-2.0
"""Each operator in torch against its numpy meaning, on odd shapes, strides, pads and groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import infer
from fireforge.base.ops.table import OPERATORS
from fireforge.base.reference import run_reference
from fireforge.nets.functions import FUNCTIONS
from fireforge.nets.module import GraphModule, load_arrays

torch.set_num_threads(1)

MAP = (2, 4, 7, 9)
K33 = {"kernel_shape": (3, 3)}
# operator, shape of the input, shapes of the weights, attributes
CASES = [
    ("Conv", MAP, [(6, 2, 3, 2), (6,)], {"kernel_shape": (3, 2), "group": 2, "strides": (2, 1), "pads": (1, 0, 1, 0)}),
    ("Conv", MAP, [(6, 4, 3, 3)], {**K33, "pads": (0, 1, 2, 3), "dilations": (2, 1)}),
    ("Conv", (2, 4, 11), [(6, 4, 3), (6,)], {"kernel_shape": (3,), "strides": (2,), "pads": (2, 1)}),
    ("ConvTranspose", MAP, [(4, 3, 3, 3), (6,)], {**K33, "group": 2, "strides": (2, 3), "pads": (1, 0, 1, 0)}),
    ("ConvTranspose", MAP, [(4, 3, 3, 3), (3,)], {**K33, "strides": (2, 2), "pads": (0, 1, 2, 1)}),
    ("ConvTranspose", MAP, [(4, 3, 3, 3)], {**K33, "strides": (2, 2), "pads": (1, 1, 1, 1), "output_padding": (1, 0)}),
    ("ConvTranspose", MAP, [(4, 3, 3, 3), (3,)], {**K33, "pads": (1, 1, 1, 1), "output_padding": (2, 1)}),
    ("Gemm", (3, 5), [(7, 5), (7,)], {"transB": 1}),
    ("Gemm", (5, 3), [(5, 7), (3, 1)], {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("MatMul", (2, 3, 5), [(2, 5, 4)], {}),
    ("BatchNormalization", MAP, [(4,)] * 4, {"epsilon": 1e-3}),
    ("BatchNormalization", (3, 4), [(4,)] * 4, {}),
    ("LayerNormalization", MAP, [(9,), (9,)], {"epsilon": 1e-3}),
    ("LayerNormalization", MAP, [(7, 9)], {"axis": 2}),
    ("LayerNormalization", MAP, [(9,), (1,)], {"axis": -2}),
    ("LRN", MAP, [], {"size": 3, "alpha": 0.5, "bias": 2.0}),
    ("LRN", (2, 5, 3, 3), [], {"size": 4, "alpha": 0.5}),
    ("Relu", MAP, [], {}),
    ("LeakyRelu", MAP, [], {"alpha": 0.2}),
    ("Clip", MAP, [], {"min": -0.5, "max": 0.25}),
    ("Clip", MAP, [], {}),
    ("Clip", MAP, [], {"max": 0.5}),
    ("Sigmoid", MAP, [], {}),
    ("Tanh", MAP, [], {}),
    ("HardSigmoid", MAP, [], {"alpha": 0.3}),
    ("HardSwish", MAP, [], {}),
    ("Softmax", MAP, [], {"axis": 1}),
    ("LogSoftmax", MAP, [], {}),
    ("Dropout", MAP, [], {}),
    ("Identity", MAP, [], {}),
    ("MaxPool", MAP, [], {**K33, "strides": (2, 2), "ceil_mode": 1}),
    ("MaxPool", (2, 4, 8, 6), [], {**K33, "strides": (2, 2), "pads": (1, 0, 1, 1), "ceil_mode": 1}),
    ("MaxPool", MAP, [], {"kernel_shape": (2, 2), "strides": (3, 2), "pads": (1, 1, 0, 1), "ceil_mode": 1}),
    ("MaxPool", MAP, [], {"kernel_shape": (2, 3), "dilations": (2, 1), "pads": (1, 1, 1, 1)}),
    ("MaxPool", (2, 4, 11), [], {"kernel_shape": (4,), "strides": (3,), "pads": (3, 0)}),
    ("AveragePool", MAP, [], {**K33, "strides": (2, 2), "pads": (1, 1, 1, 1), "ceil_mode": 1}),
    (
        "AveragePool",
        (2, 4, 8, 6),
        [],
        {**K33, "strides": (2, 2), "pads": (1, 1, 1, 1), "count_include_pad": 1, "ceil_mode": 1},
    ),
    ("AveragePool", MAP, [], {**K33, "strides": (2, 2), "pads": (0, 1, 2, 0), "ceil_mode": 1}),
    ("AveragePool", MAP, [], {**K33, "strides": (2, 2), "pads": (2, 1, 0, 1), "count_include_pad": 1, "ceil_mode": 1}),
    ("GlobalAveragePool", MAP, [], {}),
    ("GlobalMaxPool", MAP, [], {}),
    ("Add", MAP, [(4, 1, 1)], {}),
    ("Sub", MAP, [(9,)], {}),
    ("Mul", MAP, [()], {}),
    ("Div", MAP, [(4, 7, 9)], {}),
    ("Concat", MAP, [(2, 3, 7, 9)], {"axis": 1}),
    ("Concat", MAP, [(2, 4, 7, 1)], {"axis": -1}),
    ("Flatten", MAP, [], {}),
    ("Flatten", MAP, [], {"axis": -1}),
    ("Flatten", MAP, [], {"axis": 0}),
    ("Reshape", MAP, [], {"shape": (0, -1, 9)}),
    ("Transpose", MAP, [], {"perm": (0, 2, 3, 1)}),
    ("ReduceMean", MAP, [], {"axes": (-1, 1), "keepdims": 0}),
    ("ReduceMean", MAP, [], {}),
    ("Slice", MAP, [], {"starts": (1, -1), "ends": (-1, -10), "axes": (2, 3), "steps": (2, -3)}),
    ("Slice", MAP, [], {"starts": (-20, 3), "ends": (99, -99), "axes": (2, -1), "steps": (1, -1)}),
    ("Pad", MAP, [], {"pads": (0, 1, 2, 0, 0, 0, 1, -3), "value": 0.5}),
    ("Pad", MAP, [], {"pads": (0, 0, 2, 3, 0, 1, 4, 0), "mode": "edge"}),
    ("Pad", MAP, [], {"pads": (0, 0, 2, 3, 0, 1, -1, 5), "mode": "reflect"}),
    ("Resize", MAP, [], {"scales": (1.0, 1.0, 2.0, 0.6)}),
    ("Resize", MAP, [], {"sizes": (0, 0, 5, 20), "mode": "linear"}),
    ("Resize", MAP, [], {"sizes": (0, 0, 14, 1), "mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    (
        "Resize",
        MAP,
        [],
        {"scales": (1.0, 1.0, 1.5, 2.0), "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
]


def check(graph: Graph, arrays: dict[str, np.ndarray], x: np.ndarray) -> None:
    """1e-5 relative and absolute: float32 sums of some tens of numbers in another order."""
    module = GraphModule(graph).eval()
    load_arrays(module, arrays)
    with torch.no_grad():
        got = module(torch.from_numpy(x))
    wanted = run_reference(graph, arrays, {"x": x})
    outputs = got if isinstance(got, tuple) else (got,)
    assert len(outputs) == len(wanted)
    for made, reference in zip(outputs, wanted.values()):
        assert tuple(made.shape) == reference.shape
        assert str(made.dtype) == f"torch.{reference.dtype}"
        np.testing.assert_allclose(made.numpy(), reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("named", [True, False], ids=["layer", "function"])
@pytest.mark.parametrize(("op", "shape", "weights", "attrs"), CASES)
def test_operator_equals_its_numpy_meaning(op, shape, weights, attrs, named):
    parts = ("weight", "bias", "running_mean", "running_var")
    names = [f"n.{part}" for part in parts] if named else ["a", "b", "c", "d"]
    held = tuple(TensorType(name=name, shape=size) for name, size in zip(names, weights))
    node = Node(name="n", op=op, inputs=("x", *(w.name for w in held)), outputs=("y",), attrs=attrs)
    graph = Graph(inputs=(TensorType(name="x", shape=shape),), outputs=("y",), weights=held, nodes=(node,))
    rng = np.random.default_rng(0)
    arrays = {w.name: rng.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in held}
    check(graph, arrays, rng.normal(size=shape).astype(np.float32))


def test_split_gives_all_its_parts():
    node = Node(name="n", op="Split", inputs=("x",), outputs=("a", "b"), attrs={"split": (1, 3), "axis": 1})
    graph = Graph(inputs=(TensorType(name="x", shape=MAP),), outputs=("a", "b"), weights=(), nodes=(node,))
    check(graph, {}, np.random.default_rng(0).normal(size=MAP).astype(np.float32))


@pytest.mark.parametrize("axis", [0, 1])
def test_gather_with_negative_indices(axis):
    node = Node(name="n", op="Gather", inputs=("w", "x"), outputs=("y",), attrs={"axis": axis})
    source = TensorType(name="x", dtype="int64", shape=("N", 3))
    held = (TensorType(name="w", shape=(5, 6, 2)),)
    graph = Graph(inputs=(source,), outputs=("y",), weights=held, nodes=(node,))
    rng = np.random.default_rng(0)
    check(graph, {"w": rng.normal(size=(5, 6, 2)).astype(np.float32)}, rng.integers(-5, 5, (2, 3)))


@pytest.mark.parametrize("per_axis", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_quantize_and_dequantize(dtype, per_axis):
    shape = (4,) if per_axis else ()
    held = (TensorType(name="s", shape=shape), TensorType(name="z", dtype=dtype, shape=shape))
    nodes = (
        Node(name="q", op="QuantizeLinear", inputs=("x", "s", "z"), outputs=("i",)),
        Node(name="d", op="DequantizeLinear", inputs=("i", "s", "z"), outputs=("y",)),
    )
    graph = Graph(inputs=(TensorType(name="x", shape=MAP),), outputs=("i", "y"), weights=held, nodes=nodes)
    rng = np.random.default_rng(0)
    arrays = {"s": rng.uniform(0.01, 0.03, shape).astype(np.float32), "z": rng.integers(3, 9, shape).astype(dtype)}
    module = GraphModule(graph)
    assert not list(module.parameters())  # scales and zero points are not trained
    check(graph, {name: np.asarray(array) for name, array in arrays.items()}, rng.normal(size=MAP).astype(np.float32))


@pytest.mark.parametrize("op", ["Clip", "Div"])
def test_integers_stay_integers(op):
    source = TensorType(name="x", dtype="int32", shape=("N", 4))
    held = () if op == "Clip" else (TensorType(name="w", dtype="int32", shape=(4,)),)
    attrs = {"min": -2.0, "max": 3.0} if op == "Clip" else {}
    node = Node(name="n", op=op, inputs=("x", *(w.name for w in held)), outputs=("y",), attrs=attrs)
    graph = Graph(inputs=(source,), outputs=("y",), weights=held, nodes=(node,))
    arrays = {w.name: np.array([2, -3, 4, 5], np.int32) for w in held}
    check(graph, arrays, np.array([[-7, 7, -9, 3], [5, -5, 1, 0]], np.int32))


def test_every_operator_has_a_torch_function():
    assert FUNCTIONS.keys() == OPERATORS.keys()
    others = {"Split", "Gather", "QuantizeLinear", "DequantizeLinear"}
    assert {op for op, *_ in CASES} | others == OPERATORS.keys()  # and all are tested here


def test_cases_are_valid_graphs():
    for op, shape, weights, attrs in CASES:
        held = tuple(TensorType(name=f"w{i}", shape=size) for i, size in enumerate(weights))
        node = Node(name="n", op=op, inputs=("x", *(w.name for w in held)), outputs=("y",), attrs=attrs)
        infer(Graph(inputs=(TensorType(name="x", shape=shape),), outputs=("y",), weights=held, nodes=(node,)))
