# SPDX-License-Identifier: Apache-2.0
"""The trunk of a network: its first output and what leads to it, by hand."""

from __future__ import annotations

import numpy as np

from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.reference import run_reference
from fireforge.base.trunk import trunk
from fireforge.base.validate import validate


def node(name: str, op: str, *inputs: str) -> Node:
    return Node(name=name, op=op, inputs=inputs, outputs=(name,))


GRAPH = Graph(
    inputs=(TensorType(name="x", shape=("N", 3)),),
    outputs=("y", "head"),
    weights=(TensorType(name="w", shape=(3,)), TensorType(name="v", shape=(3,))),
    nodes=(
        node("a", "Relu", "x"),
        node("b", "Mul", "a", "v"),
        node("y", "Add", "a", "w"),
        node("head", "Tanh", "b"),
    ),
)


def test_heads_go_with_their_weights():
    made = trunk(GRAPH)
    validate(made)
    assert [one.name for one in made.nodes] == ["a", "y"]
    assert [one.name for one in made.weights] == ["w"]
    arrays = {"w": np.array([1, 2, 3], np.float32), "v": np.ones(3, np.float32)}
    x = np.array([[-1, 0, 2]], np.float32)
    whole = run_reference(GRAPH, arrays, {"x": x})
    assert run_reference(made, {"w": arrays["w"]}, {"x": x})["y"].tolist() == whole["y"].tolist() == [[1, 2, 5]]


def test_what_an_output_is_made_of_stays_even_if_it_is_an_output_too():
    made = trunk(GRAPH.replace(outputs=("head", "y")))
    assert [one.name for one in made.nodes] == ["a", "b", "head"]
    assert [one.name for one in made.weights] == ["v"]


def test_one_output_is_left_alone():
    alone = trunk(GRAPH)
    assert trunk(alone) is alone
