# SPDX-License-Identifier: Apache-2.0
"""Execution of graphs: results by hand, wanted tensors, freed tensors, and refusals."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fireforge.base import reference as module
from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.ops.operator import Attrs, Operator
from fireforge.base.ops.rules import given, same_typed
from fireforge.base.reference import run_reference

GRAPH = Graph(
    inputs=(TensorType(name="x", shape=("N", 2)), TensorType(name="y", shape=("N", 2))),
    outputs=("relu", "scaled"),
    weights=(TensorType(name="w", shape=(2,)),),
    nodes=(
        Node(name="n0", op="Sub", inputs=("x", "y"), outputs=("less",)),
        Node(name="n1", op="Relu", inputs=("less",), outputs=("relu",)),
        Node(name="n2", op="Mul", inputs=("y", "w"), outputs=("scaled",)),
    ),
)
X = np.array([[1, 2], [3, 4]], np.float32)
Y = np.array([[2, 1], [1, 9]], np.float32)
W = np.array([10, -1], np.float32)


def _run(**changes: Any) -> dict[str, np.ndarray]:
    wanted = changes.pop("wanted", None)
    arrays = {"x": X, "y": Y, "w": W, **changes}
    weights = {name: array for name, array in arrays.items() if name == "w" and array is not None}
    inputs = {name: array for name, array in arrays.items() if name != "w" and array is not None}
    return run_reference(GRAPH, weights, inputs, wanted=wanted)


def test_outputs_by_hand() -> None:
    results = _run()
    assert list(results) == ["relu", "scaled"]
    assert results["relu"].tolist() == [[0, 1], [2, 0]]
    assert results["scaled"].tolist() == [[20, -1], [10, -9]]


def test_wanted_may_name_any_tensor() -> None:
    results = _run(wanted=["less", "w", "x"])
    assert list(results) == ["less", "w", "x"]
    assert results["less"].tolist() == [[-1, 1], [2, -5]]
    assert results["x"] is X


def test_an_unknown_wanted_name_is_refused() -> None:
    with pytest.raises(FireforgeError, match="UNKNOWN_NAME: the graph has no tensor called 'z'"):
        _run(wanted=["z"])


@pytest.mark.parametrize(("changes", "says"), [
    ({"x": None}, "x: input is absent"),
    ({"w": None}, "w: weight is absent"),
    ({"z": X}, "z: the graph has no such input; allowed: x, y"),
    ({"x": X.astype(np.float64)}, r"x: input is float64 \(2, 2\)"),
    ({"x": X[:, :1]}, r"x: input is float32 \(2, 1\); allowed: float32 \('N', 2\)"),
    ({"x": X[0]}, r"x: input is float32 \(2,\)"),
    ({"y": Y[:1]}, "y: .* with N = 2"),
    ({"w": W[:1]}, "w: weight is float32"),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(FireforgeError, match="BAD_INPUT_TENSOR: " + says):
        _run(**changes)


def test_a_node_that_fails_is_named() -> None:
    graph = Graph(
        inputs=(TensorType(name="x", shape=(3,)), TensorType(name="i", dtype="int64", shape=(1,))),
        outputs=("y",),
        weights=(),
        nodes=(Node(name="pick", op="Gather", inputs=("x", "i"), outputs=("y",)),),
    )
    with pytest.raises(FireforgeError, match="BAD_SHAPE: pick: Gather: indices 3 to 3"):
        run_reference(graph, {}, {"x": np.zeros(3, np.float32), "i": np.array([3])})


def test_tensors_are_freed_and_unneeded_nodes_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of ten: at no time are more than two of its tensors alive, and the second branch never runs."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = []

    def run(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
        out = given(inputs[0]) + 1
        alive.append(weakref.ref(out))
        most.append(sum(ref() is not None for ref in alive))
        return (out,)

    monkeypatch.setattr(module, "OPERATORS", {"Relu": Operator(infer=same_typed, run=run, inputs=(1, 1))})
    nodes = [Node(name=f"n{i}", op="Relu", inputs=(f"t{i}",), outputs=(f"t{i + 1}",)) for i in range(10)]
    nodes.append(Node(name="side", op="Relu", inputs=("t0",), outputs=("side",)))
    graph = Graph(
        inputs=(TensorType(name="t0", shape=("N",)),), outputs=("t10", "side"), weights=(), nodes=tuple(nodes)
    )
    results = run_reference(graph, {}, {"t0": np.zeros(3, np.float32)}, wanted=["t10"])
    assert results["t10"].tolist() == [10, 10, 10]
    assert len(most) == 10
    assert max(most) == 2


def test_an_absent_optional_input_is_passed_over() -> None:
    graph = Graph(
        inputs=(TensorType(name="x", shape=(1, 2)),),
        outputs=("y",),
        weights=(TensorType(name="w", shape=(2, 1)),),
        nodes=(Node(name="n", op="Gemm", inputs=("x", "w", ""), outputs=("y",)),),
    )
    results = run_reference(graph, {"w": np.array([[3], [4]], np.float32)}, {"x": np.array([[1, 2]], np.float32)})
    assert results["y"].tolist() == [[11]]
