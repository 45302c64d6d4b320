# SPDX-License-Identifier: Apache-2.0
"""What torch keeps of each operator until its gradient has been computed, and what it makes in passing."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, Shape, TensorType
from fireforge.base.infer import filled, infer

INDEX_BYTES = 8  # a maximum pool remembers where each maximum was, as int64
STATISTIC_BYTES = 4  # a norm's mean and deviation, float32 in any precision

# the same numbers under another name: no new memory, forwards or backwards
VIEWS = frozenset(("Flatten", "Reshape", "Identity", "Transpose", "Slice", "Split"))
KEEPS_INPUT = frozenset(
    (
        *("Conv", "ConvTranspose", "Gemm", "BatchNormalization", "LayerNormalization", "LRN"),
        *("LeakyRelu", "Clip", "HardSwish", "MaxPool", "AveragePool", "GlobalMaxPool"),
    )
)
KEEPS_INPUTS = frozenset(("MatMul", "Mul", "Div"))
KEEPS_OUTPUT = frozenset(("Relu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "GlobalMaxPool"))
KEEPS_NOTHING = frozenset(
    (
        *("Add", "Sub", "Concat", "GlobalAveragePool", "ReduceMean", "Dropout", "HardSigmoid"),
        *("Pad", "Gather", "Resize"),
    )
)
# the gradient of the output goes on as it is, whole or a window of it
PASSES_GRADIENT = frozenset(("Flatten", "Reshape", "Identity", "Transpose", "Add", "Concat"))
CONVOLUTIONS = ("Conv", "ConvTranspose")
FEW_CHANNELS = 4  # up to which a convolution's kernels read the plain layout


class Sizes:
    """Bytes of a graph's tensors for a batch.

    Args:
      graph: a valid graph.
      batch: what the symbols of the shapes count as.
      item_bytes: of one float of an activation.
    """

    def __init__(self, graph: Graph, *, batch: int, item_bytes: int) -> None:
        self.types: Mapping[str, TensorType] = infer(graph)
        self.weights = {weight.name: weight for weight in graph.weights}
        self.batch, self.item = batch, item_bytes

    def shape(self, name: str) -> Shape:
        """Shape of a tensor, symbols as they are."""
        return self.types[name].shape

    def numbers(self, name: str) -> int:
        """How many numbers a tensor holds for the whole batch."""
        return math.prod(self.batch if isinstance(dim, str) else dim for dim in self.shape(name))

    def bytes(self, name: str) -> int:
        """Bytes of an activation."""
        return self.numbers(name) * self.item

    def is_weight(self, name: str) -> bool:
        """Whether it is a weight or buffer of the graph."""
        return name in self.weights


def _norm(node: Node, sizes: Sizes) -> int:
    return 2 * STATISTIC_BYTES * sizes.numbers(node.inputs[3])


def _rows(node: Node, sizes: Sizes) -> int:
    return 2 * STATISTIC_BYTES * (sizes.numbers(node.inputs[0]) // max(1, sizes.numbers(node.inputs[1])))


def _response(node: Node, sizes: Sizes) -> int:
    """The padded squares, and the base of the power."""
    channels, width = sizes.shape(node.inputs[0])[1], filled(node)["size"]
    assert isinstance(channels, int)
    assert isinstance(width, int)
    size = sizes.bytes(node.inputs[0])
    return size * (channels + width - 1) // channels + 2 * size


# bytes of what is kept besides inputs and outputs
EXTRA: dict[str, Callable[[Node, Sizes], int]] = {
    "BatchNormalization": _norm,
    "LayerNormalization": _rows,
    "LRN": _response,
    "MaxPool": lambda node, sizes: INDEX_BYTES * sizes.numbers(node.outputs[0]),
    "Dropout": lambda node, sizes: sizes.bytes(node.outputs[0]) if filled(node)["ratio"] else 0,
    "HardSigmoid": lambda node, sizes: sizes.bytes(node.outputs[0]),
}


def kept_names(node: Node, learns: Container[str]) -> tuple[str, ...]:
    """Tensors that a node's gradient needs, weights and inputs that are absent among them.

    Args:
      node: of the closed list.
      learns: tensors that have a gradient.

    Returns:
      Names of inputs and outputs.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if it is not known what torch keeps of this operator.
    """
    known = (VIEWS, KEEPS_INPUT, KEEPS_INPUTS, KEEPS_OUTPUT, KEEPS_NOTHING)
    if not any(node.op in group for group in known):
        raise FireforgeError("UNKNOWN_OPERATOR", f"no rule for what training keeps of {node.op}", where=node.name)
    names = node.inputs[:1] if node.op in KEEPS_INPUT else ()
    if node.op in KEEPS_INPUTS:  # each for the other's gradient, where that one has any
        names = tuple(name for name, other in zip(node.inputs, reversed(node.inputs)) if other in learns)
    return (*names, *(node.outputs if node.op in KEEPS_OUTPUT else ()))


def forward_space(node: Node, sizes: Sizes, *, blocked: bool) -> int:
    """The most that a node needs besides its inputs and outputs while it computes forwards.

    A convolution on plain maps (blocked) copies its input, its kernel and its result into the layout of the kernels.

    Args:
      node: of the graph.
      sizes: of its tensors.
      blocked: whether maps lie channel by channel; with the channels last only the kernel is copied.

    Returns:
      Bytes beyond inputs and outputs.
    """
    if node.op not in CONVOLUTIONS:
        return 0
    kernel = sizes.bytes(node.inputs[1])
    if not blocked:
        return kernel
    source, made = source_copy(node, sizes), sizes.bytes(node.outputs[0])
    return max(source + kernel + made, 2 * made) - made


def backward_space(node: Node, sizes: Sizes, *, blocked: bool, gradient: bool) -> int:
    """The most that a node needs besides what is given and what it leaves while it computes its gradients.

    A convolution computes the gradient of its input first and that of its kernel afterwards.

    Args:
      node: of the graph.
      sizes: of its tensors.
      blocked: as for `forward_space`.
      gradient: whether the gradient of its input is wanted.

    Returns:
      Bytes beyond the saved tensors, the gradient that came and those that are made.
    """
    if node.op not in CONVOLUTIONS:
        return 0
    kernel = sizes.bytes(node.inputs[1])
    if not blocked:
        return 2 * kernel
    source, made = source_copy(node, sizes), sizes.bytes(node.outputs[0])
    for_kernel = made + source + kernel
    for_input = max(made + kernel + source - sizes.bytes(node.inputs[0]), source) if gradient else 0
    return max(for_kernel, for_input)


def source_copy(node: Node, sizes: Sizes) -> int:
    """Bytes of a convolution's input in the layout of the kernels; 0 where they read it as it is."""
    channels = sizes.shape(node.inputs[0])[1]
    few = isinstance(channels, int) and channels <= FEW_CHANNELS
    return 0 if few else sizes.bytes(node.inputs[0])
