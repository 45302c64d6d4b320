# SPDX-License-Identifier: Apache-2.0
"""Activations: functions of one tensor that keep its shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import FLOATS, axis_of, bad_attr, bad_shape, given, narrow, same_float, same_typed, wide

LOWEST = -3.4028234663852886e38  # the finite ends of float32, ONNX's "no bound"
HIGHEST = 3.4028234663852886e38

Arrays = Sequence[np.ndarray | None]


def _infer_relu(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    x = given(inputs[0])
    if x[0] in ("bool", "uint8"):
        bad_shape(f"dtype {x[0]}, needs a signed number")
    return (x,)


def _infer_clip(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    x = given(inputs[0])
    if x[0] == "bool":
        bad_shape("dtype bool, needs numbers")
    low, high = a["min"], a["max"]
    if x[0] not in FLOATS and not (float(low).is_integer() and float(high).is_integer()):
        bad_attr(f"min {low}, max {high} on {x[0]}", allowed="whole numbers")
    return (x,)


def _infer_axis(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    axis_of(a["axis"], rank=len(given(inputs[0])[1]))
    return same_float(inputs, attrs)


def _run_relu(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    x = given(inputs[0])
    return (np.maximum(x, x.dtype.type(0)),)


def _run_leaky(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    return (narrow(np.where(x < 0, wide(x) * np.float32(a["alpha"]), wide(x)), x),)


def _run_clip(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    low, high = a["min"], a["max"]
    if x.dtype.kind == "f":
        return (narrow(np.minimum(np.maximum(wide(x), np.float32(low)), np.float32(high)), x),)
    ends = np.iinfo(x.dtype)
    least, most = (int(min(max(bound, ends.min), ends.max)) for bound in (low, high))
    return (np.minimum(np.maximum(x, x.dtype.type(least)), x.dtype.type(most)),)


def _run_sigmoid(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    x = given(inputs[0])
    small = np.exp(-np.abs(wide(x)))  # at most 1: never overflows
    return (narrow(np.where(x >= 0, 1, small) / (1 + small), x),)


def _run_tanh(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    x = given(inputs[0])
    return (narrow(np.tanh(wide(x)), x),)


def _hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.asarray(np.clip(x * np.float32(alpha) + np.float32(beta), np.float32(0), np.float32(1)))


def _run_hard_sigmoid(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    return (narrow(_hard_sigmoid(wide(x), a["alpha"], a["beta"]), x),)


def _run_hard_swish(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    x = given(inputs[0])
    return (narrow(wide(x) * _hard_sigmoid(wide(x), 1 / 6, 0.5), x),)


def _run_softmax(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    shifted = wide(x) - wide(x).max(axis=a["axis"], keepdims=True)
    powers = np.exp(shifted)
    return (narrow(powers / powers.sum(axis=a["axis"], keepdims=True), x),)


def _run_log_softmax(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    shifted = wide(x) - wide(x).max(axis=a["axis"], keepdims=True)
    return (narrow(shifted - np.log(np.exp(shifted).sum(axis=a["axis"], keepdims=True)), x),)


def _run_same(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    return (given(inputs[0]),)


OPS: dict[str, Operator] = {
    "Relu": Operator(infer=_infer_relu, run=_run_relu, inputs=(1, 1)),
    "LeakyRelu": Operator(infer=same_float, run=_run_leaky, inputs=(1, 1), defaults={"alpha": 0.01}),
    "Clip": Operator(infer=_infer_clip, run=_run_clip, inputs=(1, 1), defaults={"max": HIGHEST, "min": LOWEST}),
    "Sigmoid": Operator(infer=same_float, run=_run_sigmoid, inputs=(1, 1)),
    "Tanh": Operator(infer=same_float, run=_run_tanh, inputs=(1, 1)),
    "HardSigmoid": Operator(
        infer=same_float, run=_run_hard_sigmoid, inputs=(1, 1), defaults={"alpha": 0.2, "beta": 0.5}
    ),
    "HardSwish": Operator(infer=same_float, run=_run_hard_swish, inputs=(1, 1)),
    "Softmax": Operator(infer=_infer_axis, run=_run_softmax, inputs=(1, 1), defaults={"axis": -1}),
    "LogSoftmax": Operator(infer=_infer_axis, run=_run_log_softmax, inputs=(1, 1), defaults={"axis": -1}),
    "Dropout": Operator(infer=same_float, run=_run_same, inputs=(1, 1), defaults={"ratio": 0.5}),
    "Identity": Operator(infer=same_typed, run=_run_same, inputs=(1, 1)),
}
