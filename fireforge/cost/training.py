# SPDX-License-Identifier: Apache-2.0
"""The peak memory of a training step, counted by walking the graph forwards and backwards as torch does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fireforge.base.graph import Graph, Node
from fireforge.base.trial import Recipe
from fireforge.base.value import Value
from fireforge.cost.count import BYTES, frozen, size
from fireforge.cost.heap import Heap
from fireforge.cost.kept import (
    EXTRA,
    PASSES_GRADIENT,
    VIEWS,
    Sizes,
    backward_space,
    forward_space,
    kept_names,
)

FLOAT = 4  # bytes of a parameter, its gradient and each number of the optimizer's state
STEP_COPIES = 2  # of one tensor at a time, while an optimizer updates it
ITEM_BYTES = {"float32": 4, "bfloat16": 2}
CASTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # computed in bfloat16 from copies of float32 weights
LOSS_ARRAYS = 3  # of the logits' size and float32: log-softmax, targets times it, gradient


@dataclass(frozen=True, kw_only=True)
class TrainingMemory(Value):
    """Bytes of a training step; the peak is not the sum of the parts, which are not all alive at once.

    Args:
      weights: parameters and buffers.
      gradients: one float32 a parameter.
      optimizer: the optimizer's state.
      average: averaged weights.
      batch: the pictures and their targets.
      saved: what the forward pass leaves for the backward pass, each storage once.
      workspace: greatest that a convolution needs in passing.
      peak: most that is alive at once, all of the above included as far as they are.
      where: what runs then: "forward", "backward" or "update" and the node's name.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    batch: int
    saved: int
    workspace: int
    peak: int
    where: str


def training_memory(graph: Graph, recipe: Recipe) -> TrainingMemory:
    """Peak memory of one training step behind the first, counted.

    Forwards, nodes run in the graph's order. A tensor lives while a later node reads it or a gradient needs it:
    `fireforge.cost.kept` says what torch keeps of each operator; a storage that several need (a Relu's output that is
    the next convolution's input) counts once. Backwards, nodes run in the opposite order; each lets go of what was
    kept for it; where gradients of several readers meet they are summed in place if nothing else reads them. Gradients
    of parameters live to the end of the step, and the update needs two copies of the greatest parameter.

    Args:
      graph: a valid graph with one input.
      recipe: its batch, precision, layout, optimizer, momentum and ema are used; kernels that torch.compile makes are
        not counted.

    Returns:
      The bytes.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if it is not known what training keeps of an operator.
    """
    states = states_of(recipe)
    still = frozen(graph)
    trained = [size(weight.shape) for weight in graph.weights if weight.name not in still]
    weights = sum(size(weight.shape) * BYTES[weight.dtype] for weight in graph.weights)
    step = _Step(graph, recipe)
    step.heap.take(weights + states * FLOAT * sum(trained) + (weights if recipe.ema else 0))
    step.forward()
    saved = step.heap.saved()
    step.backward()
    step.heap.at("update")
    step.heap.pulse(STEP_COPIES * FLOAT * max(trained, default=0))
    return TrainingMemory(
        weights=weights,
        gradients=FLOAT * sum(trained),
        optimizer=states * FLOAT * sum(trained),
        average=weights if recipe.ema else 0,
        batch=step.batch_bytes(),
        saved=saved,
        workspace=step.workspace,
        peak=step.heap.peak,
        where=step.heap.where,
    )


def states_of(recipe: Recipe) -> int:
    """Numbers that a recipe's optimizer keeps of each parameter: none without momentum, one with it, two of AdamW."""
    return 2 if recipe.optimizer == "adamw" else int(recipe.momentum > 0)


class _Step:
    """One step of training on a heap."""

    def __init__(self, graph: Graph, recipe: Recipe) -> None:
        self.graph = graph
        self.sizes = Sizes(graph, batch=recipe.batch, item_bytes=ITEM_BYTES[recipe.precision])
        self.heap = Heap()
        self.workspace = 0
        self._blocked = recipe.layout == "contiguous"
        self._mixed = recipe.precision != "float32"
        self._storage: dict[str, int] = {}  # of each tensor that is alive
        self._kept: dict[str, list[int]] = {}  # storages that each node's gradient needs
        self._gradient: dict[str, int] = {}
        self._still = frozen(graph)
        self._inputs = {tensor.name for tensor in graph.inputs}
        self._strided: set[str] = set()
        self._learns = self._learning()
        self._last: Counter[str] = Counter(name for node in graph.nodes for name in dict.fromkeys(node.inputs))
        self._last.update(graph.outputs)

    def batch_bytes(self) -> int:
        """Pictures and targets, float32."""
        names = [*(tensor.name for tensor in self.graph.inputs), *self.graph.outputs[:1]]
        return FLOAT * sum(self.sizes.numbers(name) for name in names)

    def forward(self) -> None:
        """Run all nodes and the loss."""
        self.heap.take(self.batch_bytes())
        for tensor in self.graph.inputs:  # the caller holds the pictures; autocast makes a copy of its own
            self._storage[tensor.name] = self.heap.new(self.sizes.bytes(tensor.name) if self._mixed else 0)
        for node in self.graph.nodes:
            self.heap.at(f"forward {node.name}")
            self._run(node)
        self.heap.at("loss")
        self.heap.take(LOSS_ARRAYS * FLOAT * sum(self.sizes.numbers(name) for name in self.graph.outputs))

    def backward(self) -> None:
        """Run all gradients, the last node's first."""
        for name in self.graph.outputs:
            self._gradient[name] = self.heap.new(self.sizes.bytes(name))
        for node in reversed(self.graph.nodes):
            self.heap.at(f"backward {node.name}")
            self._back(node)

    def _learning(self) -> set[str]:
        """Tensors that have a gradient: parameters, and what is made of them."""
        names = {weight.name for weight in self.graph.weights if weight.name not in self._still}
        for node in self.graph.nodes:
            if not names.isdisjoint(node.inputs):
                names.update(node.outputs)
        return names

    def _run(self, node: Node) -> None:
        space = forward_space(node, self.sizes, blocked=self._blocked)
        self.workspace = max(self.workspace, space)
        for name in node.outputs:
            if self._is_view(node):
                self._storage[name] = self.heap.hold(self._storage[node.inputs[0]])
            else:
                self._storage[name] = self.heap.new(self.sizes.bytes(name))
        if node.op == "Transpose" or (node.op in ("Slice", "Split", "Identity") and node.inputs[0] in self._strided):
            self._strided.update(node.outputs)
        self.heap.pulse(space)
        self._keep(node)
        for name in dict.fromkeys((*node.inputs, *node.outputs)):
            self._last[name] -= name in node.inputs
            if name in self._storage and self._last[name] == 0:
                self.heap.drop(self._storage[name])

    def _is_view(self, node: Node) -> bool:
        if node.op in ("Flatten", "Reshape") and node.inputs[0] in self._strided:
            return False
        idle = node.op == "Dropout" and EXTRA["Dropout"](node, self.sizes) == 0
        return (node.op in VIEWS or idle) and not self.sizes.is_weight(node.inputs[0])

    def _keep(self, node: Node) -> None:
        names = kept_names(node, self._learns)
        if self._learns.isdisjoint(node.outputs):
            return
        held = [self.heap.hold(self._storage[name]) for name in names if name in self._storage]
        extra = EXTRA[node.op](node, self.sizes) if node.op in EXTRA else 0
        if self._mixed and node.op in CASTS:
            extra += sum(self.sizes.bytes(name) for name in node.inputs if self.sizes.is_weight(name))
        self._kept[node.name] = [*held, self.heap.new(extra)]

    def _back(self, node: Node) -> None:
        given = [self._gradient.pop(name) for name in node.outputs if name in self._gradient]
        if given:
            wanted = [name for name in node.inputs if name in self._learns and not self.sizes.is_weight(name)]
            made = [(name, self._gradient_of(node, name, given)) for name in wanted]
            mine = [n for n in dict.fromkeys(node.inputs) if n in self._learns and self.sizes.is_weight(n)]
            self.heap.take(sum(FLOAT * self.sizes.numbers(name) for name in mine))
            space = backward_space(node, self.sizes, blocked=self._blocked, gradient=bool(wanted))
            self.workspace = max(self.workspace, space)
            self.heap.pulse(space)
            self._release((*self._kept.pop(node.name, ()), *given))
            for name, storage in made:
                self._accumulate(name, storage)
        else:
            self._release(self._kept.pop(node.name, ()))

    def _gradient_of(self, node: Node, name: str, given: list[int]) -> int:
        passes = node.op in PASSES_GRADIENT and self._is_view_or_sum(node)
        return self.heap.hold(given[0]) if passes else self.heap.new(self.sizes.bytes(name))

    def _is_view_or_sum(self, node: Node) -> bool:
        return node.op in ("Add", "Concat") or self._is_view(node)

    def _accumulate(self, name: str, storage: int) -> None:
        """Join the gradient of one reader to those of others; in place where one of the two is nobody else's."""
        other = self._gradient.get(name)
        if other is None:
            self._gradient[name] = storage
        elif self.heap.readers(other) == 1:
            self.heap.drop(storage)
        elif self.heap.readers(storage) == 1:
            self._gradient[name] = storage
            self.heap.drop(other)
        else:
            self._gradient[name] = self.heap.new(self.sizes.bytes(name))
            self._release((other, storage))

    def _release(self, storages: Iterable[int]) -> None:
        for storage in storages:
            self.heap.drop(storage)
