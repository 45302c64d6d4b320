# SPDX-License-Identifier: Apache-2.0
"""Normalisations: batch (inference form), layer, and local response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import FLOATS, axis_of, bad_attr, bad_shape, broadcast, given, narrow, optional, wide


def _infer_batch(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    x = given(inputs[0])
    dtype, shape = x
    if dtype not in FLOATS or len(shape) < 2:
        bad_shape(f"{dtype} {shape}, needs float (N, C, ...)")
    wanted = (dtype, shape[1:2])
    for i in (1, 2, 3, 4):
        if inputs[i] != wanted:
            bad_shape(f"input {i} is {inputs[i]}, needs {wanted} for input {shape}")
    return (x,)


def _run_batch(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    column = (-1, *(1,) * (x.ndim - 2))
    scale, bias, mean, variance = (wide(given(item)).reshape(column) for item in inputs[1:5])
    out = (wide(x) - mean) / np.sqrt(variance + np.float32(a["epsilon"])) * scale + bias
    return (narrow(out, x),)


def _infer_layer(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    x = given(inputs[0])
    dtype, shape = x
    if dtype not in FLOATS:
        bad_shape(f"dtype {dtype}, needs float32 or float16")
    if a["stash_type"] != 1:
        bad_attr(f"stash_type {a['stash_type']}", allowed="1")
    normalised = shape[axis_of(a["axis"], rank=len(shape)) :]
    for part in inputs[1:3]:
        if part is not None and (part[0] != dtype or broadcast(part[1], normalised) != normalised):
            bad_shape(f"scale or bias {part} against normalised axes {normalised} of {dtype}")
    return (x,)


def _run_layer(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    source = given(inputs[0])
    x = wide(source)
    axes = tuple(range(axis_of(a["axis"], rank=x.ndim), x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    out = centred / np.sqrt(variance + np.float32(a["epsilon"])) * wide(given(inputs[1]))
    bias = optional(inputs, 2)
    if bias is not None:
        out = out + wide(bias)
    return (narrow(out, source),)


def _infer_response(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    x = given(inputs[0])
    if x[0] not in FLOATS or len(x[1]) < 3:
        bad_shape(f"{x[0]} {x[1]}, needs float (N, C, spatial...)")
    if a["size"] < 1:
        bad_attr(f"size {a['size']}", allowed=">= 1")
    return (x,)


def _run_response(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    source = given(inputs[0])
    x = wide(source)
    size = a["size"]
    before, after = (size - 1) // 2, size // 2  # channels summed before and after each one
    squares = np.pad(np.square(x), [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2))
    total = np.lib.stride_tricks.sliding_window_view(squares, size, axis=1).sum(axis=-1)
    base = np.float32(a["bias"]) + np.float32(a["alpha"] / size) * total
    return (narrow(x / base ** np.float32(a["beta"]), source),)


OPS: dict[str, Operator] = {
    "BatchNormalization": Operator(
        infer=_infer_batch,
        run=_run_batch,
        inputs=(5, 5),
        defaults={"epsilon": 1e-5, "momentum": 0.9},
        buffers=(3, 4),
    ),
    "LayerNormalization": Operator(
        infer=_infer_layer,
        run=_run_layer,
        inputs=(2, 3),
        defaults={"axis": -1, "epsilon": 1e-5, "stash_type": 1},
    ),
    "LRN": Operator(
        infer=_infer_response,
        run=_run_response,
        inputs=(1, 1),
        required={"size": int},
        defaults={"alpha": 1e-4, "beta": 0.75, "bias": 1.0},
    ),
}
