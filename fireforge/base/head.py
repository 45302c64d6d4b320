# SPDX-License-Identifier: Apache-2.0
"""The layer of a network that makes its classes, and the same network for another number of them."""

from __future__ import annotations

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import infer

ACTIVATIONS = ("Clip", "HardSwish", "LeakyRelu", "Relu")
# operators behind the layer that leave its rows of classes apart; Reshape and Flatten, as what they make is looked at
APART = (
    *ACTIVATIONS,
    "AveragePool",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "ReduceMean",
    "Reshape",
)


def head_of(graph: Graph) -> Node:
    """The layer whose rows are the classes.

    Args:
      graph: whose first output is (N, K).

    Returns:
      A Gemm, or a Conv of one group, as in SqueezeNet where a pooling comes behind it.

    Raises:
      FireforgeError: NO_HEAD, naming the operator that is in the way.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    node = makers.get(graph.outputs[0])
    while node is not None and node.op in APART:
        node = makers.get(node.inputs[0])
    weights = {weight.name for weight in graph.weights}
    if node is None or not _is_head(node) or not weights.issuperset(filter(None, node.inputs[1:])):
        what = "the input is the output" if node is None else f"the classes come from {node.op} at {node.name!r}"
        raise FireforgeError("NO_HEAD", what, allowed="a Gemm, or a Conv of one group, with numbers of its own")
    return node


def with_classes(graph: Graph, classes: int) -> Graph:
    """The same network with another number of classes.

    Args:
      graph: whose first and only output is (N, K).
      classes: wanted, at least 1.

    Returns:
      The graph; of its weights those of `head_of` alone have another shape.

    Raises:
      FireforgeError: NO_HEAD, if no single layer makes the classes, or what comes behind it is bound to their number.
    """
    head = head_of(graph)
    before = infer(graph)[graph.outputs[0]].shape
    rows = dict.fromkeys(filter(None, head.inputs[1:]), 0)
    if head.op == "Gemm" and not head.attrs.get("transB", 0):
        rows[head.inputs[1]] = -1
    weights = tuple(_resized(w, rows[w.name], before[-1], classes) if w.name in rows else w for w in graph.weights)
    behind = graph.nodes[graph.nodes.index(head) + 1 :]
    nodes = tuple(_reshaped(node, before[-1], classes) if node in behind else node for node in graph.nodes)
    changed = graph.replace(weights=weights, nodes=nodes)
    after = infer(changed)[graph.outputs[0]].shape
    if after != (*before[:-1], classes):
        what = f"with {classes} classes it makes {after}"
        raise FireforgeError("NO_HEAD", what, where=f"{head.op} at {head.name!r}", allowed=f"(N, {classes})")
    return changed


def bare(graph: Graph) -> Graph:
    """The network without activations behind the layer that makes its classes.

    Under a ReLU, as SqueezeNet and NiN have one there, rows that are not yet right get no gradient where they are
    negative, and with few classes all of them soon are.

    Args:
      graph: as for `head_of`.

    Returns:
      The graph; what took an activation's output takes its input.

    Raises:
      FireforgeError: NO_HEAD.
    """
    head = head_of(graph)
    behind = graph.nodes[graph.nodes.index(head) + 1 :]
    gone = {node.outputs[0]: node.inputs[0] for node in behind if node.op in ACTIVATIONS}
    kept = [node for node in graph.nodes if not (node in behind and node.op in ACTIVATIONS)]
    output = graph.outputs[0]
    renamed = {_before(output, gone): output}  # an activation that came last leaves its output's name

    def named(name: str) -> str:
        return renamed.get(_before(name, gone), _before(name, gone))

    nodes = (
        node.replace(inputs=tuple(map(named, node.inputs)), outputs=tuple(map(named, node.outputs))) for node in kept
    )
    return graph.replace(nodes=tuple(nodes))


def _before(name: str, gone: dict[str, str]) -> str:
    while name in gone:
        name = gone[name]
    return name


def _is_head(node: Node) -> bool:
    scaled = node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0
    return (node.op == "Gemm" and not scaled) or (node.op == "Conv" and node.attrs.get("group", 1) == 1)


def _resized(weight: TensorType, axis: int, before: int | str, classes: int) -> TensorType:
    """A weight of the head with as many rows as classes; the axis is 0 or the last."""
    shape = list(weight.shape)
    if weight.fixed or shape[axis] != before:
        what = f"{weight.name!r} of shape {weight.shape} does not hold a row for each of {before} classes"
        raise FireforgeError("NO_HEAD", what, allowed="a layer that is trained and whose rows are the classes")
    shape[axis] = classes
    return weight.replace(shape=tuple(shape))


def _reshaped(node: Node, before: int | str, classes: int) -> Node:
    """A Reshape behind the head that names the classes' number names the new one."""
    shape = node.attrs.get("shape")
    if node.op != "Reshape" or not isinstance(shape, tuple) or before not in shape:
        return node
    return node.replace(attrs={**node.attrs, "shape": tuple(classes if size == before else size for size in shape)})
