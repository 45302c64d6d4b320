# SPDX-License-Identifier: Apache-2.0
"""Every operator on an example: what infer says is what run gives, on numbers and on the symbol N."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import DTYPES, Graph, Node, TensorType
from fireforge.base.infer import filled, infer
from fireforge.base.ops.table import OPERATORS
from fireforge.base.reference import run_reference
from fireforge.base.validate import validate

IMAGE = ("N", 6, 7, 5)
SEQUENCE = ("N", 6, 11)
PLANES = (6,)
PADS = (0, 1, 2, 1)
T = tuple[str, tuple[Any, ...]]


def _f(*shape: Any) -> T:
    return ("float32", shape)


# operator: examples of (dtype and shape of each input, None where absent; attributes)
EXAMPLES: dict[str, list[tuple[list[T | None], dict[str, Any]]]] = {
    "Conv": [
        ([_f(*IMAGE), _f(4, 3, 3, 2), _f(4)], {"kernel_shape": (3, 2), "strides": (2, 1), "pads": PADS, "group": 2}),
        ([_f(*SEQUENCE), _f(4, 6, 3)], {"kernel_shape": (3,), "dilations": (2,)}),
        ([("float16", IMAGE), ("float16", (4, 6, 1, 1))], {"kernel_shape": (1, 1)}),
    ],
    "ConvTranspose": [
        ([_f(*IMAGE), _f(6, 2, 3, 2), _f(4)], {"kernel_shape": (3, 2), "strides": (2, 3), "pads": PADS, "group": 2}),
        ([_f(*SEQUENCE), _f(6, 4, 3)], {"kernel_shape": (3,), "strides": (2,), "output_padding": (1,)}),
    ],
    "Gemm": [
        ([_f("N", 5), _f(3, 5), _f(3)], {"transB": 1}),
        ([_f(5, 2), _f(5, 3)], {"transA": 1, "alpha": 0.5}),
        ([("float16", ("N", 5)), ("float16", (5, 3)), ("float16", (1, 3))], {"beta": 2.0}),
    ],
    "MatMul": [([_f("N", 4, 5), _f(5, 3)], {}), ([_f("N", 2, 4, 5), _f(2, 5, 3)], {}), ([_f("N", 5), _f(5)], {})],
    "BatchNormalization": [
        ([_f(*IMAGE), *[_f(*PLANES)] * 4], {}),
        ([("float16", ("N", 6)), *[("float16", PLANES)] * 4], {"epsilon": 0.1}),
    ],
    "LayerNormalization": [([_f("N", 4, 5), _f(5), _f(5)], {}), ([_f("N", 4, 5), _f(4, 5)], {"axis": 1})],
    "LRN": [([_f(*IMAGE)], {"size": 5}), ([_f(*SEQUENCE)], {"size": 2})],
    "Relu": [([_f(*IMAGE)], {}), ([("int8", ("N", 3))], {}), ([("float16", ("N", 3))], {})],
    "LeakyRelu": [([_f(*IMAGE)], {"alpha": 0.1})],
    "Clip": [([_f(*IMAGE)], {"min": 0, "max": 6.0}), ([("int8", ("N", 3))], {"min": -3}), ([("int64", ("N",))], {})],
    "Sigmoid": [([_f(*IMAGE)], {})],
    "Tanh": [([("float16", IMAGE)], {})],
    "HardSigmoid": [([_f(*IMAGE)], {})],
    "HardSwish": [([_f(*IMAGE)], {})],
    "Softmax": [([_f("N", 10)], {}), ([_f(*IMAGE)], {"axis": 1})],
    "LogSoftmax": [([_f("N", 10)], {})],
    "MaxPool": [
        ([_f(*IMAGE)], {"kernel_shape": (3, 2), "strides": (2, 2), "ceil_mode": 1, "pads": (1, 0, 1, 1)}),
        ([("uint8", SEQUENCE)], {"kernel_shape": (2,), "dilations": (3,)}),
    ],
    "AveragePool": [
        ([_f(*IMAGE)], {"kernel_shape": (3, 2), "strides": (2, 3), "ceil_mode": 1, "count_include_pad": 1}),
        ([_f(*SEQUENCE)], {"kernel_shape": (2,), "pads": (1, 0)}),
    ],
    "GlobalAveragePool": [([_f(*IMAGE)], {}), ([_f(*SEQUENCE)], {})],
    "GlobalMaxPool": [([_f(*IMAGE)], {})],
    "Add": [([_f(*IMAGE), _f(*IMAGE)], {}), ([_f(*IMAGE), _f(6, 1, 1)], {}), ([_f(1, 1, 5), _f("N", 3, 1)], {})],
    "Sub": [([_f(*IMAGE), _f()], {}), ([("int32", ("N",)), ("int32", ("N",))], {})],
    "Mul": [([_f("N", 6, 1, 1), _f(*IMAGE)], {})],
    "Div": [([_f(*IMAGE), _f(1)], {}), ([("int8", ("N", 3)), ("int8", (3,))], {})],
    "Concat": [([_f(*IMAGE), _f("N", 2, 7, 5), _f(*IMAGE)], {"axis": 1}), ([_f("N", 3), _f("N", 3)], {"axis": -1})],
    "Flatten": [
        ([_f("N", 6, 2, 2)], {}),
        ([_f("N")], {"axis": 1}),
        ([_f(2, 3, 4)], {"axis": -1}),
        ([_f(2, 3)], {"axis": 0}),
    ],
    "Reshape": [
        ([_f("N", 6, 2, 2)], {"shape": (0, -1)}),
        ([_f("N", 6, 2, 2)], {"shape": (-1, 24)}),
        ([_f("N", 6, 4)], {"shape": (0, 2, 3, 4)}),
        ([_f("N", 1)], {"shape": (-1,)}),
        ([_f(4, 6)], {"shape": (2, -1, 3)}),
    ],
    "Transpose": [([_f(*IMAGE)], {"perm": (0, 2, 3, 1)}), ([_f("N", 3)], {"perm": (1, 0)})],
    "ReduceMean": [
        ([_f(*IMAGE)], {"axes": (2, -1), "keepdims": 0}),
        ([_f(*IMAGE)], {"axes": (1,)}),
        ([_f("N", 3)], {"keepdims": 0}),
    ],
    "Slice": [
        ([_f(*IMAGE)], {"starts": (1, -1), "ends": (4, -9), "axes": (1, 2), "steps": (2, -2)}),
        ([_f(*IMAGE)], {"starts": (0, 2), "ends": (2**63 - 1, 2**31 - 1), "axes": (0, -1), "steps": (1, 1)}),
    ],
    "Split": [([_f(*IMAGE)], {"axis": 1, "split": (1, 3, 2)}), ([_f(4)], {"split": (4,)})],
    "Pad": [
        ([_f(*IMAGE)], {"pads": (0, 0, 1, 2, 0, 1, 0, 3), "value": 0.5}),
        ([_f(*IMAGE)], {"pads": (0, 0, 6, 0, 0, 0, 1, 4), "mode": "reflect"}),
        ([_f(*IMAGE)], {"pads": (0, 0, 0, 3, 0, 0, -2, 0), "mode": "edge"}),
        ([("uint8", ("N", 3))], {"pads": (0, 2, 0, -1), "value": 7.0}),
    ],
    "Resize": [
        ([_f(*IMAGE)], {"scales": (1.0, 1.0, 0.6, 2.5), "mode": "linear"}),
        ([_f(*IMAGE)], {"sizes": (0, 6, 3, 9), "coordinate_transformation_mode": "asymmetric"}),
        ([("uint8", IMAGE)], {"scales": (1, 1, 2, 2)}),
    ],
    "Dropout": [([_f(*IMAGE)], {"ratio": 0.3})],
    "Gather": [([_f("N", 6, 4), ("int64", (2, 3))], {"axis": 1}), ([_f("N", 6), ("int32", ())], {"axis": -1})],
    "QuantizeLinear": [
        ([_f(*IMAGE), _f(), ("int8", ())], {}),
        ([_f(*IMAGE), _f(6), ("uint8", (6,))], {"axis": 1}),
        ([_f("N", 3), _f(1)], {}),
    ],
    "DequantizeLinear": [
        ([("int8", IMAGE), _f(), ("int8", ())], {}),
        ([("int32", (6,)), _f(6)], {"axis": 0}),
        ([("uint8", ("N", 4)), _f(4), ("uint8", (4,))], {"axis": -1}),
    ],
    "Identity": [([("bool", ("N", 3))], {}), ([_f()], {})],
}  # fmt: skip
CASES = [(op, i) for op, examples in EXAMPLES.items() for i in range(len(examples))]


def _graph(op: str, number: int) -> Graph:
    typed, attrs = EXAMPLES[op][number]
    names = tuple("" if item is None else f"in{i}" for i, item in enumerate(typed))
    inputs = tuple(TensorType(name=n, dtype=t[0], shape=t[1]) for n, t in zip(names, typed) if t is not None)
    outputs = tuple(f"out{i}" for i in range(len(attrs["split"]) if op == "Split" else 1))
    node = Node(name="node", op=op, inputs=names, outputs=outputs, attrs=attrs)
    return Graph(inputs=inputs, outputs=outputs, weights=(), nodes=(node,))


def _arrays(graph: Graph, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    arrays = {}
    for tensor in graph.inputs:
        shape = tuple(batch if dim == "N" else int(dim) for dim in tensor.shape)
        numbers = rng.uniform(1, 2.9, shape)  # positive: variances, scales, divisors, indices below 3
        arrays[tensor.name] = np.asarray(numbers).astype(tensor.dtype)
    return arrays


def test_every_operator_has_an_example() -> None:
    assert set(EXAMPLES) == set(OPERATORS)
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("op", "number"), CASES)
def test_infer_equals_what_run_gives(op: str, number: int, batch: int) -> None:
    """Reference: the arrays that the numpy reference makes, for N = 1 and N = 3."""
    graph = _graph(op, number)
    validate(graph)
    types = infer(graph)
    results = run_reference(graph, {}, _arrays(graph, batch))
    for name in graph.outputs:
        shape = tuple(batch if dim == "N" else dim for dim in types[name].shape)
        assert (types[name].dtype, shape) == (str(results[name].dtype), results[name].shape)
        assert results[name].dtype.kind != "f" or np.isfinite(results[name]).all()


@pytest.mark.parametrize(("op", "number"), CASES)
def test_inputs_stay_as_they_were(op: str, number: int) -> None:
    graph = _graph(op, number)
    arrays = _arrays(graph, 2)
    before = {name: array.copy() for name, array in arrays.items()}
    run_reference(graph, {}, arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_operators_refuse_a_dtype_that_does_not_exist(op: str) -> None:
    graph = _graph(op, 0)
    strange = Graph(
        inputs=tuple(tensor.replace(dtype="complex64") for tensor in graph.inputs),
        outputs=graph.outputs,
        weights=(),
        nodes=graph.nodes,
    )
    with pytest.raises(FireforgeError, match="BAD_GRAPH: in0: dtype"):
        validate(strange)


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_defaults_and_required_attributes_are_apart_and_typed(op: str) -> None:
    operator = OPERATORS[op]
    assert not set(operator.required) & set(operator.defaults)
    assert set(operator.required.values()) <= {int, float, str, tuple}
    assert all(isinstance(value, (int, float, str, tuple)) for value in operator.defaults.values())
    complete = filled(_graph(op, 0).nodes[0])
    assert set(complete) == set(operator.required) | set(operator.defaults)


strange = st.one_of(
    st.integers(-3, 9),
    st.sampled_from([2**31, 2**63 - 1, -(2**63), 0.0, 1e-40, 3e38, -1.5, "", "linear", "edge", ()]),
    st.lists(st.integers(-3, 9), max_size=9).map(tuple),
    st.lists(st.floats(-2, 9), max_size=5).map(tuple),
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.sampled_from(CASES), st.data())
def test_any_attribute_and_any_shape_is_taken_or_refused_with_the_one_error(
    case: tuple[str, int], data: st.DataObject
) -> None:
    """No graph from a file may end in a traceback."""
    graph = _graph(*case)
    node = graph.nodes[0]
    names = sorted(filled(node))
    if names and data.draw(st.booleans()):
        node = node.replace(attrs={**node.attrs, data.draw(st.sampled_from(names)): data.draw(strange)})
    inputs = list(graph.inputs)
    if data.draw(st.booleans()):
        i = data.draw(st.integers(0, len(inputs) - 1))
        shape = data.draw(st.lists(st.one_of(st.integers(1, 9), st.just("N")), max_size=5))
        inputs[i] = inputs[i].replace(shape=tuple(shape), dtype=data.draw(st.sampled_from(DTYPES)))
    changed = graph.replace(inputs=tuple(inputs), nodes=(node,))
    try:
        validate(changed)
    except FireforgeError:
        return
    types = infer(changed)
    if max(np.prod([1 if d == "N" else d for d in t.shape], dtype=float) for t in types.values()) < 1e5:
        arrays = _arrays(changed, 2)
        if node.op == "Gather":
            arrays["in1"] *= 0  # an index that every axis has
        with np.errstate(all="ignore"):
            results = run_reference(changed, {}, arrays)
        for name in changed.outputs:
            assert results[name].shape == tuple(2 if dim == "N" else dim for dim in types[name].shape)


def test_float16_results_are_the_rounded_float32_results() -> None:
    """Reference: the same operator in float32 on the same numbers; half precision rounds once, 2**-11 relative."""
    for op, inputs in (("Sigmoid", 1), ("Softmax", 1), ("Tanh", 1), ("HardSwish", 1), ("MatMul", 2)):
        half = [np.random.default_rng(i).standard_normal((9, 9)).astype(np.float16) for i in range(inputs)]
        attrs = filled(Node(name="n", op=op, inputs=(), outputs=()))
        (narrow,) = OPERATORS[op].run(half, attrs)
        (wide,) = OPERATORS[op].run([array.astype(np.float32) for array in half], attrs)
        assert narrow.dtype == np.float16
        np.testing.assert_array_equal(narrow, wide.astype(np.float16))


def test_dtypes_of_the_examples_are_ours() -> None:
    used = {item[0] for examples in EXAMPLES.values() for typed, _ in examples for item in typed if item}
    assert used <= set(DTYPES)
