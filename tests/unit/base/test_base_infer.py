# SPDX-License-Identifier: Apache-2.0
"""Shapes of whole graphs, symbols, defaults, and clear refusals."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, Shape, TensorType
from fireforge.base.infer import filled, infer
from fireforge.base.ops.table import OPERATORS


def _one(op: str, *shapes: Any, dtype: str = "float32", **attrs: Any) -> Shape:
    """Shape of the first output of one node."""
    typed = [None if shape is None else (dtype, tuple(shape)) for shape in shapes]
    node = Node(name="n", op=op, inputs=(), outputs=(), attrs=attrs)
    return OPERATORS[op].infer(typed, filled(node))[0][1]


def _net() -> Graph:
    """Convolution, ReLU, pooling, global pooling, flat."""
    nodes = (
        Node(name="c", op="Conv", inputs=("x", "w", "b"), outputs=("c",), attrs={"kernel_shape": (3, 3)}),
        Node(name="r", op="Relu", inputs=("c",), outputs=("r",)),
        Node(name="p", op="MaxPool", inputs=("r",), outputs=("p",), attrs={"kernel_shape": (2, 2), "strides": (2, 2)}),
        Node(name="g", op="GlobalAveragePool", inputs=("p",), outputs=("g",)),
        Node(name="f", op="Flatten", inputs=("g",), outputs=("f",)),
    )
    weights = (TensorType(name="w", shape=(8, 3, 3, 3)), TensorType(name="b", shape=(8,)))
    return Graph(inputs=(TensorType(name="x", shape=("N", 3, 9, 8)),), outputs=("f",), weights=weights, nodes=nodes)


def test_every_tensor_has_its_type_by_hand() -> None:
    shapes = {name: tensor.shape for name, tensor in infer(_net()).items()}
    assert shapes == {
        "x": ("N", 3, 9, 8),
        "w": (8, 3, 3, 3),
        "b": (8,),
        "c": ("N", 8, 7, 6),
        "r": ("N", 8, 7, 6),
        "p": ("N", 8, 3, 3),
        "g": ("N", 8, 1, 1),
        "f": ("N", 8),
    }


def test_errors_name_the_node() -> None:
    net = _net()
    net = net.replace(weights=(TensorType(name="w", shape=(8, 4, 3, 3)), net.weights[1]))
    with pytest.raises(FireforgeError, match=r"BAD_SHAPE: c: Conv: .*channels do not agree") as caught:
        infer(net)
    assert caught.value.where == "c"


def test_an_input_that_nobody_makes_is_bad_graph() -> None:
    net = _net()
    with pytest.raises(FireforgeError, match="BAD_GRAPH: c: input 'c'"):
        infer(net.replace(nodes=(net.nodes[0].replace(inputs=("c", "w", "b")),)))


def test_a_wrong_number_of_inputs_or_outputs_is_bad_graph() -> None:
    net = _net()
    with pytest.raises(FireforgeError, match="BAD_GRAPH: c: Conv with 1 inputs; allowed: 2 to 3"):
        infer(net.replace(nodes=(net.nodes[0].replace(inputs=("x",)),)))
    with pytest.raises(FireforgeError, match="BAD_GRAPH: c: Conv with 2 outputs; allowed: 1"):
        infer(net.replace(nodes=(net.nodes[0].replace(outputs=("c", "d")),)))


def test_filled_writes_out_defaults() -> None:
    node = Node(name="c", op="Conv", inputs=(), outputs=(), attrs={"kernel_shape": (3, 3), "group": 2})
    assert filled(node) == {
        "kernel_shape": (3, 3), "group": 2, "strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0),
    }  # fmt: skip


@pytest.mark.parametrize("rank", [1, 3])
def test_filled_gives_per_axis_defaults_the_length_of_the_kernel(rank: int) -> None:
    attrs = filled(Node(name="c", op="ConvTranspose", inputs=(), outputs=(), attrs={"kernel_shape": (3,) * rank}))
    assert (attrs["strides"], attrs["pads"], attrs["output_padding"]) == ((1,) * rank, (0,) * 2 * rank, (0,) * rank)
    assert attrs["group"] == 1


def test_filled_refuses_unknown_operators_and_absent_attributes() -> None:
    with pytest.raises(FireforgeError, match="BAD_GRAPH: n: no operator called 'Sin'; allowed: Add, "):
        filled(Node(name="n", op="Sin", inputs=(), outputs=()))
    with pytest.raises(FireforgeError, match="BAD_GRAPH: n: Concat has no attribute axis"):
        filled(Node(name="n", op="Concat", inputs=(), outputs=()))


@pytest.mark.parametrize(("shape", "target", "expected"), [
    (("N", 4, 2), (0, -1), ("N", 8)),
    (("N", 4, 2), (-1, 8), ("N", 8)),
    (("N", 4, 2), (-1, 2, 4), ("N", 2, 4)),
    (("N", 4, 2), (0, 0, 2, 1), ("N", 4, 2, 1)),
    (("N", 4, "T"), (0, -1, 4), ("N", "T", 4)),
    (("N", 1), (-1,), ("N",)),
    ((6, 4), (-1, 8), (3, 8)),
    ((6, 4), (24,), (24,)),
])  # fmt: skip
def test_reshape_passes_symbols_where_it_can(shape: Shape, target: tuple[int, ...], expected: Shape) -> None:
    """By hand."""
    assert _one("Reshape", shape, shape=target) == expected


@pytest.mark.parametrize(("shape", "target"), [
    (("N", 4, 2), (-1, 4)),  # 2 N is no size
    (("N", 4, 2), (1, 8)),  # N is unknown
    (("N", 4, 2), (-1,)),
    (("N", "T", 2), (-1, 2)),  # N T is no size
    ((6, 4), (-1, 5)),
    ((6, 4), (25,)),
    ((6, 4), (6, 4, 0)),  # no third axis to copy
    ((4, "N"), (0, 0, 0)),
])  # fmt: skip
def test_reshape_refuses_what_it_cannot_decide(shape: Shape, target: tuple[int, ...]) -> None:
    with pytest.raises(FireforgeError, match="BAD_SHAPE"):
        _one("Reshape", shape, shape=target)


def test_reshape_error_names_the_symbol() -> None:
    with pytest.raises(FireforgeError, match=r"-1 would be N \* 8 / 4"):
        _one("Reshape", ("N", 4, 2), shape=(-1, 4))


@pytest.mark.parametrize(("first", "second", "expected"), [
    (("N", 3, 1), (1, 1, 5), ("N", 3, 5)),
    (("N", 3), (3,), ("N", 3)),
    ((1,), ("N", 3), ("N", 3)),
    (("N", 1), ("N", 4), ("N", 4)),
    ((), ("N",), ("N",)),
])  # fmt: skip
def test_broadcast_with_symbols(first: Shape, second: Shape, expected: Shape) -> None:
    """By hand."""
    assert _one("Add", first, second) == expected
    assert _one("Mul", second, first) == expected


@pytest.mark.parametrize(("first", "second"), [(("N", 3), ("M", 3)), (("N", 3), (2, 3)), ((2,), (3,))])
def test_broadcast_refuses_unequal_sizes(first: Shape, second: Shape) -> None:
    with pytest.raises(FireforgeError, match="do not broadcast"):
        _one("Add", first, second)


IMAGE = ("N", 4, 8, 8)
REFUSED: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("Conv", [IMAGE, (6, 4, 3, 3)], {"kernel_shape": (2, 2)}, "kernel_shape"),
    ("Conv", [IMAGE, (6, 2, 3, 3)], {"kernel_shape": (3, 3), "group": 4}, "channels do not agree"),
    ("Conv", [IMAGE, (6, 4, 3, 3)], {"kernel_shape": (3, 3), "group": 0}, "group 0"),
    ("Conv", [IMAGE, (6, 4, 3, 3), (5,)], {"kernel_shape": (3, 3)}, "bias is"),
    ("Conv", [IMAGE, (6, 4, 9, 9)], {"kernel_shape": (9, 9)}, "does not fit"),
    ("Conv", [("N", 4, "H", 8), (6, 4, 3, 3)], {"kernel_shape": (3, 3)}, "H is a symbol"),
    ("Conv", [IMAGE, (6, 4, 3, 3)], {"kernel_shape": (3, 3), "strides": (2,)}, "2 strides"),
    ("Conv", [IMAGE, (6, 4, 3, 3)], {"kernel_shape": (3, 3), "pads": (1, 1)}, "4 pads"),
    ("Conv", [IMAGE, (6, 4, 3, 3)], {"kernel_shape": (3, 3), "pads": (-1, 0, 0, 0)}, "pads >= 0"),
    ("Conv", [IMAGE, (6, 4, 3, 3)], {"kernel_shape": (3, 3), "dilations": (0, 1)}, "dilations"),
    ("Conv", [("N", 4, 8), (6, 4, 3, 3)], {"kernel_shape": (3, 3)}, "spatial sizes"),
    ("ConvTranspose", [IMAGE, (5, 4, 3, 3)], {"kernel_shape": (3, 3)}, "channels do not agree"),
    ("ConvTranspose", [("N", 4, 1, 1), (4, 4, 3, 3)], {"kernel_shape": (3, 3), "pads": (2, 2, 2, 2)}, "leave nothing"),
    ("MaxPool", [IMAGE], {"kernel_shape": (2, 2), "pads": (2, 0, 0, 0)}, "smaller than the window"),
    ("MaxPool", [IMAGE], {"kernel_shape": (2, 2), "ceil_mode": 2}, "0 or 1"),
    ("AveragePool", [IMAGE], {"kernel_shape": (2, 2), "count_include_pad": 3}, "0 or 1"),
    ("GlobalAveragePool", [("N", 4)], {}, "spatial"),
    ("BatchNormalization", [IMAGE, (4,), (4,), (5,), (4,)], {}, "input 3"),
    ("LayerNormalization", [("N", 4), (5,)], {}, "do not broadcast"),
    ("LayerNormalization", [("N", 4), (4,), ("N", 4)], {}, "scale or bias"),
    ("LayerNormalization", [("N", 4), (4,)], {"axis": 2}, "axis 2"),
    ("LRN", [IMAGE], {"size": 0}, "size 0"),
    ("Gemm", [("N", 4), (5, 3)], {}, "4 against 5"),
    ("Gemm", [("N", 4, 1), (4, 3)], {}, "two matrices"),
    ("Gemm", [("N", 4), (4, 3), (2,)], {}, "do not broadcast"),
    ("Gemm", [("N", 4), (4, 3)], {"transA": 2}, "0 or 1"),
    ("MatMul", [("N", 4), (5, 3)], {}, "do not meet"),
    ("MatMul", [(), (5, 3)], {}, "at least one axis"),
    ("Softmax", [("N", 4)], {"axis": 2}, "axis 2"),
    ("Concat", [("N", 4), ("M", 4)], {"axis": 1}, "cannot join"),
    ("Concat", [("N", 4), ("N", 4)], {"axis": 0}, "is a symbol"),
    ("Flatten", [("N", 4, 2)], {"axis": 2}, "N times 4"),
    ("Reshape", [(4, 2)], {"shape": (-1, -1)}, "at most one -1"),
    ("Transpose", [("N", 4)], {"perm": (0, 0)}, "perm"),
    ("ReduceMean", [("N", 4)], {"axes": (1, -1)}, "twice"),
    ("ReduceMean", [("N", 4)], {"keepdims": 2}, "0 or 1"),
    ("Slice", [("N", 4)], {"starts": (1,), "ends": (9,), "axes": (0,), "steps": (1,)}, "is a symbol"),
    ("Slice", [("N", 4)], {"starts": (1,), "ends": (9,), "axes": (1,), "steps": (0,)}, "not 0"),
    ("Slice", [("N", 4)], {"starts": (1,), "ends": (9, 9), "axes": (1,), "steps": (1,)}, "equal lengths"),
    ("Split", [("N", 4)], {"axis": 1, "split": (1, 2)}, "the parts make 3"),
    ("Split", [("N", 4)], {"axis": 1, "split": (0, 4)}, "sizes >= 1"),
    ("Pad", [("N", 4)], {"pads": (1, 0, 0, 0)}, "is a symbol"),
    ("Pad", [("N", 4)], {"pads": (0, 0, 0)}, "begins, then"),
    ("Pad", [("N", 4)], {"pads": (0, 4, 0, 0), "mode": "reflect"}, "smaller"),
    ("Pad", [("N", 4)], {"pads": (0, -4, 0, 0)}, "leave nothing"),
    ("Pad", [("N", 4)], {"pads": (0, 1, 0, 0), "value": 0.5, "dtype": "uint8"}, "whole numbers 0 to 255"),
    ("Pad", [("N", 4)], {"pads": (0, 1, 0, 0), "value": -1.0, "dtype": "uint8"}, "whole numbers 0 to 255"),
    ("Clip", [("N", 4)], {"min": 0.5, "dtype": "int8"}, "whole numbers"),
    ("Pad", [("N", 4)], {"pads": (0, 0, 0, 0), "mode": "wrap"}, "constant, edge, reflect"),
    ("Resize", [IMAGE], {}, "one of them"),
    ("Resize", [IMAGE], {"scales": (2.0, 1.0, 1.0, 1.0)}, "only scale 1"),
    ("Resize", [IMAGE], {"scales": (1.0, 1.0, 0.1, 1.0)}, "leave nothing"),
    ("Resize", [IMAGE], {"scales": (1.0, 1.0, 1e38, 1.0)}, "scales > 0"),
    ("Resize", [IMAGE], {"scales": (1.0, 1.0, 2.0, 2.0), "mode": "cubic"}, "nearest, linear"),
    ("Gather", [("N", 4), (2,)], {}, "int32 or int64"),
    ("QuantizeLinear", [IMAGE, (3,)], {}, "scale"),
    ("DequantizeLinear", [IMAGE, ()], {}, "dtype float32"),
]


@pytest.mark.parametrize(("op", "shapes", "attrs", "says"), REFUSED)
def test_rules_refuse_with_a_clear_line(op: str, shapes: list[Any], attrs: dict[str, Any], says: str) -> None:
    with pytest.raises(FireforgeError) as caught:
        _one(op, *shapes, **attrs)
    assert caught.value.code in ("BAD_SHAPE", "BAD_GRAPH")
    assert says in str(caught.value)


@pytest.mark.parametrize("op", ["Conv", "Gemm", "Add", "BatchNormalization", "Concat", "MatMul"])
def test_rules_refuse_mixed_dtypes(op: str) -> None:
    typed: list[Any] = [("float32", (2, 2)), ("float16", (2, 2)), *[("float32", (2,))] * 3]
    attrs: dict[str, Any] = {"kernel_shape": (), "axis": 1}
    count = max(OPERATORS[op].inputs[0], 2)
    with pytest.raises(FireforgeError):
        OPERATORS[op].infer(typed[:count], {**OPERATORS[op].defaults, **attrs})


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads", "floor", "ceil"),
    [(224, 7, 2, (0, 0), 109, 110), (111, 3, 2, (0, 0), 55, 55), (110, 3, 2, (0, 0), 54, 55), (2, 2, 3, (1, 1), 1, 1)],
)
def test_window_counts_by_hand(
    size: int, kernel: int, stride: int, pads: tuple[int, int], floor: int, ceil: int
) -> None:
    attrs: dict[str, Any] = {"kernel_shape": (kernel,), "strides": (stride,), "pads": pads}
    assert _one("MaxPool", ("N", 1, size), **attrs) == ("N", 1, floor)
    assert _one("MaxPool", ("N", 1, size), ceil_mode=1, **attrs) == ("N", 1, ceil)


def test_a_node_is_inferred_in_microseconds() -> None:
    """A network of 70 nodes should need well under 0.5 ms; ten times that is refused here, for slow machines."""
    nodes = tuple(
        Node(name=f"c{i}", op="Conv", inputs=(f"t{i}", "w"), outputs=(f"t{i + 1}",), attrs={"kernel_shape": (1, 1)})
        for i in range(70)
    )
    graph = Graph(
        inputs=(TensorType(name="t0", shape=("N", 8, 9, 9)),),
        outputs=("t70",),
        weights=(TensorType(name="w", shape=(8, 8, 1, 1)),),
        nodes=nodes,
    )
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        infer(graph)
        best = min(best, time.perf_counter() - start)
    assert best < 5e-3
