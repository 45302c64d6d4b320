# SPDX-License-Identifier: Apache-2.0
"""A graph without the nodes that do nothing when a network only answers: Dropout and Identity."""

from __future__ import annotations

from fireforge.base.graph import Graph, Node
from fireforge.base.ops.kinds import IDLE


def without_idle(graph: Graph) -> Graph:
    """The same function without Dropout and Identity nodes.

    Args:
      graph: a graph that `validate` accepts.

    Returns:
      The graph with the same inputs, outputs and weights; an idle node stays only where it hands an input, a weight
      or another output to an output.
    """
    made = {name for node in graph.nodes for name in node.outputs}
    outputs = set(graph.outputs)
    same: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        source = same.get(node.inputs[0], node.inputs[0]) if node.inputs else ""
        if node.op in IDLE and node.outputs[0] not in outputs:
            same[node.outputs[0]] = source
        elif node.op in IDLE and source in made and source not in outputs:
            _rename(kept, same, source, node.outputs[0])  # the output's own name wins
        else:
            kept.append(node.replace(inputs=tuple(same.get(name, name) for name in node.inputs)))
    return graph.replace(nodes=tuple(kept))


def _rename(nodes: list[Node], same: dict[str, str], old: str, new: str) -> None:
    def swap(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new if name == old else name for name in names)

    nodes[:] = [node.replace(inputs=swap(node.inputs), outputs=swap(node.outputs)) for node in nodes]
    same.update({name: new for name, source in same.items() if source == old})
    same[old] = new
