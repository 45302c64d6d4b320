# SPDX-License-Identifier: Apache-2.0
"""A network without the outputs that served its training alone."""

from __future__ import annotations

from fireforge.base.graph import Graph, Node


def trunk(graph: Graph) -> Graph:
    """The network up to its first output.

    Args:
      graph: a valid graph.

    Returns:
      The graph with the first output alone and the nodes and weights that lead to it, in their order; the graph itself
      where it has one output. Inputs stay as they are.
    """
    if len(graph.outputs) == 1:
        return graph
    wanted = set(graph.outputs[:1])
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if not wanted.isdisjoint(node.outputs):
            kept.append(node)
            wanted.update(node.inputs)
    weights = tuple(weight for weight in graph.weights if weight.name in wanted)
    return graph.replace(outputs=graph.outputs[:1], nodes=tuple(reversed(kept)), weights=weights)
