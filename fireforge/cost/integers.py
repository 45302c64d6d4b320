# SPDX-License-Identifier: Apache-2.0
"""int8 as ONNX Runtime does it: what is quantized runs on integers with the channels last, the rest is float."""

from __future__ import annotations

from fireforge.base.graph import Graph, Node
from fireforge.base.regions import find_regions
from fireforge.cost.walk import Step, Walk, is_depthwise, taps

CLIPS = ("Relu", "Clip")  # left to the ends of the integers
FLAT = ("Flatten", "Reshape", "Transpose", "Split", "Slice", "Gather")  # need the channels first
SAME = ("Concat", *FLAT)  # kernels that are the same for integers and floats


class IntegerWalk(Walk):
    """Steps of an int8 network.

    Args:
      graph: as `fireforge.cost.walk.as_delivered` gives it.

    The same numbers before and after a change of their order or format have one name in its steps.

    Source:
      As for `fireforge.cost.blocked.BlockedWalk`.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        regions = find_regions(graph)
        self.integers = set(regions.tensors())
        self.layers = {node.name for node in regions.layers}
        self.last: set[str] = set()  # tensors whose channels come last
        self.turned: set[str] = set()  # tensors that exist in both orders
        self.clipped = {  # tensor -> what the Relu behind it makes of it, where no other node reads it
            node.inputs[0]: node.outputs[0]
            for node in graph.nodes
            if node.op in CLIPS and self.uses[node.inputs[0]] == 1
        }

    def steps(self) -> tuple[Step, ...]:
        """All of the graph."""
        for tensor in self.graph.inputs:
            if tensor.name in self.integers:
                self.put("quantize", (tensor.name,), (tensor.name,))
        for node in self.graph.nodes:
            source, result = self.root(node.inputs[0]), node.outputs[0]
            if self.clipped.get(node.inputs[0]) == result and result in self.integers and source not in self.integers:
                self.same[result] = source
            elif self._inside(node):
                (self._conv if node.op == "Conv" else self._quantized)(node)
            else:
                self._float(node)
        return tuple(self.found)

    def _inside(self, node: Node) -> bool:
        """Whether a node runs on integers."""
        result = node.outputs[0]
        return node.name in self.layers or not self.integers.isdisjoint((result, self.clipped.get(result, result)))

    def _conv(self, node: Node) -> None:
        source, result = self.root(node.inputs[0]), node.outputs[0]
        if source not in self.last:
            self._turn(source)
        kind = "qdepthwise" if is_depthwise(node, self.types) else "qconv"
        self.put(kind, (source,), (result,), taps=taps(node))
        self.last.add(result)

    def _quantized(self, node: Node) -> None:
        source, result = self.root(node.inputs[0]), node.outputs[0]
        if source in self.last and node.op not in FLAT:
            self.last.add(result)
        elif source in self.last:
            self._turn(source)
        self.other(node, self.data(node), mark="" if node.op in SAME else "q")

    def _float(self, node: Node) -> None:
        for name in self.data(node):
            if name in self.last:
                self._turn(name)
            if name in self.integers:
                self.put("dequantize", (name,), (name,))
        self.other(node, self.data(node))

    def _turn(self, name: str) -> None:
        """The other order of a tensor's channels."""
        if name not in self.turned:
            self.turned.add(name)
            self.put("transpose", (name,), (name,))
