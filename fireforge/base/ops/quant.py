# SPDX-License-Identifier: Apache-2.0
"""Linear quantization: floats to small integers and back, per tensor or per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fireforge.base.graph import Shape
from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import FLOATS, axis_of, bad_shape, given, optional

Arrays = Sequence[np.ndarray | None]


def _check_scale(shape: Shape, scale: Typed, zero: Typed | None, axis: int) -> None:
    if scale[0] != "float32":
        bad_shape(f"scale is {scale[0]}, needs float32")
    if scale[1] not in ((), (1,)):
        wanted = (shape[axis_of(axis, rank=len(shape))],)
        if scale[1] != wanted:
            bad_shape(f"scale {scale[1]} for axis {axis} of {shape}, needs (), (1,) or {wanted}")
    if zero is not None and zero[1] != scale[1]:
        bad_shape(f"zero point {zero[1]} and scale {scale[1]} differ")


def _infer_quantize(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    zero = optional(inputs, 2)
    if dtype not in FLOATS:
        bad_shape(f"dtype {dtype}, needs float32 or float16")
    _check_scale(shape, given(inputs[1]), zero, a["axis"])
    if zero is not None and zero[0] not in ("uint8", "int8"):
        bad_shape(f"zero point is {zero[0]}, needs uint8 or int8")
    return ((zero[0] if zero is not None else "uint8", shape),)


def _infer_dequantize(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    zero = optional(inputs, 2)
    if dtype not in ("uint8", "int8", "int32"):
        bad_shape(f"dtype {dtype}, needs uint8, int8 or int32")
    _check_scale(shape, given(inputs[1]), zero, a["axis"])
    if zero is not None and zero[0] != dtype:
        bad_shape(f"zero point is {zero[0]}, needs {dtype}")
    return (("float32", shape),)


def _along(values: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """One value a tensor or an axis, shaped to broadcast against x."""
    if values.size == 1 and values.ndim <= 1:
        return values.reshape(())
    shape = [1] * x.ndim
    shape[axis] = -1
    return values.reshape(shape)


def _run_quantize(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    zero = optional(inputs, 2)
    steps = np.rint(x.astype(np.float32) / _along(given(inputs[1]), x, a["axis"]))  # ties to even
    offset = np.zeros((), np.uint8) if zero is None else zero
    ends = np.iinfo(offset.dtype)
    shifted = steps.astype(np.float64) + _along(offset, x, a["axis"])
    return (np.clip(shifted, ends.min, ends.max).astype(offset.dtype),)


def _run_dequantize(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    zero = optional(inputs, 2)
    steps = x.astype(np.int64)  # the difference of two int32 does not fit int32
    if zero is not None:
        steps = steps - _along(zero, x, a["axis"])
    return (np.asarray(steps.astype(np.float32) * _along(given(inputs[1]), x, a["axis"])),)


OPS: dict[str, Operator] = {
    "QuantizeLinear": Operator(infer=_infer_quantize, run=_run_quantize, inputs=(2, 3), defaults={"axis": 1}),
    "DequantizeLinear": Operator(infer=_infer_dequantize, run=_run_dequantize, inputs=(2, 3), defaults={"axis": 1}),
}
