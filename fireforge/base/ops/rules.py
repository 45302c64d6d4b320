# SPDX-License-Identifier: Apache-2.0
"""Small pieces that the shape rules and the numpy meanings of several operators share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, TypeVar

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Dim, Shape
from fireforge.base.ops.operator import Attrs, Typed

T = TypeVar("T")

FLOATS = frozenset(("float32", "float16"))


def bad_shape(what: str) -> NoReturn:
    """Raise BAD_SHAPE; the caller of the rule adds the node's name.

    Args:
      what: which shapes or dtypes do not fit, with their values.

    Raises:
      FireforgeError: BAD_SHAPE, always.
    """
    raise FireforgeError("BAD_SHAPE", what)


def bad_attr(what: str, *, allowed: str = "") -> NoReturn:
    """Raise BAD_GRAPH for an attribute whose value the operator does not have.

    Args:
      what: the attribute and the value that was got.
      allowed: the values it may have.

    Raises:
      FireforgeError: BAD_GRAPH, always.
    """
    raise FireforgeError("BAD_GRAPH", what, allowed=allowed)


def given(item: T | None) -> T:
    """An input that the arity says is there.

    Args:
      item: the input, or None.

    Returns:
      The input.

    Raises:
      FireforgeError: BAD_GRAPH, if it is absent.
    """
    if item is None:
        raise FireforgeError("BAD_GRAPH", "a required input is absent")
    return item


def optional(items: Sequence[T | None], position: int) -> T | None:
    """The input at a position, None where the node ends before it or leaves it out."""
    return items[position] if position < len(items) else None


def axis_of(axis: int, *, rank: int) -> int:
    """A possibly negative axis as 0 to rank - 1.

    Args:
      axis: -rank to rank - 1.
      rank: number of dimensions.

    Returns:
      The axis counted from the front.

    Raises:
      FireforgeError: BAD_SHAPE, if the tensor has no such axis.
    """
    if not -rank <= axis < rank:
        bad_shape(f"axis {axis} of a tensor with {rank} dimensions")
    return axis + rank if axis < 0 else axis


def product(dims: Shape) -> Dim:
    """Number of elements as one size; a symbol alone stays a symbol.

    Args:
      dims: sizes to multiply.

    Returns:
      Their product.

    Raises:
      FireforgeError: BAD_SHAPE, if a symbol is multiplied by anything but 1.
    """
    total = 1
    symbol = ""
    for dim in dims:
        if isinstance(dim, str):
            if symbol:
                bad_shape(f"{symbol} times {dim} is not a size; shape {dims}")
            symbol = dim
        else:
            total *= dim
    if not symbol:
        return total
    if total != 1:
        bad_shape(f"{symbol} times {total} is not a size; shape {dims}")
    return symbol


def broadcast(first: Shape, second: Shape) -> Shape:
    """Shape of an elementwise result; equal sizes, equal symbols or 1 meet, aligned at the last axis.

    Args:
      first: one shape.
      second: the other shape.

    Returns:
      The common shape.

    Raises:
      FireforgeError: BAD_SHAPE, if two sizes differ and none is 1.
    """
    if first == second:
        return first
    rank = max(len(first), len(second))
    left = (1,) * (rank - len(first)) + first
    right = (1,) * (rank - len(second)) + second
    dims: list[Dim] = []
    for a, b in zip(left, right):
        if a == b or b == 1:
            dims.append(a)
        elif a == 1:
            dims.append(b)
        else:
            bad_shape(f"shapes {first} and {second} do not broadcast: {a} against {b}")
    return tuple(dims)


def same_typed(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    """Rule of operators that keep dtype and shape."""
    return (given(inputs[0]),)


def same_float(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    """Rule of operators on floats that keep dtype and shape."""
    x = given(inputs[0])
    if x[0] not in FLOATS:
        bad_shape(f"dtype {x[0]}, needs float32 or float16")
    return (x,)


def wide(array: np.ndarray) -> np.ndarray:
    """The array as float32 where it is float16: sums and exponentials are taken in float32."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def narrow(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The array in the dtype of another one."""
    return array.astype(like.dtype, copy=False)
