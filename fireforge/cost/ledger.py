# SPDX-License-Identifier: Apache-2.0
"""The ledger: what each layer costs, for a batch and a number format, and what all of them cost together."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.errors import lookup
from fireforge.base.graph import Graph, Shape, TensorType
from fireforge.base.infer import infer
from fireforge.base.value import Value
from fireforge.cost.count import BYTES, by_node, size
from fireforge.cost.energy import FORM_BYTES
from fireforge.cost.field import Field, fields

ITEM_BYTES = {**FORM_BYTES, "bfloat16": 2}  # of a number that the graph holds in float32
STILL = frozenset(("Flatten", "Reshape", "Identity", "Dropout"))  # move nothing when they predict


@dataclass(frozen=True, kw_only=True)
class Line(Value):
    """What one node costs.

    Args:
      name: of the node.
      op: its operator.
      shape: of its first output, the batch as a symbol.
      params: trained numbers that no earlier node has used.
      macs: multiply-adds for the batch.
      activations: numbers in its output for the batch if it is a convolution or matrix product, else 0.
      read_bytes: its inputs for the batch, and its weights once.
      written_bytes: its outputs for the batch.
      intensity: macs per byte read or written; None where there are no macs, or nothing is moved.
      field: what one number of its output sees of the picture; None where it depends on no picture,
        or the places of its numbers cannot be followed.
    """

    name: str
    op: str
    shape: Shape
    params: int
    macs: int
    activations: int
    read_bytes: int
    written_bytes: int
    intensity: float | None
    field: Field | None


def ledger(graph: Graph, *, batch: int = 1, dtype: str = "float32") -> tuple[Line, ...]:
    """The cost of each node.

    Bytes are those of a network whose nodes run one by one: each reads its inputs and weights once and writes its
    outputs once; nothing is fused, nothing stays in a cache. Flatten, Reshape, Identity and Dropout move nothing.

    Args:
      graph: a valid graph.
      batch: pictures at once.
      dtype: a name of ITEM_BYTES, in which what the graph holds in float32 shall be held.

    Returns:
      One line a node, in order.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if an operator has no count; UNKNOWN_NAME, if there is no such dtype.
    """
    item = lookup(ITEM_BYTES, dtype, "number format")
    types, seen = infer(graph), fields(graph)
    weights = {weight.name for weight in graph.weights}

    def moved(name: str) -> int:
        tensor = types[name]
        each = item if tensor.dtype == "float32" else BYTES[tensor.dtype]
        return size(tensor.shape) * each * (1 if name in weights else times(tensor, batch))

    lines = []
    for node, cost in zip(graph.nodes, by_node(graph)):
        still = node.op in STILL
        read = 0 if still else sum(moved(name) for name in dict.fromkeys(node.inputs) if name)
        written = 0 if still else sum(map(moved, node.outputs))
        macs = cost.macs * times(types[node.outputs[0]], batch)
        lines.append(
            Line(
                name=node.name,
                op=node.op,
                shape=cost.shape,
                params=cost.params,
                macs=macs,
                activations=cost.activations * times(types[node.outputs[0]], batch),
                read_bytes=read,
                written_bytes=written,
                intensity=macs / (read + written) if macs else None,
                field=seen.get(node.outputs[0]),
            )
        )
    return tuple(lines)


def times(tensor: TensorType, batch: int) -> int:
    """How many pictures' numbers a tensor holds: the batch where its shape has a symbol, else 1."""
    return batch if any(isinstance(dim, str) for dim in tensor.shape) else 1
