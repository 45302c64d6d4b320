# SPDX-License-Identifier: Apache-2.0
"""Operators that join or rearrange tensors, and the mean over axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fireforge.base.graph import Dim, Shape
from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import axis_of, bad_attr, bad_shape, given, narrow, product, same_float, wide

Arrays = Sequence[np.ndarray | None]


def _infer_concat(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    axis = axis_of(a["axis"], rank=len(shape))
    if len(inputs) == 1:
        return ((dtype, shape),)
    before, behind = shape[:axis], shape[axis + 1 :]
    total = 0
    for item in inputs:
        other, part = given(item)
        if other != dtype or part[:axis] != before or part[axis + 1 :] != behind or len(part) != len(shape):
            bad_shape(f"{other} {part} cannot join {dtype} {shape} along axis {axis}")
        size = part[axis]
        if isinstance(size, str):
            bad_shape(f"size {size} along the joined axis {axis} is a symbol")
        total += size
    return ((dtype, (*before, total, *behind)),)


def _run_concat(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    return (np.concatenate([given(item) for item in inputs], axis=a["axis"]),)


def _infer_flatten(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    rank = len(shape)
    axis = rank if a["axis"] == rank else axis_of(a["axis"], rank=rank)
    return ((dtype, (product(shape[:axis]), product(shape[axis:]))),)


def _run_flatten(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    x = given(inputs[0])
    return (x.reshape(_numbers(_infer_flatten([(str(x.dtype), x.shape)], attrs))),)


def _numbers(typed: tuple[Typed, ...]) -> Any:
    return typed[0][1]


def _infer_reshape(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    target: tuple[int, ...] = a["shape"]
    if any(size < -1 for size in target) or target.count(-1) > 1:
        bad_attr(f"shape {target}", allowed="sizes, 0 to copy, at most one -1 to infer")
    dims: list[Dim] = []
    for i, size in enumerate(target):
        if size == 0 and i >= len(shape):
            bad_shape(f"shape {target} copies axis {i} of {shape}")
        dims.append(shape[i] if size == 0 else size)
    return ((dtype, _matched(shape, dims, target)),)


def _matched(shape: Shape, dims: list[Dim], target: tuple[int, ...]) -> Shape:
    """The dims with their -1, if any, replaced so that the number of elements stays."""
    have, symbols = _split(shape)
    want, others = _split(tuple(dim for dim in dims if dim != -1))
    for symbol in others:  # a copied symbol stands on both sides
        symbols.remove(symbol) if symbol in symbols else bad_shape(f"{shape} to {target}: {symbol} twice")
    if -1 not in dims:
        if symbols or have != want:
            bad_shape(f"{shape} does not fit shape {target}")
        return tuple(dims)
    if want == 0:
        bad_shape(f"{shape} to {target}: a size of 0 leaves -1 open")
    if not symbols and have % want == 0:
        rest: Dim = have // want
    elif len(symbols) == 1 and have == want:
        rest = symbols[0]
    else:
        sizes = " * ".join([*symbols, str(have)])
        bad_shape(f"{shape} to {target}: -1 would be {sizes} / {want}, which is not a known size")
    return tuple(rest if dim == -1 else dim for dim in dims)


def _split(shape: Shape) -> tuple[int, list[str]]:
    total = 1
    symbols = []
    for dim in shape:
        if isinstance(dim, str):
            symbols.append(dim)
        else:
            total *= dim
    return total, symbols


def _run_reshape(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    x = given(inputs[0])
    return (x.reshape(_numbers(_infer_reshape([(str(x.dtype), x.shape)], attrs))),)


def _infer_transpose(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    perm = a["perm"]
    if sorted(perm) != list(range(len(shape))):
        bad_shape(f"perm {perm} of a tensor {shape}")
    return ((dtype, tuple(shape[i] for i in perm)),)


def _run_transpose(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    return (given(inputs[0]).transpose(a["perm"]).copy(),)


def _mean_axes(axes: tuple[int, ...], rank: int) -> set[int]:
    return {axis_of(axis, rank=rank) for axis in axes} if axes else set(range(rank))


def _infer_mean(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = same_float(inputs, attrs)[0]
    axes = _mean_axes(a["axes"], len(shape))
    if a["keepdims"] not in (0, 1):
        bad_attr(f"keepdims {a['keepdims']}", allowed="0 or 1")
    if a["axes"] and len(axes) != len(a["axes"]):
        bad_attr(f"axes {a['axes']} name an axis twice")
    if a["keepdims"]:
        return ((dtype, tuple(1 if i in axes else dim for i, dim in enumerate(shape))),)
    return ((dtype, tuple(dim for i, dim in enumerate(shape) if i not in axes)),)


def _run_mean(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    axes = tuple(sorted(_mean_axes(a["axes"], x.ndim)))
    return (narrow(np.asarray(wide(x).mean(axis=axes, keepdims=bool(a["keepdims"]))), x),)


OPS: dict[str, Operator] = {
    "Concat": Operator(infer=_infer_concat, run=_run_concat, inputs=(1, -1), required={"axis": int}),
    "Flatten": Operator(infer=_infer_flatten, run=_run_flatten, inputs=(1, 1), defaults={"axis": 1}),
    "Reshape": Operator(infer=_infer_reshape, run=_run_reshape, inputs=(1, 1), required={"shape": tuple}),
    "Transpose": Operator(infer=_infer_transpose, run=_run_transpose, inputs=(1, 1), required={"perm": tuple}),
    "ReduceMean": Operator(infer=_infer_mean, run=_run_mean, inputs=(1, 1), defaults={"axes": (), "keepdims": 1}),
}
