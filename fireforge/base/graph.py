# SPDX-License-Identifier: Apache-2.0
"""The network as data: nodes of a closed operator list in topological order, weights by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireforge.base.value import Value

OPSET = 17  # the ONNX operator set whose names and semantics the nodes have

Dim = int | str  # a size, or a symbol such as "N" for the batch
Shape = tuple[Dim, ...]
Attr = int | float | str | tuple[int, ...] | tuple[float, ...]

DTYPES = ("float32", "float16", "uint8", "int8", "int32", "int64", "bool")


@dataclass(frozen=True, kw_only=True)
class TensorType(Value):
    """Name, dtype and shape of one tensor.

    Args:
      name: unique within its graph.
      dtype: one of DTYPES.
      shape: sizes; the batch is the symbol "N".
      fixed: numbers of a weight that belongs to the network's definition and is never trained, such as a table of
        codes, one an element in C order; empty for all other tensors.
    """

    name: str
    dtype: str = "float32"
    shape: Shape
    fixed: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Node(Value):
    """One operator applied to named tensors.

    Args:
      name: unique; dots part the scopes ("fire2.squeeze"), as in a state dict.
      op: a name of `fireforge.base.ops.OPERATORS`, which are ONNX's names.
      inputs: tensor names; "" stands for an optional input that is absent.
      outputs: names of the tensors that this node makes.
      attrs: ONNX's attributes. What ONNX passes as a constant input and shapes depend on (Reshape's shape, Slice's
        starts, Pad's pads, Clip's bounds, Split's sizes, Resize's scales) is an attribute here as well.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: dict[str, Attr] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Graph(Value):
    """A network without its numbers.

    Args:
      inputs: what the caller gives, batch first.
      outputs: names of the tensors that the caller gets.
      weights: tensors whose numbers a Model holds, buffers such as running means included.
      nodes: in topological order.
      opset: ONNX operator set that the nodes follow.
    """

    inputs: tuple[TensorType, ...]
    outputs: tuple[str, ...]
    weights: tuple[TensorType, ...]
    nodes: tuple[Node, ...]
    opset: int = OPSET
