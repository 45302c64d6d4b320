# SPDX-License-Identifier: Apache-2.0
"""What a graph means: it is executed node by node with numpy, and every runtime is held to the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import filled
from fireforge.base.ops.table import OPERATORS


def run_reference(
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    *,
    wanted: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Execute the graph; only nodes that the wanted tensors need run, and tensors are freed after their last use.

    Args:
      graph: a graph that `validate` accepts.
      weights: weight name to array, dtype and shape as in graph.weights.
      inputs: input name to array, dtype and shape as in graph.inputs; a symbol stands for one size throughout.
      wanted: names of any tensors; graph.outputs if None.

    Returns:
      Wanted name to array, in the order asked for.

    Raises:
      FireforgeError: BAD_INPUT_TENSOR, if an array is absent, unknown or of another dtype or shape; UNKNOWN_NAME, if a
        wanted tensor does not exist; BAD_SHAPE, if a node's arrays do not fit.
    """
    names = tuple(graph.outputs if wanted is None else wanted)
    sizes: dict[str, int] = {}
    values = {tensor.name: _checked(tensor, weights, sizes, "weight") for tensor in graph.weights}
    values.update({tensor.name: _checked(tensor, inputs, sizes, "input") for tensor in graph.inputs})
    for extra in inputs.keys() - {tensor.name for tensor in graph.inputs}:
        allowed = ", ".join(tensor.name for tensor in graph.inputs)
        raise FireforgeError("BAD_INPUT_TENSOR", "the graph has no such input", where=extra, allowed=allowed)
    known = values.keys() | {name for node in graph.nodes for name in node.outputs}
    for name in names:
        if name not in known:
            raise FireforgeError("UNKNOWN_NAME", f"the graph has no tensor called {name!r}")
    plan = _needed(graph, names)
    last = {name: i for i, node in enumerate(plan) for name in (*node.inputs, *node.outputs)}
    for i, node in enumerate(plan):
        values.update(zip(node.outputs, _run_node(node, values)))
        for name in {*node.inputs, *node.outputs}:
            if last[name] == i and name not in names:
                values.pop(name, None)
    return {name: values[name] for name in names}


def _checked(tensor: TensorType, arrays: Mapping[str, np.ndarray], sizes: dict[str, int], kind: str) -> np.ndarray:
    wanted = f"{tensor.dtype} {tensor.shape}"
    if tensor.name not in arrays:
        raise FireforgeError("BAD_INPUT_TENSOR", f"{kind} is absent", where=tensor.name, allowed=wanted)
    array = arrays[tensor.name]
    fits = str(array.dtype) == tensor.dtype and array.ndim == len(tensor.shape)
    if fits:
        for dim, size in zip(tensor.shape, array.shape):
            fits = fits and (sizes.setdefault(dim, size) if isinstance(dim, str) else dim) == size
    if not fits:
        got = f"{kind} is {array.dtype} {array.shape}"
        known = ", ".join(f"{symbol} = {size}" for symbol, size in sizes.items())
        allowed = f"{wanted} with {known}" if known else wanted
        raise FireforgeError("BAD_INPUT_TENSOR", got, where=tensor.name, allowed=allowed)
    return array


def _needed(graph: Graph, names: Sequence[str]) -> list[Node]:
    """The nodes that the names depend on, in order."""
    open_names = set(names)
    plan = []
    for node in reversed(graph.nodes):
        if not open_names.isdisjoint(node.outputs):
            plan.append(node)
            open_names.update(node.inputs)
    return plan[::-1]


def _run_node(node: Node, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    try:
        results = OPERATORS[node.op].run([values[name] if name else None for name in node.inputs], filled(node))
    except FireforgeError as error:
        raise FireforgeError(error.code, f"{node.op}: {error.what}", where=node.name, allowed=error.allowed) from None
    return tuple(np.asarray(result) for result in results)  # numpy makes scalars of arrays without axes
