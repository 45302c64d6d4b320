# SPDX-License-Identifier: Apache-2.0
"""float32 as ONNX Runtime does it: convolutions on blocks of channels where they can, reorders where layouts meet."""

from __future__ import annotations

from fireforge.base.graph import Graph, Node
from fireforge.base.profile import Size
from fireforge.cost.walk import POOLS, Step, Walk, is_depthwise, number, taps

ALIGNED = 4  # channels of which a blocked convolution's input has a multiple
# done by the convolution or matrix product before them, where they are its only reader
FUSED = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid")


class BlockedWalk(Walk):
    """Steps of a float32 network.

    Args:
      graph: as `fireforge.cost.walk.as_delivered` gives it.
      block: channels that lie together; 0 or 1 where the runtime has no such layout.

    Source:
      The rules are those that ONNX Runtime 1.31 was seen to follow; a test holds the kernels of drawn networks
      against the ones it ran.
    """

    def __init__(self, graph: Graph, block: int) -> None:
        super().__init__(graph)
        self.block = block if block > 1 else 0
        self.blocked: set[str] = set()  # tensors that lie in blocks
        self.hosts: set[str] = set()  # tensors that an activation may join
        self.open: dict[str, int] = {}  # a convolution's tensor -> place of its step, while a sum may join it

    def steps(self) -> tuple[Step, ...]:
        """All of the graph."""
        steps = {"Conv": self._conv, "Add": self._add, "Mul": self._multiply, "Concat": self._concat}
        steps.update(dict.fromkeys(POOLS, self._pool))
        steps.update(dict.fromkeys(FUSED, self._activation), HardSwish=self._hard_swish)
        for node in self.graph.nodes:
            steps.get(node.op, self._plain)(node)
        for name in self.graph.outputs:
            self._straight(self.root(name))
        return tuple(self.found)

    def lies(self, name: str) -> Size:
        """(C, H, W) of a tensor as it lies in memory: in blocks, the last one is filled up."""
        size = self.size(name)
        return (-(-size[0] // self.block) * self.block, *size[1:]) if name in self.blocked else size

    def _conv(self, node: Node) -> None:
        source, result = self.root(node.inputs[0]), node.outputs[0]
        depthwise, groups = is_depthwise(node, self.types), number(node, "group")
        channels, filters = self.size(source)[0], self.size(result)[0]
        if not self._fits(channels, filters, groups, depthwise):
            source = self._straight(source)
            kind = "depthwise-plain" if depthwise else "conv-plain"
        elif groups == 1 and channels < self.block:
            source = self._straight(source)
            self.blocked.add(result)
            kind = "conv-first"
        else:
            source = self._block(source)
            self.blocked.add(result)
            kind = "depthwise" if depthwise else "conv"
        self.open[result] = len(self.found)
        self.hosts.add(result)
        self.put(kind, (source,), (result,), taps=taps(node), groups=1 if depthwise else groups)

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
        alike = self._alike(parts)
        for part, name, other in zip(parts, node.inputs, reversed(parts)):
            if alike and part in self.open and self.uses[name] == 1:
                place = self.open.pop(part)
                conv = self.found[place]
                reads = (*conv.reads, other)
                self.found[place] = Step(kernel=conv.kernel.replace(joined=1), reads=reads, writes=conv.writes)
                self.same[node.outputs[0]] = part
                return
        self._joining(node, whole=alike and parts[0] in self.blocked)

    def _alike(self, parts: tuple[str, ...]) -> bool:
        """Whether two tensors have one size and one layout."""
        first = parts[0] if parts else ""
        same = all(self.size(part) == self.size(first) for part in parts)
        return len(parts) == 2 and same and len({part in self.blocked for part in parts}) == 1

    def _multiply(self, node: Node) -> None:
        parts = self.data(node)
        factor = next((self.types[name].shape for name in node.inputs if name in self.weights), ())
        channels = factor[-3:] == (self.size(node.outputs[0])[0], 1, 1)
        name = next(name for name in node.inputs if name not in self.weights)
        if len(parts) == 1 and parts[0] in self.open and self.uses[name] == 1 and (channels or not factor):
            self.same[node.outputs[0]] = parts[0]  # into the weights of the convolution
        elif len(parts) == 1 and parts[0] in self.blocked and channels:
            self.blocked.add(node.outputs[0])  # each channel by a number of its own: a convolution of 1 x 1
            self.put("depthwise", parts, node.outputs)
        else:
            self._joining(node, whole=self._alike(parts) and parts[0] in self.blocked)

    def _concat(self, node: Node) -> None:
        parts = self.data(node)
        whole = all(part in self.blocked and self.size(part)[0] % self.block == 0 for part in parts)
        self._joining(node, whole=whole and number(node, "axis") == 1)

    def _joining(self, node: Node, *, whole: bool) -> None:
        """A node of several tensors, on their blocks or not."""
        parts = self.data(node)
        if whole:
            self.blocked.add(node.outputs[0])
        else:
            parts = tuple(self._straight(part) for part in parts)
        self.other(node, parts)

    def _pool(self, node: Node) -> None:
        source = self.root(node.inputs[0])
        whole = bool(self.block) and self.size(source)[0] % self.block == 0
        if whole and (source in self.blocked or not node.op.startswith("Global")):
            source = self._block(source)
            self.blocked.add(node.outputs[0])
        else:
            source = self._straight(source)
        self.other(node, (source,))

    def _activation(self, node: Node) -> None:
        source = self.root(node.inputs[0])
        if source in self.hosts and self.uses[node.inputs[0]] == 1:
            self.same[node.outputs[0]] = source
            self.hosts.discard(source)
            self.open.pop(source, None)  # a sum behind an activation is a kernel of its own
            return
        if source in self.blocked:
            self.blocked.add(node.outputs[0])
        self.other(node, (source,))

    def _hard_swish(self, node: Node) -> None:
        """Joins a convolution on blocks; else it is done in two steps."""
        source, result = self.root(node.inputs[0]), node.outputs[0]
        if source in self.blocked and source in self.hosts and self.uses[node.inputs[0]] == 1:
            self._activation(node)
            return
        gate = f"{result} gate"
        self.types[gate] = self.types[source]
        if source in self.blocked:
            self.blocked.update((gate, result))
        self.put("HardSigmoid", (source,), (gate,))
        self.put("Mul", (source, gate), (result,))

    def _plain(self, node: Node) -> None:
        self.other(node, tuple(self._straight(name) for name in self.data(node)))
        if node.op == "Gemm":
            self.hosts.add(node.outputs[0])

    def _straight(self, name: str) -> str:
        """The tensor in the plain layout."""
        return self._reordered("reorder-out", name, f"{name} plain") if name in self.blocked else name

    def _block(self, name: str) -> str:
        """The tensor in blocks."""
        return name if name in self.blocked else self._reordered("reorder-in", name, f"{name} blocked")

    def _reordered(self, kind: str, name: str, made: str) -> str:
        """The tensor in the other layout, by a step of its own the first time."""
        if made not in self.types:
            self.types[made] = self.types[name]
            if kind == "reorder-in":
                self.blocked.add(made)
            self.put(kind, (name,), (made,))
        return made
