# SPDX-License-Identifier: Apache-2.0
"""Sums, differences, products and quotients of two tensors that broadcast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import bad_shape, broadcast, given

Arrays = Sequence[np.ndarray | None]


def _infer_two(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    first, second = given(inputs[0]), given(inputs[1])
    if first[0] != second[0] or first[0] == "bool":
        bad_shape(f"dtypes {first[0]} and {second[0]}, needs one number dtype")
    if first[1] == second[1]:
        return (first,)
    return ((first[0], broadcast(first[1], second[1])),)


def _run_add(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    return (np.asarray(given(inputs[0]) + given(inputs[1])),)


def _run_sub(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    return (np.asarray(given(inputs[0]) - given(inputs[1])),)


def _run_mul(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    return (np.asarray(given(inputs[0]) * given(inputs[1])),)


def _run_div(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    top, bottom = given(inputs[0]), given(inputs[1])
    if top.dtype.kind == "f":
        return (np.asarray(top / bottom),)
    floor = top // bottom  # integers round towards zero: one more than the floor where the signs differ
    up = (floor * bottom != top) & ((top < 0) != (bottom < 0))
    return (np.asarray(floor + up.astype(floor.dtype)),)


OPS: dict[str, Operator] = {
    "Add": Operator(infer=_infer_two, run=_run_add, inputs=(2, 2)),
    "Sub": Operator(infer=_infer_two, run=_run_sub, inputs=(2, 2)),
    "Mul": Operator(infer=_infer_two, run=_run_mul, inputs=(2, 2)),
    "Div": Operator(infer=_infer_two, run=_run_div, inputs=(2, 2)),
}
