# SPDX-License-Identifier: Apache-2.0
"""What a network costs, counted by walking the graph that is executed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, Shape, TensorType
from fireforge.base.infer import infer
from fireforge.base.ops.table import OPERATORS
from fireforge.base.value import Value

BYTES = {"float32": 4, "float16": 2, "uint8": 1, "int8": 1, "int32": 4, "int64": 8, "bool": 1}

Shapes = Sequence[Shape]  # of the inputs of a node, () where one is absent


def size(shape: Shape) -> int:
    """Numbers in a tensor for one image: a symbol counts as 1.

    Args:
      shape: sizes and symbols.

    Returns:
      Product of the sizes.
    """
    return math.prod(dim for dim in shape if not isinstance(dim, str))


def conv_macs(inputs: Shapes, output: Shape) -> int:
    """Multiply-adds of a convolution: every output number takes C / groups * R * S of them.

    Args:
      inputs: (N, C, H, W) and (K, C / groups, R, S).
      output: (N, K, H', W').

    Returns:
      MACs for one image, bias not counted.
    """
    return size(output) * size(inputs[1][1:])


def transpose_macs(inputs: Shapes, output: Shape) -> int:
    """Multiply-adds of a transposed convolution: every input number goes to K / groups * R * S places.

    Args:
      inputs: (N, C, H, W) and (C, K / groups, R, S).
      output: (N, K, H', W').

    Returns:
      MACs for one image, bias not counted.
    """
    return size(inputs[0]) * size(inputs[1][1:])


def gemm_macs(inputs: Shapes, output: Shape) -> int:
    """Multiply-adds of a product of two matrices, either of which may come transposed.

    Args:
      inputs: two matrices of A * B and B * K numbers.
      output: (A, K).

    Returns:
      A * B * K for one image, bias not counted.
    """
    return size(inputs[1]) * size(output[:1])


def matmul_macs(inputs: Shapes, output: Shape) -> int:
    """Multiply-adds of a batched matrix product.

    Args:
      inputs: (..., A, B) and (..., B, K).
      output: (..., A, K).

    Returns:
      Numbers in the output times B, for one image.
    """
    return size(output) * size(inputs[0][-1:])


MACS: dict[str, Callable[[Shapes, Shape], int]] = {
    "Conv": conv_macs,
    "ConvTranspose": transpose_macs,
    "Gemm": gemm_macs,
    "MatMul": matmul_macs,
}

# no multiply-adds by the field's convention, which counts convolutions and matrix products alone
FREE = frozenset(
    (
        *("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Softmax", "LogSoftmax"),
        *("BatchNormalization", "LayerNormalization", "LRN", "Dropout", "Identity"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Resize"),
        *("Add", "Sub", "Mul", "Div", "Concat", "Flatten", "Reshape", "Transpose"),
        *("Slice", "Split", "Pad", "Gather", "QuantizeLinear", "DequantizeLinear"),
    )
)

NOT_TRAINED = {"QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2)}  # scales and zero points


@dataclass(frozen=True, kw_only=True)
class NodeCost(Value):
    """What one node costs for one image.

    Args:
      name: of the node.
      op: its operator.
      shape: of its first output.
      params: trained numbers that no earlier node has used.
      macs: multiply-adds.
      activations: numbers in its output if it is a convolution or matrix product, else 0.
    """

    name: str
    op: str
    shape: Shape
    params: int
    macs: int
    activations: int


def count(graph: Graph) -> Cost:
    """Counts of a whole network for one image.

    Peak activation bytes: nodes run in the graph's order; each makes new tensors (nothing works in place, a Relu, a
    batch norm, a Dropout and a Flatten have their own); a tensor lives from the node that makes it, the input from
    the start, until its last reader is done, the outputs to the end. Weights are not activations.

    Args:
      graph: a valid graph; symbols count as 1.

    Returns:
      The Cost; wire_bytes takes 4 bytes a parameter.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if an operator is neither in MACS nor in FREE; BAD_SHAPE or BAD_GRAPH, if the
        graph is not valid.
    """
    types = infer(graph)
    macs = activations = 0
    for node in graph.nodes:
        part = _macs(node, types)
        macs += part
        if node.op in MACS:
            activations += size(types[node.outputs[0]].shape)
    still = frozen(graph)
    params = sum(size(weight.shape) for weight in graph.weights if weight.name not in still)
    return Cost(
        params=params,
        macs=macs,
        activations=activations,
        peak_activation_bytes=_peak(graph, types),
        weight_bytes=sum(size(weight.shape) * BYTES[weight.dtype] for weight in graph.weights),
        wire_bytes=4 * params,
    )


def by_node(graph: Graph) -> tuple[NodeCost, ...]:
    """Counts of each node for one image; they add up to those of `count`.

    Args:
      graph: a valid graph.

    Returns:
      One record a node, in order.

    Raises:
      FireforgeError: as `count`.
    """
    types = infer(graph)
    open_weights = {weight.name: size(weight.shape) for weight in graph.weights}
    for name in frozen(graph):
        open_weights.pop(name, None)
    rows = []
    for node in graph.nodes:
        shape = types[node.outputs[0]].shape
        rows.append(
            NodeCost(
                name=node.name,
                op=node.op,
                shape=shape,
                params=sum(open_weights.pop(name, 0) for name in node.inputs),
                macs=_macs(node, types),
                activations=size(shape) if node.op in MACS else 0,
            )
        )
    return tuple(rows)


def _macs(node: Node, types: Mapping[str, TensorType]) -> int:
    if node.op in FREE:
        return 0
    formula = MACS.get(node.op)
    if formula is None:
        raise FireforgeError("UNKNOWN_OPERATOR", f"no count for operator {node.op}", where=node.name)
    return formula([types[name].shape if name else () for name in node.inputs], types[node.outputs[0]].shape)


def frozen(graph: Graph) -> set[str]:
    """Weights that are not trained: fixed ones, running statistics, scales and zero points, constants of shape ()."""
    names = {weight.name for weight in graph.weights if weight.fixed or not weight.shape}
    for node in graph.nodes:
        for position in OPERATORS[node.op].buffers or NOT_TRAINED.get(node.op, ()):
            if position < len(node.inputs):
                names.add(node.inputs[position])
    return names


def _peak(graph: Graph, types: Mapping[str, TensorType]) -> int:
    last: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        for name in node.inputs:
            last[name] = i
    held = {name: len(graph.nodes) for name in graph.outputs}
    last.update(held)
    alive = peak = sum(_bytes(tensor) for tensor in graph.inputs)
    made = {tensor.name for tensor in graph.inputs}
    for i, node in enumerate(graph.nodes):
        for name in node.outputs:
            alive += _bytes(types[name])
            made.add(name)
        peak = max(peak, alive)
        for name in {*node.inputs, *node.outputs}:
            if name in made and last.get(name, i) == i:
                alive -= _bytes(types[name])
    return peak


def _bytes(tensor: TensorType) -> int:
    return size(tensor.shape) * BYTES[tensor.dtype]
