# SPDX-License-Identifier: Apache-2.0
"""float32 as ONNX Runtime does it: convolutions on blocks of channels where they can, reorders where layouts meet."""

from __future__ import annotations

from fireforge.base.graph import Graph, Node
from fireforge.base.profile import Kernel, Size
from fireforge.cost.walk import POOLS, Walk, is_depthwise, number, taps

ALIGNED = 4  # channels of which a blocked convolution's input has a multiple
# done by the convolution or matrix product before them, where they are its only reader
FUSED = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid")


class BlockedWalk(Walk):
    """Kernels of a float32 network.

    Args:
      graph: as `fireforge.cost.walk.as_delivered` gives it.
      block: channels that lie together; 0 where the runtime has no such layout.

    Source:
      The rules are those that ONNX Runtime 1.31 was seen to follow; a test holds the kernels of drawn networks
      against the ones it ran.
    """

    def __init__(self, graph: Graph, block: int) -> None:
        super().__init__(graph)
        self.block = block
        self.blocked: set[str] = set()  # tensors that are made in blocks
        self.both: set[str] = set()  # tensors that have been reordered
        self.hosts: set[str] = set()  # tensors that an activation may join
        self.open: dict[str, int] = {}  # a convolution's tensor -> place of its kernel, while a sum may join it

    def kernels(self) -> tuple[Kernel, ...]:
        """All of the graph."""
        steps = {"Conv": self._conv, "Add": self._add, "Concat": self._concat}
        steps.update(dict.fromkeys(POOLS, self._pool))
        steps.update(dict.fromkeys(FUSED, self._activation))
        for node in self.graph.nodes:
            steps.get(node.op, self._plain)(node)
        for name in self.graph.outputs:
            self._straight(self.root(name))
        return tuple(self.found)

    def put(self, kind: str, source: str, result: str, *, taps: int = 1, groups: int = 1, joined: int = 0) -> None:
        """One more kernel; in blocks, the last one is filled up."""
        super().put(kind, source, result, taps=taps, groups=groups, joined=joined)
        last = self.found[-1]
        if result in self.blocked:
            whole = last.source if kind == "conv-first" else self._filled(last.source)
            self.found[-1] = last.replace(source=whole, result=self._filled(last.result))

    def _filled(self, size: Size) -> Size:
        return -(-size[0] // self.block) * self.block, *size[1:]

    def _conv(self, node: Node) -> None:
        source, result = self.root(node.inputs[0]), node.outputs[0]
        depthwise, groups = is_depthwise(node, self.types), number(node, "group")
        channels, filters = self.size(source)[0], self.size(result)[0]
        if not self._fits(channels, filters, groups, depthwise):
            self._straight(source)
            kind = "depthwise-plain" if depthwise else "conv-plain"
        elif groups == 1 and channels < self.block:
            self._straight(source)
            self.blocked.add(result)
            kind = "conv-first"
        else:
            self._block(source)
            self.blocked.add(result)
            kind = "depthwise" if depthwise else "conv"
        self.open[result] = len(self.found)
        self.hosts.add(result)
        self.put(kind, source, result, taps=taps(node), groups=1 if depthwise else groups)

    def _fits(self, channels: int, filters: int, groups: int, depthwise: bool) -> bool:
        """Whether a convolution runs on blocks."""
        if not self.block:
            return False
        if depthwise:
            return filters % ALIGNED == 0
        if groups > 1:
            return channels // groups % self.block == 0 and filters // groups % self.block == 0
        return channels < self.block or channels % ALIGNED == 0

    def _add(self, node: Node) -> None:
        parts = self.data(node)
        alike = len(parts) == 2 and self.size(parts[0]) == self.size(parts[1])
        alike = alike and len({part in self.blocked for part in parts}) == 1
        for part, name in zip(parts, node.inputs):
            if alike and part in self.open and self.uses[name] == 1:
                place = self.open[part]
                self.found[place] = self.found[place].replace(joined=1)
                self.same[node.outputs[0]] = part
                return
        self._joining(node, whole=alike and parts[0] in self.blocked)

    def _concat(self, node: Node) -> None:
        parts = self.data(node)
        whole = all(part in self.blocked and self.size(part)[0] % self.block == 0 for part in parts)
        self._joining(node, whole=whole and number(node, "axis") == 1)

    def _joining(self, node: Node, *, whole: bool) -> None:
        """A node of several tensors, on their blocks or not."""
        if whole:
            self.blocked.add(node.outputs[0])
        else:
            for part in self.data(node):
                self._straight(part)
        self.other(node)

    def _pool(self, node: Node) -> None:
        source = self.root(node.inputs[0])
        if self.block and self.size(source)[0] % self.block == 0:
            self._block(source)
            self.blocked.add(node.outputs[0])
        else:
            self._straight(source)
        self.other(node)

    def _activation(self, node: Node) -> None:
        source = self.root(node.inputs[0])
        if source in self.hosts and self.uses[node.inputs[0]] == 1:
            self.same[node.outputs[0]] = source
            self.hosts.discard(source)
            self.open.pop(source, None)  # a sum behind an activation is a kernel of its own
            return
        if source in self.blocked:
            self.blocked.add(node.outputs[0])
        self.other(node)

    def _plain(self, node: Node) -> None:
        for name in self.data(node):
            self._straight(name)
        self.other(node)
        if node.op == "Gemm":
            self.hosts.add(node.outputs[0])

    def _straight(self, name: str) -> None:
        """The tensor is needed in the plain layout."""
        if name in self.blocked and name not in self.both:
            self.both.add(name)
            self.found.append(Kernel(kind="reorder-out", source=self._filled(self.size(name)), result=self.size(name)))

    def _block(self, name: str) -> None:
        """The tensor is needed in blocks."""
        if name not in self.blocked and name not in self.both:
            self.both.add(name)
            self.found.append(Kernel(kind="reorder-in", source=self.size(name), result=self._filled(self.size(name))))
