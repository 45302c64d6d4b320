# SPDX-License-Identifier: Apache-2.0
"""Idle nodes taken out: the same numbers (exactly, the same reference runs), the same names at the borders."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.clean import without_idle
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.reference import run_reference
from fireforge.base.validate import validate

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


def chain(*parts: str, outputs: tuple[str, ...] = ("y",)) -> Graph:
    """A graph of unary nodes written "Op source target"."""
    nodes = [
        Node(name=f"n{i}", op=p.split()[0], inputs=(p.split()[1],), outputs=(p.split()[2],))
        for i, p in enumerate(parts)
    ]
    return Graph(inputs=(TensorType(name="x", shape=("N", 3)),), outputs=outputs, weights=(), nodes=tuple(nodes))


@pytest.mark.parametrize(
    ("graph", "left"),
    [
        (chain("Relu x a", "Dropout a b", "Tanh b y"), ["Relu", "Tanh"]),
        (chain("Relu x a", "Dropout a b", "Identity b c", "Tanh c y"), ["Relu", "Tanh"]),
        (chain("Relu x a", "Identity a y"), ["Relu"]),
        (chain("Relu x a", "Dropout a b", "Identity b y"), ["Relu"]),
        (chain("Relu x a", "Identity a y", "Tanh a z", outputs=("y", "z")), ["Relu", "Tanh"]),
        (chain("Relu x a", "Identity a y", "Identity a z", outputs=("y", "z")), ["Relu", "Identity"]),
        (chain("Relu x a", "Identity a b", "Identity a y", "Tanh b z", outputs=("y", "z")), ["Relu", "Tanh"]),
        (chain("Identity x y"), ["Identity"]),
        (chain("Dropout x a", "Relu a y"), ["Relu"]),
    ],
)
def test_idle_nodes_go_and_nothing_else_changes(graph, left):
    clean = without_idle(graph)
    validate(clean)
    assert [node.op for node in clean.nodes] == left
    assert (clean.inputs, clean.outputs) == (graph.inputs, graph.outputs)
    want, got = (run_reference(g, {}, {"x": X}) for g in (graph, clean))
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], want[name])
