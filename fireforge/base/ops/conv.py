# SPDX-License-Identifier: Apache-2.0
"""Convolution and transposed convolution over one or more spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fireforge.base.graph import Dim
from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import FLOATS, bad_attr, bad_shape, given, narrow, optional, wide
from fireforge.base.ops.windows import check_window, count_windows, padded, windows

Index = tuple[Any, ...]


def _check_operands(inputs: Sequence[Typed | None], group: int, filters: Dim) -> None:
    dtype, weight_dtype = given(inputs[0])[0], given(inputs[1])[0]
    if dtype not in FLOATS or weight_dtype != dtype:
        bad_shape(f"input is {dtype}, weight is {weight_dtype}; needs one float dtype")
    if group < 1:
        bad_attr(f"group {group}", allowed=">= 1")
    bias = optional(inputs, 2)
    if bias is not None and (bias[0] != dtype or bias[1] != (filters,)):
        bad_shape(f"bias is {bias[0]} {bias[1]}, needs {dtype} ({filters},)")


def _infer_conv(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    weight = given(inputs[1])[1]
    kernel, strides, pads, dilations, group = a["kernel_shape"], a["strides"], a["pads"], a["dilations"], a["group"]
    check_window(kernel, strides, pads, shape)
    if len(weight) != len(shape):
        bad_shape(f"input {shape} and weight {weight} differ in rank, needs (K, C / group, kernel...)")
    filters = weight[0]
    _check_operands(inputs, group, filters)
    if isinstance(filters, str) or isinstance(weight[1], str) or filters % group or shape[1] != weight[1] * group:
        bad_shape(f"input {shape}, weight {weight}, group {group}: channels do not agree")
    if weight[2:] != kernel:
        bad_shape(f"weight {weight} with kernel_shape {kernel}")
    rank = len(kernel)
    if len(dilations) != rank or min(dilations) < 1:
        bad_attr(f"dilations {dilations}", allowed=f"{rank} numbers >= 1")
    dims: list[Dim] = [shape[0], filters]
    for i in range(rank):
        extent = (kernel[i] - 1) * dilations[i] + 1
        dims.append(count_windows(shape[2 + i], extent, strides[i], (pads[i], pads[rank + i])))
    return ((dtype, tuple(dims)),)


def _run_conv(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    source = given(inputs[0])
    weight = wide(given(inputs[1]))
    group, rank = a["group"], len(a["kernel_shape"])
    view = windows(padded(wide(source), a["pads"], 0), a["kernel_shape"], a["strides"], a["dilations"])
    batch, channels = view.shape[:2]
    positions = view.shape[2 : 2 + rank]
    # (N, C, P..., R...) -> (N, G, P, C/G * R): one row a position and group
    split = view.reshape(batch, group, channels // group, *view.shape[2:])
    order = (0, 1, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
    columns = split.transpose(order).reshape(batch, group, int(np.prod(positions)), -1)
    kernels = weight.reshape(group, weight.shape[0] // group, -1)  # (G, K/G, C/G * R)
    out = np.matmul(columns, kernels.transpose(0, 2, 1))  # (N, G, P, K/G)
    out = out.transpose(0, 1, 3, 2).reshape(batch, weight.shape[0], *positions)
    bias = optional(inputs, 2)
    if bias is not None:
        out = out + wide(bias).reshape(-1, *(1,) * rank)
    return (narrow(np.ascontiguousarray(out), source),)


def _infer_transpose(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    weight = given(inputs[1])[1]
    kernel, strides, pads, dilations, group = a["kernel_shape"], a["strides"], a["pads"], a["dilations"], a["group"]
    extra = a["output_padding"]
    check_window(kernel, strides, pads, shape)
    if len(weight) != len(shape) or isinstance(weight[1], str):
        bad_shape(f"input {shape} and weight {weight}, needs (C, K / group, kernel...)")
    _check_operands(inputs, group, weight[1] * group)
    if isinstance(shape[1], str) or shape[1] != weight[0] or shape[1] % group:
        bad_shape(f"input {shape}, weight {weight}, group {group}: channels do not agree")
    if weight[2:] != kernel:
        bad_shape(f"weight {weight} with kernel_shape {kernel}")
    rank = len(kernel)
    if len(dilations) != rank or min(dilations) < 1 or len(extra) != rank or min(extra) < 0:
        bad_attr(f"dilations {dilations}, output_padding {extra}", allowed=f"{rank} numbers each, >= 1 and >= 0")
    dims: list[Dim] = [shape[0], weight[1] * group]
    for i in range(rank):
        size = shape[2 + i]
        if isinstance(size, str):
            bad_shape(f"spatial size {size} is a symbol; a transposed convolution needs a number")
        full = strides[i] * (size - 1) + (kernel[i] - 1) * dilations[i] + 1 + extra[i]
        if full - pads[i] - pads[rank + i] < 1:
            bad_shape(f"pads {pads} leave nothing of size {full}")
        dims.append(full - pads[i] - pads[rank + i])
    return ((dtype, tuple(dims)),)


def _run_transpose(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    source = given(inputs[0])
    x, weight = wide(source), wide(given(inputs[1]))
    kernel, strides, pads, dilations, group = a["kernel_shape"], a["strides"], a["pads"], a["dilations"], a["group"]
    rank, batch, sizes = len(kernel), x.shape[0], x.shape[2:]
    extra = a["output_padding"]
    full = [s * (n - 1) + (k - 1) * d + 1 + e for s, n, k, d, e in zip(strides, sizes, kernel, dilations, extra)]
    filters = weight.shape[1]  # of one group
    out = np.zeros((batch, group, filters, *full), x.dtype)
    grouped = x.reshape(batch, group, x.shape[1] // group, -1)  # (N, G, C/G, P)
    kernels = weight.reshape(group, weight.shape[0] // group, *weight.shape[1:])  # (G, C/G, K/G, R...)
    for tap in np.ndindex(*kernel):  # every kernel position adds a strided copy of the input
        part = np.matmul(kernels[(Ellipsis, *tap)].transpose(0, 2, 1), grouped)  # (N, G, K/G, P)
        spans: Index = tuple(
            slice(t * d, t * d + s * (n - 1) + 1, s) for t, d, s, n in zip(tap, dilations, strides, sizes)
        )
        out[(Ellipsis, *spans)] += part.reshape(batch, group, filters, *sizes)
    out = out.reshape(batch, group * filters, *full)
    inside: Index = tuple(slice(pads[i], full[i] - pads[rank + i]) for i in range(rank))
    out = out[(Ellipsis, *inside)]
    bias = optional(inputs, 2)
    if bias is not None:
        out = out + wide(bias).reshape(-1, *(1,) * rank)
    return (narrow(np.ascontiguousarray(out), source),)


OPS: dict[str, Operator] = {
    "Conv": Operator(
        infer=_infer_conv,
        run=_run_conv,
        inputs=(2, 3),
        required={"kernel_shape": tuple},
        defaults={"dilations": (1, 1), "group": 1, "pads": (0, 0, 0, 0), "strides": (1, 1)},
    ),
    "ConvTranspose": Operator(
        infer=_infer_transpose,
        run=_run_transpose,
        inputs=(2, 3),
        required={"kernel_shape": tuple},
        defaults={"dilations": (1, 1), "group": 1, "output_padding": (0, 0), "pads": (0, 0, 0, 0), "strides": (1, 1)},
    ),
}
