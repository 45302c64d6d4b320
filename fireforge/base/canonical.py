# SPDX-License-Identifier: Apache-2.0
"""One form for all graphs that are the same network, and its digest."""

from __future__ import annotations

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr, Graph, Node, TensorType
from fireforge.base.infer import filled
from fireforge.base.ops.table import OPERATORS
from fireforge.base.validate import FLOAT_TUPLES
from fireforge.base.value import sha256_of


def canonical(graph: Graph) -> Graph:
    """The same network with names and order that follow from its structure alone.

    The nodes come in the order of a walk from the outputs that visits a node's inputs from first to last, before the
    node; whatever names and whatever topological order were given, the walk is the same. Inputs keep their order,
    weights are numbered by first use and no longer fixed, which no file could tell, attributes are complete, sorted and
    of their operator's type.

    Args:
      graph: a graph that `validate` accepts.

    Returns:
      The graph with the names input0, weight0, node0, tensor0 and so on.

    Raises:
      FireforgeError: BAD_GRAPH, if a node or weight does not lead to an output, or the wiring has a circle or a gap.
    """
    order = _walk(graph)
    if len(order) != len(graph.nodes):
        raise FireforgeError("BAD_GRAPH", f"{len(graph.nodes) - len(order)} nodes do not lead to an output")
    names = {"": ""}
    names.update({tensor.name: f"input{i}" for i, tensor in enumerate(graph.inputs)})
    given = {tensor.name: tensor for tensor in graph.weights}
    weights: list[TensorType] = []
    nodes: list[Node] = []
    made = 0
    for node in order:
        for name in node.inputs:
            if name not in names:
                names[name] = f"weight{len(weights)}"
                weights.append(given[name].replace(name=names[name], fixed=()))
        for name in node.outputs:
            names[name] = f"tensor{made}"
            made += 1
        nodes.append(_renamed(node, len(nodes), names))
    for name in graph.outputs:
        if name not in names:
            names[name] = f"weight{len(weights)}"
            weights.append(given[name].replace(name=names[name], fixed=()))
    if len(weights) != len(given):
        raise FireforgeError("BAD_GRAPH", f"{len(given) - len(weights)} weights are not used")
    return Graph(
        inputs=tuple(tensor.replace(name=names[tensor.name]) for tensor in graph.inputs),
        outputs=tuple(names[name] for name in graph.outputs),
        weights=tuple(weights),
        nodes=tuple(nodes),
        opset=graph.opset,
    )


def graph_digest(graph: Graph) -> str:
    """Sha256 of the canonical form: equal for the same network under other names or in another order.

    Args:
      graph: a graph that `validate` accepts.

    Returns:
      64 hex digits.

    Raises:
      FireforgeError: BAD_GRAPH, where `canonical` raises it.
    """
    data = canonical(graph).to_json()
    for tensor in (*data["inputs"], *data["weights"]):
        del tensor["fixed"]  # numbers are no part of what is told apart here
    return sha256_of(data)


def _walk(graph: Graph) -> list[Node]:
    """Nodes that lead to the outputs, each behind the makers of its inputs; a stack stands in for recursion."""
    maker = {name: i for i, node in enumerate(graph.nodes) for name in node.outputs}
    known = {tensor.name for tensor in (*graph.inputs, *graph.weights)} | {""}
    order: list[Node] = []
    state = [0] * len(graph.nodes)  # 0 new, 1 its inputs are being visited, 2 done
    stack = [(name, "") for name in reversed(graph.outputs)]
    while stack:
        name, user = stack.pop()
        if name in known:
            continue
        if name not in maker:
            raise FireforgeError("BAD_GRAPH", f"nothing makes {name!r}", where=user)
        index = maker[name]
        node = graph.nodes[index]
        if state[index] == 0:
            state[index] = 1
            stack.append((name, user))
            stack.extend((source, node.name) for source in reversed(node.inputs))
        elif state[index] == 1:
            # back at the node itself: its inputs are done, unless a circle led here
            if any(source in maker and state[maker[source]] != 2 for source in node.inputs):
                raise FireforgeError("BAD_GRAPH", "the node depends on itself", where=node.name)
            state[index] = 2
            order.append(node)
    return order


def _renamed(node: Node, number: int, names: dict[str, str]) -> Node:
    inputs = [names[name] for name in node.inputs]
    while inputs and not inputs[-1]:
        inputs.pop()  # an absent optional input at the end need not be written
    attrs = filled(node)
    return Node(
        name=f"node{number}",
        op=node.op,
        inputs=tuple(inputs),
        outputs=tuple(names[name] for name in node.outputs),
        attrs={name: _typed(node.op, name, attrs[name]) for name in sorted(attrs)},
    )


def _typed(op: str, name: str, value: Attr) -> Attr:
    """Floats as floats: 0 and 0.0 are one bound."""
    if (op, name) in FLOAT_TUPLES and isinstance(value, tuple):
        return tuple(float(part) for part in value)
    if isinstance(value, int) and isinstance(OPERATORS[op].defaults.get(name), float):
        return float(value)
    return value
