# SPDX-License-Identifier: Apache-2.0
"""Canonical form: the same network under other names or in another order, and every change that must show."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.canonical import canonical, graph_digest
from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.reference import run_reference
from fireforge.base.validate import validate

SHAPE = ("N", 4, 5, 5)
ATTRS: dict[str, dict[str, Any]] = {
    "Relu": {},
    "Tanh": {},
    "LeakyRelu": {"alpha": 0.25},
    "Add": {},
    "Sub": {},
    "Conv": {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)},
    "Split": {"axis": 1, "split": (2, 2)},
    "Concat": {"axis": 1},
}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random valid graphs of one to fourteen nodes on one shape; siblings alike and shared weights are common."""
    made = ["x", "y"]
    weights: list[str] = []
    nodes: list[Node] = []
    for i in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from(["Relu", "Tanh", "LeakyRelu", "Add", "Sub", "Conv", "Split"]))
        inputs = [draw(st.sampled_from(made))]
        if op in ("Add", "Sub"):
            inputs.append(draw(st.sampled_from(made)))
        if op == "Conv":
            weights.append(f"w{i}") if not weights or draw(st.booleans()) else None
            inputs.append(draw(st.sampled_from(weights)))
        outputs = (f"t{i}",)
        if op == "Split":
            halves = (f"h{i}a", f"h{i}b")
            nodes.append(Node(name=f"s{i}", op=op, inputs=tuple(inputs), outputs=halves, attrs=ATTRS[op]))
            op, inputs = "Concat", [halves[draw(st.integers(0, 1))], halves[draw(st.integers(0, 1))]]
        nodes.append(Node(name=f"n{i}", op=op, inputs=tuple(inputs), outputs=outputs, attrs=ATTRS[op]))
        made.append(f"t{i}")
    used = {name for node in nodes for name in node.inputs}
    ends = [name for node in nodes for name in node.outputs if name not in used and name.startswith("t")]
    ends += [name for name in ("x", "y") if name not in used]  # an input that no node takes goes straight out
    return Graph(
        inputs=tuple(TensorType(name=name, shape=SHAPE) for name in ("x", "y")),
        outputs=tuple(ends),
        weights=tuple(TensorType(name=name, shape=(4, 4, 3, 3)) for name in weights if name in used),
        nodes=tuple(nodes),
    )


def _shuffled(graph: Graph, seed: int) -> Graph:
    """The same network: other names everywhere, another topological order, weights in another order."""
    rng = random.Random(seed)
    made = {tensor.name for tensor in (*graph.inputs, *graph.weights)} | {""}
    left, order = list(graph.nodes), []
    while left:
        node = rng.choice([node for node in left if made.issuperset(node.inputs)])
        left.remove(node)
        order.append(node)
        made.update(node.outputs)
    numbers = rng.sample(range(1000), len(made))
    names = {name: f"name{number}" for name, number in zip(sorted(made), numbers)}
    names[""] = ""
    weights = list(graph.weights)
    rng.shuffle(weights)
    return Graph(
        inputs=tuple(tensor.replace(name=names[tensor.name]) for tensor in graph.inputs),
        outputs=tuple(names[name] for name in graph.outputs),
        weights=tuple(tensor.replace(name=names[tensor.name]) for tensor in weights),
        nodes=tuple(
            node.replace(
                name=f"node{rng.random()}",
                inputs=tuple(names[name] for name in node.inputs),
                outputs=tuple(names[name] for name in node.outputs),
                attrs=dict(rng.sample(sorted(node.attrs.items()), len(node.attrs))),
            )
            for node in order
        ),
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graphs(), st.integers(0, 10**6))
def test_other_names_and_orders_are_the_same_network(graph: Graph, seed: int) -> None:
    validate(graph)
    other = _shuffled(graph, seed)
    validate(other)
    assert canonical(other) == canonical(graph)
    assert graph_digest(other) == graph_digest(graph)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(graphs())
def test_the_canonical_form_is_valid_and_its_own(graph: Graph) -> None:
    form = canonical(graph)
    validate(form)
    assert canonical(form) == form
    assert Graph.from_json(form.to_json()) == form


@settings(max_examples=40, deadline=None, derandomize=True)
@given(graphs())
def test_the_canonical_form_computes_the_same_numbers(graph: Graph) -> None:
    """Reference: the graph itself, run on the same arrays, equal bit by bit."""
    rng = np.random.default_rng(0)
    form = canonical(graph)
    x, y = (rng.standard_normal((2, *SHAPE[1:])).astype(np.float32) for _ in range(2))
    weights = {tensor.name: rng.standard_normal(tensor.shape).astype(np.float32) for tensor in graph.weights}
    first = run_reference(graph, weights, {"x": x, "y": y})
    renamed = {}  # by first use: the wiring of equal nodes tells which weight is which
    pairs = zip(_in_canonical_order(graph), form.nodes)
    for old, new in pairs:
        renamed.update({b: weights[a] for a, b in zip(old.inputs, new.inputs) if a in weights})
    second = run_reference(form, renamed, {"input0": x, "input1": y})
    for a, b in zip(graph.outputs, form.outputs):
        np.testing.assert_array_equal(first[a], second[b])


def _in_canonical_order(graph: Graph) -> list[Node]:
    """A naive, recursive version of the walk."""
    maker = {name: node for node in graph.nodes for name in node.outputs}
    order: list[Node] = []

    def visit(name: str) -> None:
        if name in maker and maker[name] not in order:
            for source in maker[name].inputs:
                visit(source)
            order.append(maker[name])

    for name in graph.outputs:
        visit(name)
    return order


def _changes(graph: Graph) -> list[Graph]:
    """Every graph that differs in one wire, operator, attribute, shape, dtype, or in the outputs."""
    out: list[Graph] = []
    for i, node in enumerate(graph.nodes):
        changed: list[Node] = []
        if node.op == "LeakyRelu":
            changed.append(node.replace(attrs={"alpha": 0.5}))
        if node.op == "Conv":
            changed.append(node.replace(attrs={**node.attrs, "strides": (1, 2)}))
        if node.op in ("Relu", "Add"):
            changed.append(node.replace(op={"Relu": "Tanh", "Add": "Sub"}[node.op]))
        if node.inputs[0] != "x":
            changed.append(node.replace(inputs=("x", *node.inputs[1:])))
        out += [graph.replace(nodes=(*graph.nodes[:i], new, *graph.nodes[i + 1 :])) for new in changed]
    out.append(graph.replace(inputs=tuple(t.replace(shape=("N", 4, 6, 5)) for t in graph.inputs)))
    out.append(graph.replace(inputs=tuple(t.replace(dtype="float16") for t in graph.inputs)))
    if graph.weights:
        out.append(graph.replace(weights=tuple(t.replace(shape=(4, 4, 1, 3)) for t in graph.weights)))
    if len(graph.outputs) > 1:
        out.append(graph.replace(outputs=graph.outputs[::-1]))
    return out


@settings(max_examples=100, deadline=None, derandomize=True)
@given(graphs())
def test_every_change_of_attribute_shape_or_wiring_shows(graph: Graph) -> None:
    """Reference: two graphs are one network only if their results agree; a changed output order of equals may agree."""
    digest = graph_digest(graph)
    for other in _changes(graph):
        try:
            changed = graph_digest(other)
        except FireforgeError:
            continue  # the change cut a node or weight off
        if changed == digest:
            assert other.outputs == graph.outputs[::-1]
            assert _mirrored(graph)


def _mirrored(graph: Graph) -> bool:
    """Whether the outputs may be swapped by an automorphism: each output's own tree looks like its mirror's."""

    def tree(name: str) -> str:
        maker = {out: node for node in graph.nodes for out in node.outputs}
        if name not in maker:
            return name if name in ("x", "y") else "w"
        node = maker[name]
        return f"{node.op}{node.outputs.index(name)}({','.join(tree(source) for source in node.inputs)})"

    return [tree(name) for name in graph.outputs] == [tree(name) for name in graph.outputs[::-1]]


def _pair(shared: bool) -> Graph:
    """Two convolutions of one input, with one weight or with two."""
    names = ("w", "w" if shared else "v")
    nodes = [
        Node(name=f"c{i}", op="Conv", inputs=("x", names[i]), outputs=(f"c{i}",), attrs={"kernel_shape": (1, 1)})
        for i in range(2)
    ]
    nodes.append(Node(name="s", op="Sub", inputs=("c0", "c1"), outputs=("s",)))
    return Graph(
        inputs=(TensorType(name="x", shape=SHAPE),),
        outputs=("s",),
        weights=tuple(TensorType(name=name, shape=(3, 4, 1, 1)) for name in sorted(set(names))),
        nodes=tuple(nodes),
    )


def test_a_shared_weight_is_not_two_weights() -> None:
    assert graph_digest(_pair(True)) != graph_digest(_pair(False))


def test_defaults_ints_for_floats_and_empty_last_inputs_do_not_show() -> None:
    def clip(**attrs: Any) -> Graph:
        node = Node(name="n", op="Clip", inputs=("x",), outputs=("y",), attrs=attrs)
        return Graph(inputs=(TensorType(name="x", shape=SHAPE),), outputs=("y",), weights=(), nodes=(node,))

    assert graph_digest(clip(min=0)) == graph_digest(clip(min=0.0, max=3.4028234663852886e38))
    assert graph_digest(clip(min=0)) != graph_digest(clip(min=1))
    pair = _pair(False)
    first = pair.nodes[0]
    explicit = first.replace(inputs=(*first.inputs, ""), attrs={**first.attrs, "strides": (1, 1), "group": 1})
    assert canonical(pair.replace(nodes=(explicit, *pair.nodes[1:]))) == canonical(pair)


def test_names_by_hand() -> None:
    form = canonical(_pair(False))
    assert [node.name for node in form.nodes] == ["node0", "node1", "node2"]
    assert form.nodes[2].inputs == ("tensor0", "tensor1")
    assert [tensor.name for tensor in form.weights] == ["weight0", "weight1"]
    assert form.outputs == ("tensor2",)
    assert list(form.nodes[0].attrs) == ["dilations", "group", "kernel_shape", "pads", "strides"]


def test_swapped_twins_are_one_network_by_hand() -> None:
    """c0 - c1 and c1 - c0 differ in names alone, since both are the same convolution with a weight of its own."""
    pair = _pair(False)
    last = pair.nodes[2].replace(inputs=("c1", "c0"))
    assert graph_digest(pair.replace(nodes=(*pair.nodes[:2], last))) == graph_digest(pair)


def test_what_leads_nowhere_is_refused() -> None:
    pair = _pair(False)
    with pytest.raises(FireforgeError, match="BAD_GRAPH: 1 nodes do not lead"):
        canonical(pair.replace(outputs=("c0",), nodes=pair.nodes[:2]))
    with pytest.raises(FireforgeError, match="BAD_GRAPH: 1 weights are not used"):
        canonical(pair.replace(weights=(*pair.weights, TensorType(name="u", shape=(1,)))))
    with pytest.raises(FireforgeError, match="BAD_GRAPH: c0: nothing makes 'gone'"):
        canonical(pair.replace(nodes=(pair.nodes[0].replace(inputs=("x", "gone")), *pair.nodes[1:])))
    circle = pair.nodes[0].replace(inputs=("s", "w"))
    with pytest.raises(FireforgeError, match=r"BAD_GRAPH: .*depends on itself"):
        canonical(pair.replace(nodes=(circle, *pair.nodes[1:])))


def test_deep_graphs_do_not_exhaust_the_stack() -> None:
    nodes = tuple(Node(name=f"n{i}", op="Relu", inputs=(f"t{i}",), outputs=(f"t{i + 1}",)) for i in range(5000))
    graph = Graph(inputs=(TensorType(name="t0", shape=SHAPE),), outputs=("t5000",), weights=(), nodes=nodes)
    assert canonical(graph).outputs == ("tensor4999",)


def test_fixed_numbers_are_no_part_of_the_form() -> None:
    """A file does not tell them from other weights, so a network that was written and read is still the same."""
    nodes = (Node(name="n", op="Mul", inputs=("x", "w"), outputs=("y",)),)
    source, weight = TensorType(name="x", shape=("N", 2)), TensorType(name="w", shape=(2,))
    plain = Graph(inputs=(source,), outputs=("y",), weights=(weight,), nodes=nodes)
    held = plain.replace(weights=(weight.replace(fixed=(1.0, 2.0)),))
    assert canonical(held) == canonical(plain)
    assert graph_digest(held) == graph_digest(plain)
    of_old = "37428cc449a3e40e5c288dae20d59a1e3397be2a7b272362c57033170007d2ec"
    assert graph_digest(plain) == of_old  # as before weights could be fixed
