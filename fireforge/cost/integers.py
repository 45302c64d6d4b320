# SPDX-License-Identifier: Apache-2.0
"""int8 as ONNX Runtime does it: what is quantized runs on integers with the channels last, the rest is float."""

from __future__ import annotations

from fireforge.base.graph import Graph, Node
from fireforge.base.ops.kinds import MOVERS
from fireforge.base.profile import Kernel, Size
from fireforge.base.regions import find_regions
from fireforge.cost.walk import Step, Walk, is_depthwise, number, taps

CLIPS = ("Relu", "Clip")  # left to the ends of the integers
FLAT = ("Flatten", "Reshape", "Transpose", "Split", "Gather", "LRN")  # need the channels first
SAME = ("Concat", "Slice", *FLAT)  # kernels that are the same for integers and floats
FLOAT = ("LRN", "HardSigmoid", "HardSwish", "Pad", "Tanh")  # no kernel on integers: dequantized and quantized again


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
        for node in graph.nodes:  # what moves integers moves them wherever they go
            if node.op in MOVERS and self.integers.issuperset(node.inputs if node.op == "Concat" else node.inputs[:1]):
                self.integers.update(node.outputs)
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
                self.integers.add(source)
            elif self._inside(node):
                (self._conv if node.op == "Conv" else self._between if self._is_float(node) else self._quantized)(node)
            else:
                self._float(node)
        return tuple(self.found)

    def _inside(self, node: Node) -> bool:
        """Whether a node runs on integers."""
        result = node.outputs[0]
        return node.name in self.layers or not self.integers.isdisjoint((result, self.clipped.get(result, result)))

    def _is_float(self, node: Node) -> bool:
        """Whether a node between integers has no kernel on them; a factor that is a weight is not quantized."""
        return node.op in FLOAT or (node.op == "Mul" and len(self.data(node)) == 1)

    def _conv(self, node: Node) -> None:
        source, result = self.root(node.inputs[0]), node.outputs[0]
        if source not in self.last:
            self._turn(source)
        depthwise = is_depthwise(node, self.types)
        kind, groups = ("qdepthwise", 1) if depthwise else ("qconv", number(node, "group"))
        self.put(kind, (source,), (result,), taps=taps(node), groups=groups)
        self.last.add(result)

    def _quantized(self, node: Node) -> None:
        names = self.data(node)
        last = self._order(node)
        if node.op == "Slice":
            self._raw("Slice", names[:1], node.outputs[0], last)
        else:
            self.other(node, names, mark="" if node.op in SAME or (node.op == "MaxPool" and not last) else "q")

    def _between(self, node: Node) -> None:
        """A node that runs on floats between integers."""
        source, result, last = self.data(node)[0], node.outputs[0], self._order(node)
        if source in self.integers:
            self._raw("dequantize", (source,), source, last)
        if node.op == "HardSwish":
            self._raw("HardSigmoid", (source,), source, last)
            self._raw("Mul", (source, source), result, last)
        else:
            self._raw(node.op, (source,), result, last)
        self._raw("quantize", (result,), result, last)

    def _order(self, node: Node) -> bool:
        """Whether a node runs with the channels last; what it reads is turned where it does not."""
        names = self.data(node)
        if names and node.op not in FLAT and self.last.issuperset(names):
            self.last.update(node.outputs)
            return True
        for name in names:
            if name in self.last:
                self._turn(name)
        return False

    def _raw(self, kind: str, reads: tuple[str, ...], made: str, last: bool) -> None:
        """A step whose sizes are those of the axes as they lie, whatever they mean."""
        kernel = Kernel(kind=kind, source=self._axes(reads[0], last), result=self._axes(made, last))
        self.found.append(Step(kernel=kernel.replace(joined=len(reads) - 1), reads=reads, writes=(made,)))

    def _axes(self, name: str, last: bool) -> Size:
        channels, high, wide = self.size(name)
        return (high, wide, channels) if last else (channels, high, wide)

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
