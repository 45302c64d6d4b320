# SPDX-License-Identifier: Apache-2.0
"""Whether a graph is one: names, order, operators, attributes, limits, and at last the shapes."""

from __future__ import annotations

import math
from typing import NoReturn

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import DTYPES, OPSET, Attr, Graph, Node, TensorType
from fireforge.base.infer import infer
from fireforge.base.ops.activation import HIGHEST
from fireforge.base.ops.table import OPERATORS

MOST_NODES = 100_000
MOST_AXES = 8
MOST_SIZE = 2**31 - 1
MOST_LETTERS = 512
FLOAT_TUPLES = frozenset((("Resize", "scales"),))  # the tuples that hold floats; all others hold ints


def validate(graph: Graph) -> None:
    """Check a graph whole; it changes nothing.

    Args:
      graph: any graph, for instance one read from a file.

    Raises:
      FireforgeError: BAD_GRAPH, if a name, operator, attribute, arity, dtype, limit or the order is wrong, or something
        is made or stored and never used; BAD_SHAPE, if the inputs of a node do not fit; `where` is the node or tensor.
    """
    if graph.opset != OPSET:
        _fail("graph", f"opset {graph.opset}", allowed=str(OPSET))
    if len(graph.nodes) > MOST_NODES:
        _fail("graph", f"{len(graph.nodes)} nodes", allowed=f"at most {MOST_NODES}")
    if not graph.inputs or not graph.outputs:
        _fail("graph", f"{len(graph.inputs)} inputs, {len(graph.outputs)} outputs", allowed="at least one of each")
    made: set[str] = set()
    for tensor in (*graph.inputs, *graph.weights):
        _check_tensor(tensor)
        _make(tensor.name, made, tensor.name)
    for weight in graph.weights:
        if any(isinstance(dim, str) for dim in weight.shape):
            _fail(weight.name, f"weight of shape {weight.shape}", allowed="numbers")
        wanted = math.prod(dim for dim in weight.shape if isinstance(dim, int))
        if weight.fixed and len(weight.fixed) != wanted:
            _fail(weight.name, f"{len(weight.fixed)} fixed numbers of shape {weight.shape}", allowed=str(wanted))
    for tensor in graph.inputs:
        if tensor.fixed:
            _fail(tensor.name, "an input with fixed numbers", allowed="weights")
    _check_nodes(graph, made)
    _check_uses(graph, made)
    for name, tensor in infer(graph).items():
        if len(tensor.shape) > MOST_AXES:
            _fail(name, f"{len(tensor.shape)} axes", allowed=f"at most {MOST_AXES}")
        for dim in tensor.shape:
            if not isinstance(dim, str) and not 1 <= dim <= MOST_SIZE:
                _fail(name, f"shape {tensor.shape}", allowed=f"sizes 1 to {MOST_SIZE}")


def _check_tensor(tensor: TensorType) -> None:
    if tensor.dtype not in DTYPES:
        _fail(tensor.name, f"dtype {tensor.dtype!r}", allowed=", ".join(DTYPES))
    if len(tensor.shape) > MOST_AXES:
        _fail(tensor.name, f"{len(tensor.shape)} axes", allowed=f"at most {MOST_AXES}")
    for dim in tensor.shape:
        good = dim.isidentifier() and len(dim) <= MOST_LETTERS if isinstance(dim, str) else _is_size(dim)
        if not good:
            _fail(tensor.name, f"size {str(dim)[:80]!r}", allowed=f"1 to {MOST_SIZE}, or a symbol such as N")


def _is_size(dim: object) -> bool:
    return isinstance(dim, int) and not isinstance(dim, bool) and 1 <= dim <= MOST_SIZE


def _check_name(name: str, where: str) -> None:
    if not name or len(name) > MOST_LETTERS or not name.isprintable():
        _fail(where[:80], f"name {name[:80]!r}", allowed=f"1 to {MOST_LETTERS} printable characters")


def _make(name: str, made: set[str], where: str) -> None:
    _check_name(name, where)
    if name in made:
        _fail(where, f"tensor {name!r} is made twice", allowed="unique names")
    made.add(name)


def _check_nodes(graph: Graph, made: set[str]) -> None:
    names: set[str] = set()
    for node in graph.nodes:
        _check_name(node.name, node.name)
        if node.name in names:
            _fail(node.name, "two nodes have this name", allowed="unique names")
        names.add(node.name)
        _check_attrs(node)
        _check_arity(node)
        for name in node.inputs:
            if name and name not in made:
                _fail(node.name, f"input {name!r} is made by no earlier node", allowed="topological order")
        for name in node.outputs:
            _make(name, made, node.name)


def _check_arity(node: Node) -> None:
    operator = OPERATORS[node.op]
    least, most = operator.inputs
    count = len(node.inputs)
    if count < least or count > most >= 0:
        _fail(node.name, f"{node.op} with {count} inputs", allowed=f"{least} to {most if most >= 0 else 'any number'}")
    required = node.inputs if most < 0 else node.inputs[:least]
    if "" in required:
        _fail(node.name, f"{node.op} without input {required.index('')}", allowed=f"first {len(required)} inputs given")
    if not node.outputs or (operator.outputs >= 0 and len(node.outputs) != operator.outputs):
        _fail(node.name, f"{node.op} with {len(node.outputs)} outputs", allowed=str(abs(operator.outputs)))


def _check_attrs(node: Node) -> None:
    operator = OPERATORS.get(node.op)
    if operator is None:
        _fail(node.name, f"no operator called {node.op[:80]!r}", allowed=", ".join(sorted(OPERATORS)))
    for name in operator.required:
        if name not in node.attrs:
            _fail(node.name, f"{node.op} lacks attribute {name}", allowed=", ".join(operator.required))
    for name, value in node.attrs.items():
        if name in operator.required:
            kind = operator.required[name]
        elif name in operator.defaults:
            kind = type(operator.defaults[name])
        else:
            known = sorted({*operator.required, *operator.defaults})
            _fail(node.name, f"{node.op} has no attribute {name[:80]!r}", allowed=", ".join(known) or "none")
        part = float if (node.op, name) in FLOAT_TUPLES else int
        if not _fits(value, kind, part):
            wanted = f"tuple of {part.__name__}" if kind is tuple else kind.__name__
            _fail(node.name, f"{name} {str(value)[:80]!r}", allowed=f"{wanted} within float32 or int64")


def _fits(value: Attr, kind: type, part: type) -> bool:
    """Whether an attribute has its type and ONNX can hold it; an int will do for a float, a bool is never a number."""
    if kind is tuple:
        return isinstance(value, tuple) and all(_fits(item, part, part) for item in value)
    if isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, (int, float)) and -HIGHEST <= value <= HIGHEST  # false for NaN
    if kind is int:
        return isinstance(value, int) and -(2**63) <= value < 2**63
    return isinstance(value, kind)


def _check_uses(graph: Graph, made: set[str]) -> None:
    used = set(graph.outputs)
    for name in graph.outputs:
        if name not in made:
            _fail("graph", f"output {name[:80]!r} does not exist")
    if len(used) != len(graph.outputs):
        _fail("graph", f"outputs {graph.outputs} name a tensor twice")
    for node in reversed(graph.nodes):
        if used.isdisjoint(node.outputs):
            _fail(node.name, f"nothing that {node.op} makes is used", allowed="nodes that the outputs depend on")
        used.update(node.inputs)
    for tensor in (*graph.inputs, *graph.weights):
        if tensor.name not in used:
            _fail(tensor.name, "an input or weight that no node uses")


def _fail(where: str, what: str, *, allowed: str = "") -> NoReturn:
    raise FireforgeError("BAD_GRAPH", what, where=where, allowed=allowed)
