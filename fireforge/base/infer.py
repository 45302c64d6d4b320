# SPDX-License-Identifier: Apache-2.0
"""Types of all tensors of a graph, and attributes with their defaults."""

from __future__ import annotations

import functools
from typing import NoReturn

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.ops.operator import Attrs, Typed
from fireforge.base.ops.table import OPERATORS


def infer(graph: Graph) -> dict[str, TensorType]:
    """Types of every tensor: inputs, weights and what the nodes make, in that order.

    The attributes have the types that their operators ask for; `validate` checks that.

    Args:
      graph: nodes in topological order.

    Returns:
      Tensor name to its type.

    Raises:
      FireforgeError: BAD_SHAPE, if the inputs of a node do not fit; BAD_GRAPH, if a node names an unknown operator or
        tensor, lacks an attribute or has another number of inputs or outputs.
    """
    types: dict[str, TensorType] = {}
    typed: dict[str, Typed | None] = {"": None}
    for tensor in (*graph.inputs, *graph.weights):
        types[tensor.name] = tensor
        typed[tensor.name] = (tensor.dtype, tensor.shape)
    for node in graph.nodes:
        attrs = filled(node)
        least, most = OPERATORS[node.op].inputs
        count = len(node.inputs)
        if count < least or count > most >= 0:
            _fail(node, f"{node.op} with {count} inputs", allowed=f"{least} to {most if most >= 0 else 'any number'}")
        for name in node.inputs:
            if name not in typed:
                _fail(node, f"input {name!r} is made by no earlier node", allowed="topological order")
        try:
            results = OPERATORS[node.op].infer([typed[name] for name in node.inputs], attrs)
        except FireforgeError as error:
            raise FireforgeError(
                error.code, f"{node.op}: {error.what}", where=node.name, allowed=error.allowed
            ) from None
        if len(results) != len(node.outputs):
            _fail(node, f"{node.op} with {len(node.outputs)} outputs", allowed=str(len(results)))
        for name, result in zip(node.outputs, results):
            typed[name] = result
            types[name] = TensorType(name=name, dtype=result[0], shape=result[1])
    return types


def filled(node: Node) -> Attrs:
    """The node's attributes, absent ones at the default of their operator.

    ONNX's per-axis defaults (strides, dilations 1, pads 0) have the length that kernel_shape asks for.

    Args:
      node: its operator is of the closed list.

    Returns:
      A new dict of all attributes.

    Raises:
      FireforgeError: BAD_GRAPH, if the operator is unknown or a required attribute is absent.
    """
    operator = OPERATORS.get(node.op)
    if operator is None:
        _fail(node, f"no operator called {node.op!r}", allowed=", ".join(sorted(OPERATORS)))
    attrs = node.attrs
    for name in operator.required:
        if name not in attrs:
            _fail(node, f"{node.op} has no attribute {name}", allowed=", ".join(operator.required))
    kernel = attrs.get("kernel_shape")
    if isinstance(kernel, tuple) and len(kernel) != 2:
        return {**_stretched(node.op, len(kernel)), **attrs}
    return {**operator.defaults, **attrs}


@functools.cache
def _stretched(op: str, rank: int) -> Attrs:
    """Defaults of a convolution or pooling over another number of axes than two."""
    defaults = OPERATORS[op].defaults
    return {
        name: value[:1] * (rank * len(value) // 2) if isinstance(value, tuple) else value
        for name, value in defaults.items()
    }


def _fail(node: Node, what: str, *, allowed: str) -> NoReturn:
    raise FireforgeError("BAD_GRAPH", what, where=node.name, allowed=allowed)
