# SPDX-License-Identifier: Apache-2.0
"""The steps that ONNX Runtime makes of a float graph on an x86 processor: fused, in place, in blocks of channels."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import filled, infer
from fireforge.base.ops.kinds import IDLE
from fireforge.cost.count import BYTES

ACTIVATIONS = ("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid")  # done by the convolution before them
RENAMED = ("Flatten", "Reshape")  # the same numbers in the same place
IN_PLACE = (*ACTIVATIONS, "BatchNormalization", "Add", "Sub", "Mul", "Div", "HardSwish", "Softmax", "LogSoftmax")
POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
FOLDS = ("Conv",)  # takes a batch norm behind it into its weights


@dataclass(frozen=True, kw_only=True)
class Step:
    """One kernel of a run.

    Args:
      name: of the node that it begins with.
      inputs: tensors that it reads.
      output: tensor that it writes.
      shape: of the output as it lies in memory, the batch in place of symbols.
      size: bytes of the output.
      over: inputs whose place the output may take, if nothing reads them afterwards.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...]
    size: int
    over: tuple[str, ...] = ()


def fused_steps(graph: Graph, *, batch: int, block: int) -> list[Step]:
    """What is run of a graph.

    A batch norm, an activation and a sum behind a convolution are done by it, a sum in the place of the other summand.
    Convolutions, pools and concatenations work on maps whose channels are filled up to whole blocks; where the next
    step wants plain maps, a step reorders them. A convolution of fewer channels than a block reads plain maps.

    Args:
      graph: float32 nodes.
      batch: what the symbols of the shapes count as.
      block: channels in a block: 16 with AVX-512, 8 with AVX2, 1 for a processor without such kernels.

    Returns:
      The steps in their order.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if the graph holds quantized tensors, whose kernels are not described here.
    """
    fuser = _Fuser(graph, batch, block)
    for node in depth_first(graph):
        fuser.add(node)
    return fuser.finish()


def depth_first(graph: Graph) -> list[Node]:
    """The nodes in the order of ONNX Runtime: before a node all that its last input needs, then its last but one.

    Args:
      graph: a valid graph.

    Returns:
      All nodes, each behind those that it reads.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    order: list[Node] = []
    seen: set[str] = set()
    stack = [(makers[name], False) for name in reversed(graph.outputs) if name in makers]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif node.name not in seen:
            seen.add(node.name)
            stack.append((node, True))
            stack += [(makers[name], False) for name in node.inputs if name in makers]
    return order


class _Fuser:
    """Walks a graph once; a convolution waits for what may join it."""

    def __init__(self, graph: Graph, batch: int, block: int) -> None:
        self._graph, self._batch, self._block = graph, batch, block
        self._types: dict[str, TensorType] = infer(graph)
        self._weights = {weight.name for weight in graph.weights}
        self._readers = Counter(name for node in graph.nodes for name in node.inputs)
        self._readers.update(graph.outputs)
        self._same: dict[str, str] = {}  # other names of a tensor
        self._open: dict[str, tuple[Node, tuple[str, ...]]] = {}  # convolutions that nothing has joined, with a summand
        self._blocked: set[str] = set()
        self._plain: dict[str, str] = {}  # blocked tensors that lie in plain order too
        self._steps: list[Step] = []

    def add(self, node: Node) -> None:
        """The next node of the graph."""
        if node.op.endswith("QuantizeLinear") or node.op == "DequantizeLinear":
            raise FireforgeError("UNKNOWN_OPERATOR", f"memory of {node.op} is not described", where=node.name)
        source = self._name(node.inputs[0])
        alone = self._readers[node.inputs[0]] == 1
        waiting = source in self._open and alone
        if node.op in IDLE or (node.op == "BatchNormalization" and waiting):
            self._rename(node, source)
        elif node.op in ACTIVATIONS and waiting:
            self._rename(node, source)
            self._close(source)
        elif node.op == "Add" and self._join(node):
            return
        elif node.op in RENAMED:
            self._close(source)
            self._rename(node, self._as_plain(source))
        elif node.op == "Conv" and self._takes_blocks(node):
            self._close_all(node)
            self._open[node.outputs[0]] = (node, ())
        else:
            self._close_all(node)
            self._other(node)

    def finish(self) -> list[Step]:
        """All steps, the outputs in plain order."""
        for name in list(self._open):
            self._close(name)
        for name in self._graph.outputs:
            self._as_plain(self._name(name))
        return self._steps

    def _name(self, name: str) -> str:
        while name in self._same:
            name = self._same[name]
        return name

    def _rename(self, node: Node, source: str) -> None:
        self._same[node.outputs[0]] = source

    def _join(self, node: Node) -> bool:
        """Whether a convolution computes a sum: the first summand that waits and that nothing else reads."""
        for i, given in enumerate(node.inputs[:2]):
            name, other = self._name(given), self._name(node.inputs[1 - i])
            if name in self._open and self._readers[given] == 1 and not self._open[name][1] and name != other:
                self._close(other)
                if other not in self._blocked:
                    continue
                conv, _ = self._open.pop(name)
                self._open[name] = (conv, (other,))
                self._rename(node, name)
                return True
        return False

    def _close(self, name: str) -> None:
        """Nothing more joins a convolution: it runs."""
        if name not in self._open:
            return
        node, summand = self._open.pop(name)
        source = self._name(node.inputs[0])
        self._close(source)
        if not self._reads_plain(node):
            source = self._as_blocked(source)
        else:
            source = self._as_plain(source)
        self._blocked.add(name)
        self._step(node, (source, *summand), name, over=summand)

    def _close_all(self, node: Node) -> None:
        for given in node.inputs:
            self._close(self._name(given))

    def _other(self, node: Node) -> None:
        names = [self._name(name) for name in node.inputs if name and name not in self._weights]
        if node.op in POOLS and self._block > 1 and self._is_map(names[0]) and self._whole(names[0]):
            names = [self._as_blocked(names[0])]
        whole = all(name in self._blocked and self._whole(name) for name in names)
        stays = whole and (node.op in POOLS or (node.op == "Concat" and filled(node)["axis"] == 1))
        stays = stays or (node.op in IN_PLACE and all(name in self._blocked for name in names))
        if not stays:
            names = [self._as_plain(name) for name in names]
        for output in node.outputs:
            if stays:
                self._blocked.add(output)
            self._step(node, tuple(names), output, over=tuple(names) if node.op in IN_PLACE else ())

    def _as_plain(self, name: str) -> str:
        """The tensor in plain order, by a step that reorders it where it is blocked."""
        if name not in self._blocked:
            return name
        if name not in self._plain:
            self._plain[name] = f"{name} plain"
            self._types[self._plain[name]] = self._types[name]
            self._add(name, (name,), self._plain[name], blocked=False)
        return self._plain[name]

    def _as_blocked(self, name: str) -> str:
        if name in self._blocked:
            return name
        made = f"{name} blocked"
        if made not in self._blocked:
            self._blocked.add(made)
            self._types[made] = self._types[name]
            self._add(name, (name,), made, blocked=True)
        return made

    def _step(self, node: Node, inputs: tuple[str, ...], output: str, *, over: tuple[str, ...]) -> None:
        self._add(node.name, inputs, output, blocked=output in self._blocked, over=over)

    def _add(
        self, name: str, inputs: tuple[str, ...], output: str, *, blocked: bool, over: tuple[str, ...] = ()
    ) -> None:
        tensor = self._types[output]
        dims = [self._batch if isinstance(dim, str) else dim for dim in tensor.shape]
        if blocked and len(dims) > 1:
            dims[1] = -(-dims[1] // self._block) * self._block
        size = math.prod(dims) * BYTES[tensor.dtype]
        self._steps.append(Step(name=name, inputs=inputs, output=output, shape=tuple(dims), size=size, over=over))

    def _is_map(self, name: str) -> bool:
        return len(self._types[name].shape) == 4

    def _whole(self, name: str) -> bool:
        """Whether its channels fill their blocks."""
        channels = self._types[name].shape[1]
        return isinstance(channels, int) and channels % self._block == 0

    def _takes_blocks(self, node: Node) -> bool:
        """Whether a convolution works on blocks of channels."""
        if self._block == 1 or not self._is_map(node.inputs[0]):
            return False
        filters, inner = (int(dim) for dim in self._types[node.inputs[1]].shape[:2])
        group = filled(node)["group"]
        assert isinstance(group, int)
        if group == 1:
            return inner < self._block or inner % 4 == 0
        if filters % self._block:
            return False
        deep = inner == 1 and filters == group
        return deep or (inner % self._block == 0 and filters // group % self._block == 0)

    def _reads_plain(self, node: Node) -> bool:
        return filled(node)["group"] == 1 and int(self._types[node.inputs[1]].shape[1]) < self._block
