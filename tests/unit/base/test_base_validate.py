# SPDX-License-Identifier: Apache-2.0
"""Each way in which a graph can be wrong is refused, and named."""

from __future__ import annotations

from typing import Any

import pytest

from fireforge.base import validate as module
from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.validate import validate

X = TensorType(name="x", shape=("N", 3, 8, 8))
W = TensorType(name="w", shape=(4, 3, 3, 3))
CONV = Node(name="conv", op="Conv", inputs=("x", "w"), outputs=("c",), attrs={"kernel_shape": (3, 3)})
RELU = Node(name="relu", op="Relu", inputs=("c",), outputs=("r",))
GOOD = Graph(inputs=(X,), outputs=("r",), weights=(W,), nodes=(CONV, RELU))


def _conv(**attrs: Any) -> dict[str, Any]:
    return {"nodes": (CONV.replace(attrs={**CONV.attrs, **attrs}), RELU)}


def test_a_good_graph_passes() -> None:
    validate(GOOD)
    validate(Graph.from_json(GOOD.to_json()))
    validate(GOOD.replace(weights=(W.replace(fixed=(1.0,) * 108),)))


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"opset": 18}, "graph", "opset 18"),
    ({"inputs": ()}, "graph", "0 inputs"),
    ({"outputs": ()}, "graph", "0 outputs"),
    ({"outputs": ("nothing",)}, "graph", "'nothing' does not exist"),
    ({"outputs": ("r", "r")}, "graph", "twice"),
    ({"inputs": (X, X)}, "x", "made twice"),
    ({"weights": (W, W)}, "w", "made twice"),
    ({"weights": (W, W.replace(name="v"))}, "v", "no node uses"),
    ({"inputs": (X, X.replace(name="y"))}, "y", "no node uses"),
    ({"inputs": (X.replace(dtype="float64"),)}, "x", "dtype 'float64'"),
    ({"inputs": (X.replace(shape=("N", 0, 8, 8)),)}, "x", "size '0'"),
    ({"inputs": (X.replace(shape=("N", 3, 2**31, 8)),)}, "x", "size '2147483648'"),
    ({"inputs": (X.replace(shape=("N", 3, True, 8)),)}, "x", "size 'True'"),
    ({"inputs": (X.replace(shape=("", 3, 8, 8)),)}, "x", "size ''"),
    ({"inputs": (X.replace(shape=("N + 1", 3, 8, 8)),)}, "x", "size 'N + 1'"),
    ({"inputs": (X.replace(shape=(1,) * 9),)}, "x", "9 axes"),
    ({"inputs": (X.replace(name=""),)}, "", "name ''"),
    ({"inputs": (X.replace(name="x" * 513),)}, "x" * 80, "name 'xxx"),
    ({"inputs": (X.replace(name="x\n"),)}, "x\n", "printable"),
    ({"weights": (W.replace(shape=("K", 3, 3, 3)),)}, "w", "weight of shape"),
    ({"weights": (W.replace(fixed=(1.0,) * 107),)}, "w", "107 fixed numbers"),
    ({"inputs": (X.replace(fixed=(1.0,)),)}, "x", "an input with fixed numbers"),
    ({"nodes": (RELU, CONV)}, "relu", "topological order"),
    ({"nodes": (CONV, RELU.replace(name="conv"))}, "conv", "two nodes"),
    ({"nodes": (CONV.replace(name=""), RELU)}, "", "name ''"),
    ({"nodes": (CONV, RELU.replace(outputs=("c",)))}, "relu", "'c' is made twice"),
    ({"nodes": (CONV, RELU.replace(outputs=("",)))}, "relu", "name ''"),
    ({"nodes": (CONV, RELU.replace(inputs=("z",)))}, "relu", "input 'z'"),
    ({"nodes": (CONV, RELU.replace(inputs=("r",)))}, "relu", "input 'r'"),
    ({"nodes": (CONV, RELU.replace(inputs=("c", "c")))}, "relu", "Relu with 2 inputs"),
    ({"nodes": (CONV, RELU.replace(inputs=("",)))}, "relu", "without input 0"),
    ({"nodes": (CONV, RELU.replace(outputs=()))}, "relu", "with 0 outputs"),
    ({"nodes": (CONV, RELU.replace(outputs=("r", "s")))}, "relu", "with 2 outputs"),
    ({"nodes": (CONV, RELU, RELU.replace(name="more", outputs=("m",)))}, "more", "nothing that Relu makes is used"),
    ({"nodes": (CONV, RELU.replace(op="Selu"))}, "relu", "no operator called 'Selu'"),
    ({"nodes": (CONV, RELU.replace(attrs={"alpha": 1.0}))}, "relu", "has no attribute 'alpha'; allowed: none"),
    ({"nodes": (CONV.replace(attrs={}), RELU)}, "conv", "lacks attribute kernel_shape"),
    (_conv(auto_pad="SAME_UPPER"), "conv", "has no attribute 'auto_pad'"),
    (_conv(group=True), "conv", "group 'True'"),
    (_conv(group=1.0), "conv", "group '1.0'"),
    (_conv(group=2**63), "conv", "int64"),
    (_conv(strides=2), "conv", "strides '2'; allowed: tuple of int"),
    (_conv(strides=(2.0, 2.0)), "conv", "strides"),
    (_conv(strides=(True, 1)), "conv", "strides"),
    (_conv(pads="1"), "conv", "pads '1'"),
    ({"nodes": (CONV, RELU.replace(op="LeakyRelu", attrs={"alpha": "1"}))}, "relu", "allowed: float"),
    ({"nodes": (CONV, RELU.replace(op="LeakyRelu", attrs={"alpha": float("nan")}))}, "relu", "alpha 'nan'"),
    ({"nodes": (CONV, RELU.replace(op="LeakyRelu", attrs={"alpha": 1e39}))}, "relu", "within float32"),
    ({"nodes": (CONV, RELU.replace(op="Resize", attrs={"scales": ("1",) * 4}))}, "relu", "tuple of float"),
    ({"nodes": (CONV, RELU.replace(op="Resize", attrs={"mode": 1}))}, "relu", "allowed: str"),
]


@pytest.mark.parametrize(("changes", "where", "says"), BAD)
def test_a_bad_graph_is_refused_by_name(changes: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(FireforgeError) as caught:
        validate(GOOD.replace(**changes))
    assert caught.value.code == "BAD_GRAPH"
    assert caught.value.where == where
    assert says in str(caught.value)


def test_shapes_are_checked_last() -> None:
    with pytest.raises(FireforgeError, match="BAD_SHAPE: conv: Conv"):
        validate(GOOD.replace(**_conv(kernel_shape=(3, 2))))


def test_sizes_made_on_the_way_are_limited() -> None:
    node = Node(name="pad", op="Pad", inputs=("x",), outputs=("r",), attrs={"pads": (0, 0, 0, 0, 0, 0, 0, 2**31)})
    with pytest.raises(FireforgeError, match="BAD_GRAPH: r: shape"):
        validate(Graph(inputs=(X,), outputs=("r",), weights=(), nodes=(node,)))
    node = Node(name="wide", op="Reshape", inputs=("x",), outputs=("r",), attrs={"shape": (0, 0, 0, 0, 1, 1, 1, 1, 1)})
    with pytest.raises(FireforgeError, match="BAD_GRAPH: r: 9 axes"):
        validate(Graph(inputs=(X,), outputs=("r",), weights=(), nodes=(node,)))


def test_the_number_of_nodes_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NODES", 1)
    with pytest.raises(FireforgeError, match="2 nodes; allowed: at most 1"):
        validate(GOOD)


def test_an_int_does_for_a_float() -> None:
    validate(GOOD.replace(nodes=(CONV, RELU.replace(op="Clip", attrs={"min": 0, "max": 6}))))


def test_unused_parts_of_a_split_are_fine() -> None:
    node = Node(name="s", op="Split", inputs=("x",), outputs=("a", "b"), attrs={"axis": 1, "split": (1, 2)})
    validate(Graph(inputs=(X,), outputs=("b",), weights=(), nodes=(node,)))
