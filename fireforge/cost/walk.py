# SPDX-License-Identifier: Apache-2.0
"""A walk over a delivered graph that turns nodes into kernels; each number format does it in a file of its own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fireforge.base.clean import without_idle
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import filled, infer
from fireforge.base.profile import Kernel, Size

HOSTS = ("Conv", "Gemm", "ConvTranspose")  # take a batch norm behind them into their weights
PRODUCED = ("Mul",)  # of two weights: the scale of a bias, computed when the file is loaded
SILENT = ("QuantizeLinear", "DequantizeLinear")  # of a file's graph: the kernels know their own numbers
POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
KINDS = {
    "MaxPool": "pool",
    "AveragePool": "pool",
    "GlobalAveragePool": "global-pool",
    "GlobalMaxPool": "global-pool",
    "Gemm": "gemm",
    "Concat": "concat",
    "Flatten": "flatten",
    "Transpose": "transpose",
    "Add": "add",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A kernel and the tensors around it; a tensor that is reordered has a name of its own in each layout.

    Args:
      kernel: what is done for one image.
      reads: tensors but weights: the kernel's source, then those that it joins.
      writes: tensors; the kernel's result first.
    """

    kernel: Kernel
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def as_delivered(graph: Graph) -> Graph:
    """The graph without what delivery takes out: idle nodes, batch norms behind products, quantizing and back.

    Args:
      graph: a valid graph.

    Returns:
      The same network; the products before batch norms keep their weights, biases that folding adds are not there.
    """
    graph = without_idle(graph)
    makers = {name: node for node in graph.nodes for name in node.outputs}
    constants = {weight.name for weight in graph.weights}
    same: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(same.get(name, name) for name in node.inputs)
        host = makers.get(inputs[0]) if inputs else None
        if node.op in SILENT or (node.op == "BatchNormalization" and host is not None and host.op in HOSTS):
            same[node.outputs[0]] = inputs[0]
        elif node.op not in PRODUCED or not constants.issuperset(inputs):
            kept.append(node.replace(inputs=inputs))
        if constants.issuperset(inputs):
            constants.update(node.outputs)
    outputs = tuple(same.get(name, name) for name in graph.outputs)
    held = {same[name] for name in same if same[name] in constants}  # integers that stand for real numbers
    weights = tuple(
        weight.replace(dtype="float32", fixed=()) if weight.name in held else weight for weight in graph.weights
    )
    return graph.replace(nodes=tuple(kept), outputs=outputs, weights=weights)


class Walk:
    """Steps as they are found; a tensor that a fused node makes is the one that its host makes.

    Args:
      graph: as `as_delivered` gives it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types: dict[str, TensorType] = infer(graph)
        self.weights = {weight.name for weight in graph.weights}
        self.same: dict[str, str] = {}
        self.found: list[Step] = []
        self.uses = Counter(name for node in graph.nodes for name in node.inputs)
        self.uses.update(graph.outputs)

    def root(self, name: str) -> str:
        """The tensor that holds the numbers of another."""
        while name in self.same:
            name = self.same[name]
        return name

    def size(self, name: str) -> Size:
        """(C, H, W) of a tensor; further axes count in W."""
        shape = [dim if isinstance(dim, int) else 1 for dim in self.types[name].shape[1:]]
        channels, high, *wide = [*shape, 1, 1, 1][: max(len(shape), 3)]
        return channels, high, math.prod(wide)

    def lies(self, name: str) -> Size:
        """(C, H, W) of a tensor as it lies in memory."""
        return self.size(name)

    def data(self, node: Node) -> tuple[str, ...]:
        """The tensors that a node reads and that are no weights."""
        return tuple(self.root(name) for name in node.inputs if name and name not in self.weights)

    def put(
        self, kind: str, reads: tuple[str, ...], writes: tuple[str, ...], *, taps: int = 1, groups: int = 1
    ) -> None:
        """One more step."""
        source = self.lies(reads[0])
        result = source if kind == "transpose" else self.lies(writes[0])
        kernel = Kernel(kind=kind, source=source, result=result, taps=taps, groups=groups, joined=len(reads) - 1)
        self.found.append(Step(kernel=kernel, reads=reads, writes=writes))

    def other(self, node: Node, reads: tuple[str, ...], *, mark: str = "") -> None:
        """A node that is a kernel of its own; a node of weights alone is computed when the file is loaded."""
        if reads:
            self.put(mark + KINDS.get(node.op, node.op), reads, node.outputs)


def number(node: Node, name: str) -> int:
    """A whole number among a node's attributes."""
    attrs: Any = filled(node)
    return int(attrs[name])


def taps(node: Node) -> int:
    """Numbers under a convolution's kernel, R * S."""
    attrs: Any = filled(node)
    return math.prod(attrs["kernel_shape"])


def is_depthwise(node: Node, types: Mapping[str, TensorType]) -> bool:
    """Whether each filter of a convolution reads one channel of several."""
    filters, inner = types[node.inputs[1]].shape[:2]
    return inner == 1 and number(node, "group") == filters != 1
