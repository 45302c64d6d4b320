# SPDX-License-Identifier: Apache-2.0
"""Which tensors of a network are held in integers, and which of them must share one scale."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from fireforge.base.graph import Graph, Node
from fireforge.base.infer import filled, infer
from fireforge.base.ops.kinds import MOVERS

# layers whose inputs are integers whenever they have quantized weights
HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# of these, the ones that ONNX Runtime runs in integers only if their output is integers as well
CLOSED = ("Conv",)
# run in integers where their output is wanted in integers
LIGHT = ("Add", "Mul", "AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu", "Relu", "Clip")
ACTIVATIONS = ("Relu", "Clip")


@dataclass(frozen=True, kw_only=True)
class Regions:
    """The tensors in integers.

    Args:
      groups: tensors that share one quantization; the groups are disjoint, in the order of the graph.
      sources: of each group, the tensors whose numbers its range is taken from; the others only repeat them.
      layers: nodes whose weights are quantized.
      float_nodes: layers that stay in float, because their weight is computed, shared or no float32.
    """

    groups: tuple[tuple[str, ...], ...]
    sources: tuple[tuple[str, ...], ...]
    layers: tuple[Node, ...]
    float_nodes: tuple[str, ...]

    def tensors(self) -> tuple[str, ...]:
        """All tensors in integers."""
        return tuple(name for group in self.groups for name in group)


def find_regions(graph: Graph) -> Regions:
    """What to quantize, decided from the graph alone.

    A layer's output is quantized behind its Relu or Clip, where that is its only user: the integers' ends do the
    clipping. What leads only to the network's outputs stays in float, so that answers are not rounded to 256 steps;
    a convolution is the exception, because it runs in integers only if its output is integers.

    Args:
      graph: float, without Dropout and Identity.

    Returns:
      The regions.
    """
    types = infer(graph)
    weights = {tensor.name for tensor in graph.weights}
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    # ONNX Runtime 1.31 cannot load an 8-bit weight that two layers share where its sums are exact (x64quantprecision)
    own = {name for name in weights if uses[name] == 1 and types[name].dtype == "float32"}
    layers = tuple(
        node for node in graph.nodes if node.op in HEAVY and node.inputs[1] in own and node.inputs[0] not in weights
    )
    absorbed = _absorbed(graph)
    wanted: set[str] = set()
    names = {node.name for node in layers}
    for node in reversed(graph.nodes):
        results = {absorbed.get(name, name) for name in node.outputs}
        if node.name in names:
            if node.op in CLOSED:
                wanted |= results
            wanted.add(node.inputs[0])
        elif node.op in LIGHT + MOVERS and results & wanted:
            wanted |= {name for name in _data(node) if name not in weights and name not in absorbed}
    wanted = {name for name in wanted if types[name].dtype == "float32"}
    groups = _shared(graph, wanted)
    return Regions(
        groups=tuple(tuple(group) for group in groups),
        sources=tuple(_sources(group, graph) for group in groups),
        layers=layers,
        float_nodes=tuple(node.name for node in graph.nodes if node.op in HEAVY and node.name not in names),
    )


def _data(node: Node) -> tuple[str, ...]:
    """The inputs that hold a node's numbers; Gather's second one holds indices."""
    return node.inputs if node.op in ("Concat", "Add", "Mul") else node.inputs[:1]


def _absorbed(graph: Graph) -> dict[str, str]:
    """Tensor -> the output of the Relu or Clip that is its only user; movers keep their integers instead."""
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    found: dict[str, str] = {}
    for node in graph.nodes:
        for name in node.outputs:
            follow = users.get(name, [])
            alone = len(follow) == 1 and name not in graph.outputs and node.op not in MOVERS
            if alone and follow[0].op in ACTIVATIONS and _holds_zero(follow[0]):
                found[name] = follow[0].outputs[0]
    return found


def _holds_zero(node: Node) -> bool:
    """Whether real 0 is within the bounds: a quantization always holds it, so other bounds are not its ends."""
    attrs: Any = filled(node)
    return node.op == "Relu" or bool(attrs["min"] <= 0 <= attrs["max"])


def _shared(graph: Graph, wanted: set[str]) -> list[list[str]]:
    """The wanted tensors, in the order of the graph, those that a mover joins together."""
    group = {name: [name] for name in wanted}
    for node in graph.nodes:
        if node.op not in MOVERS:
            continue
        joined = [name for name in (*_data(node), *node.outputs) if name in wanted]
        for name in joined[1:]:
            if group[name] is not group[joined[0]]:
                group[joined[0]] += group[name]
                for member in group[name]:
                    group[member] = group[joined[0]]
    order = [tensor.name for tensor in graph.inputs] + [name for node in graph.nodes for name in node.outputs]
    place = {name: i for i, name in enumerate(order)}
    unique = {id(members): sorted(members, key=place.__getitem__) for members in group.values()}
    return sorted(unique.values(), key=lambda members: place[members[0]])


def _sources(group: list[str], graph: Graph) -> tuple[str, ...]:
    moved = {name for node in graph.nodes if node.op in MOVERS for name in node.outputs}
    return tuple(name for name in group if name not in moved) or (group[0],)
