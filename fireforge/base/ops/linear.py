# SPDX-License-Identifier: Apache-2.0
"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fireforge.base.graph import Shape
from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import FLOATS, bad_attr, bad_shape, broadcast, given, narrow, optional, wide

Arrays = Sequence[np.ndarray | None]


def _need_one_dtype(first: str, second: str) -> None:
    if first != second or first not in FLOATS:
        bad_shape(f"dtypes {first} and {second}, needs one float dtype")


def _infer_gemm(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    (dtype, a), (other, b) = given(inputs[0]), given(inputs[1])
    _need_one_dtype(dtype, other)
    if len(a) != 2 or len(b) != 2:
        bad_shape(f"factors {a} and {b}, needs two matrices")
    if attrs["transA"] not in (0, 1) or attrs["transB"] not in (0, 1):
        bad_attr(f"transA {attrs['transA']}, transB {attrs['transB']}", allowed="0 or 1")
    rows, inner = (a[1], a[0]) if attrs["transA"] else a
    depth, columns = (b[1], b[0]) if attrs["transB"] else b
    if inner != depth:
        bad_shape(
            f"factors {a} and {b} with transA {attrs['transA']}, transB {attrs['transB']}: {inner} against {depth}"
        )
    shape: Shape = (rows, columns)
    bias = optional(inputs, 2)
    if bias is not None and (bias[0] != dtype or len(bias[1]) > 2 or broadcast(bias[1], shape) != shape):
        bad_shape(f"addend {bias[0]} {bias[1]} against {dtype} {shape}")
    return ((dtype, shape),)


def _run_gemm(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    f: Any = attrs
    source = given(inputs[0])
    a, b = wide(source), wide(given(inputs[1]))
    out = np.matmul(a.T if f["transA"] else a, b.T if f["transB"] else b)
    if f["alpha"] != 1:
        out = out * np.float32(f["alpha"])
    bias = optional(inputs, 2)
    if bias is not None:
        out = out + wide(bias) * np.float32(f["beta"])
    return (narrow(out, source),)


def _infer_matmul(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    (dtype, a), (other, b) = given(inputs[0]), given(inputs[1])
    _need_one_dtype(dtype, other)
    if not a or not b:
        bad_shape(f"factors {a} and {b}, needs at least one axis each")
    if a[-1] != (b[-2] if len(b) > 1 else b[0]):
        bad_shape(f"factors {a} and {b} do not meet")
    shape = broadcast(a[:-2], b[:-2])  # a vector is a row on the left, a column on the right, and its axis goes
    if len(a) > 1:
        shape += (a[-2],)
    if len(b) > 1:
        shape += (b[-1],)
    return ((dtype, shape),)


def _run_matmul(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    source = given(inputs[0])
    return (narrow(np.asarray(np.matmul(wide(source), wide(given(inputs[1])))), source),)


OPS: dict[str, Operator] = {
    "Gemm": Operator(
        infer=_infer_gemm,
        run=_run_gemm,
        inputs=(2, 3),
        defaults={"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0},
    ),
    "MatMul": Operator(infer=_infer_matmul, run=_run_matmul, inputs=(2, 2)),
}
