# SPDX-License-Identifier: Apache-2.0
"""Operators on numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Node
from fireforge.base.infer import filled
from fireforge.base.ops.table import OPERATORS


def _run(op: str, *arrays: Any, **attrs: Any) -> Any:
    outputs = OPERATORS[op].run(list(arrays), filled(Node(name="n", op=op, inputs=(), outputs=(), attrs=attrs)))
    return outputs if op == "Split" else outputs[0]


def _f(*numbers: Any) -> np.ndarray:
    return np.array(numbers, np.float32)


def test_quantize_rounds_ties_to_even_by_hand() -> None:
    x = _f(0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, 0.49, 0.51)
    out = _run("QuantizeLinear", x, np.float32(1).reshape(()), np.array(0, np.int8))
    np.testing.assert_array_equal(out, np.array([0, 2, 2, 4, 0, -2, -2, 0, 1], np.int8))
    assert out.dtype == np.int8


def test_quantize_rounds_before_the_zero_point_is_added_by_hand() -> None:
    """0.5 rounds to 0, then + 1 is 1; the sum first would round 1.5 to 2."""
    assert _run("QuantizeLinear", _f(0.5), _f(1)[0:1], np.array([1], np.uint8)).tolist() == [1]


def test_quantize_saturates_by_hand() -> None:
    x = _f(-1e30, -129, -128.6, 126.6, 128, 1e30)
    assert _run("QuantizeLinear", x, _f(1), np.array([0], np.int8)).tolist() == [-128, -128, -128, 127, 127, 127]
    assert _run("QuantizeLinear", x, _f(1)).tolist() == [0, 0, 0, 127, 128, 255]


def test_quantize_per_axis_by_hand() -> None:
    x = _f([[1, 2], [1, 2]], [[3, 4], [3, 4]])  # (2, 2, 2)
    scale, zero = _f(1, 0.5), np.array([0, 10], np.uint8)
    out = _run("QuantizeLinear", x, scale, zero, axis=1)
    assert out.tolist() == [[[1, 2], [12, 14]], [[3, 4], [16, 18]]]
    back = _run("DequantizeLinear", out, scale, zero, axis=1)
    np.testing.assert_array_equal(back, x)
    assert _run("QuantizeLinear", x, scale, zero, axis=-1).tolist() == [[[1, 14], [1, 14]], [[3, 18], [3, 18]]]


def test_dequantize_int32_keeps_the_ends_by_hand() -> None:
    """The difference of two int32 needs 33 bits: 2**31 - 1 minus -1 is 2**31, not -2**31."""
    out = _run("DequantizeLinear", np.array([2**31 - 1], np.int32), _f(1), np.array([-1], np.int32))
    assert out.tolist() == [2.0**31]


def test_integer_division_rounds_towards_zero_by_hand() -> None:
    out = _run("Div", np.array([7, -7, 7, -7, 6], np.int32), np.array([2, 2, -2, -2, -3], np.int32))
    assert out.tolist() == [3, -3, -3, 3, -2]


def test_ceil_mode_drops_a_window_that_would_start_in_the_padding_by_hand() -> None:
    """Size 2, pads 1 and 1, window 2, stride 3: places 0 and 3; 3 is behind the input (1 + 2), so one window stays."""
    x = _f([[5, 6]])
    out = _run("MaxPool", x, kernel_shape=(2,), strides=(3,), pads=(1, 1), ceil_mode=1)
    assert out.tolist() == [[[5]]]


def test_average_counts_declared_padding_but_never_the_overhang_by_hand() -> None:
    """Size 4, pads 1 and 0, window 3, stride 3, ceil: [0 a b] and [c d .]; the dot lies beyond the declared padding."""
    x = _f([[3, 6, 9, 12]])
    kwargs: Any = {"kernel_shape": (3,), "strides": (3,), "pads": (1, 0), "ceil_mode": 1}
    assert _run("AveragePool", x, count_include_pad=1, **kwargs).tolist() == [[[3, 10.5]]]
    assert _run("AveragePool", x, count_include_pad=0, **kwargs).tolist() == [[[4.5, 10.5]]]


def test_max_pool_of_negative_numbers_ignores_padding_by_hand() -> None:
    out = _run("MaxPool", _f([[-5, -6]]), kernel_shape=(3,), pads=(1, 1))
    assert out.tolist() == [[[-5, -5]]]
    out = _run("MaxPool", np.array([[[-5, -128]]], np.int8), kernel_shape=(2,), pads=(0, 1))
    assert out.tolist() == [[[-5, -128]]]


def test_lrn_window_of_even_size_reaches_further_forward_by_hand() -> None:
    """Size 2: channel c and c + 1. On ones with alpha 2, beta 1: 1 / (1 + 1 * 2), at the end 1 / (1 + 1 * 1)."""
    out = _run("LRN", np.ones((1, 3, 1), np.float32), size=2, alpha=2.0, beta=1.0)
    np.testing.assert_allclose(out.ravel(), [1 / 3, 1 / 3, 1 / 2], rtol=1e-6)  # float32 rounding


def test_align_corners_keeps_the_ends_by_hand() -> None:
    x = _f([0, 3, 9]).reshape(1, 1, 3)
    out = _run("Resize", x, sizes=(0, 0, 5), mode="linear", coordinate_transformation_mode="align_corners")
    np.testing.assert_array_equal(out.ravel(), [0, 1.5, 3, 6, 9])
    one = _run("Resize", x, sizes=(0, 0, 1), mode="linear", coordinate_transformation_mode="align_corners")
    assert one.ravel().tolist() == [0]


def test_nearest_prefers_the_floor_of_a_tie_by_hand() -> None:
    """Half size: places 0.5 and 2.5 lie in the middle."""
    x = _f([10, 11, 12, 13]).reshape(1, 1, 4)
    assert _run("Resize", x, scales=(1.0, 1.0, 0.5)).ravel().tolist() == [10, 12]


def test_scales_act_in_float32_as_in_onnx_by_hand() -> None:
    """0.7 in float32 is below 0.7, 10 times it rounds to 7 in float32."""
    assert _run("Resize", np.ones((1, 1, 10), np.float32), scales=(1.0, 1.0, 0.7)).shape == (1, 1, 7)


def test_softmax_of_large_numbers_is_finite_by_hand() -> None:
    np.testing.assert_allclose(_run("Softmax", _f([10000, 10000])), [[0.5, 0.5]], rtol=0)
    np.testing.assert_allclose(_run("LogSoftmax", _f([0, -10000])), [[0, -10000]], rtol=0)


def test_sigmoid_far_out_keeps_its_relative_precision_by_hand() -> None:
    """exp(-80) = 1.804851387845415e-35; float32 holds it to 1e-6 relative."""
    np.testing.assert_allclose(_run("Sigmoid", _f(-80, 80)), [1.804851387845415e-35, 1], rtol=2e-6)


def test_clip_of_integers_clamps_the_bounds_to_the_dtype_by_hand() -> None:
    x = np.array([-128, 0, 127], np.int8)
    assert _run("Clip", x).tolist() == [-128, 0, 127]
    assert _run("Clip", x, min=-5, max=1e9).tolist() == [-5, 0, 127]


def test_gather_takes_negative_indices_and_refuses_others_by_hand() -> None:
    x = _f(10, 20, 30)
    assert _run("Gather", x, np.array([-1, 0], np.int64)).tolist() == [30, 10]
    with pytest.raises(FireforgeError, match="BAD_SHAPE: indices 0 to 3"):
        _run("Gather", x, np.array([0, 3], np.int64))


def test_slice_backwards_by_hand() -> None:
    x = np.arange(6, dtype=np.float32)
    assert _run("Slice", x, starts=(-1,), ends=(-(2**31),), axes=(0,), steps=(-2,)).tolist() == [5, 3, 1]
    assert _run("Slice", x, starts=(4,), ends=(0,), axes=(0,), steps=(-3,)).tolist() == [4, 1]
    assert _run("Slice", x, starts=(2,), ends=(100,), axes=(-1,), steps=(3,)).tolist() == [2, 5]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(-8, 8), st.integers(-8, 8), st.integers(-3, 3).filter(bool))
def test_slice_equals_slicing_in_python(size: int, start: int, end: int, step: int) -> None:
    """A start before the first element is the first one in ONNX, also backwards, where Python has none."""
    x = np.arange(size, dtype=np.float32)
    out = _run("Slice", x, starts=(start,), ends=(end,), axes=(0,), steps=(step,))
    begin = max(start, -size)
    assert out.tolist() == x[slice(begin, end, step)].tolist()


def test_split_by_hand() -> None:
    parts = _run("Split", np.arange(6), split=(1, 2, 3))
    assert [part.tolist() for part in parts] == [[0], [1, 2], [3, 4, 5]]


def test_pad_modes_by_hand() -> None:
    x = _f(1, 2, 3)
    assert _run("Pad", x, pads=(2, 1), mode="reflect").tolist() == [3, 2, 1, 2, 3, 2]
    assert _run("Pad", x, pads=(1, 2), mode="edge").tolist() == [1, 1, 2, 3, 3, 3]
    assert _run("Pad", x, pads=(1, -1), value=7.0).tolist() == [7, 1, 2]
