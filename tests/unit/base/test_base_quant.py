# SPDX-License-Identifier: Apache-2.0
"""Quantization against hand values, onnx's reference evaluator and torch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from fireforge.base.errors import FireforgeError
from fireforge.base.quant import Quantization, affine_of_range, dequantize, quantize, symmetric_of_weight

R = np.random.default_rng(0)
TYPES = {"uint8": onnx.TensorProto.UINT8, "int8": onnx.TensorProto.INT8}


def onnx_linear(op: str, first: np.ndarray, quantization: Quantization) -> np.ndarray:
    """Run QuantizeLinear or DequantizeLinear of onnx's own reference."""
    scalar = quantization.axis is None
    scale = np.array(quantization.scale[0] if scalar else quantization.scale, np.float32)
    zero = np.array(quantization.zero_point[0] if scalar else quantization.zero_point, quantization.dtype)
    node = onnx.helper.make_node(op, ["x", "s", "z"], ["y"], axis=quantization.axis or 0)
    kind, small = onnx.TensorProto.FLOAT, TYPES[quantization.dtype]
    ends = (kind, small) if op == "QuantizeLinear" else (small, kind)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [info("x", ends[0], None), info("s", kind, None), info("z", small, None)],
        [info("y", ends[1], None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])
    return ReferenceEvaluator(model).run(None, {"x": first, "s": scale, "z": zero})[0]


def test_uint8_of_minus_1_to_2_by_hand() -> None:
    found = affine_of_range(-1.0, 2.0)
    assert found.scale[0] == pytest.approx(0.0117647, abs=5e-8)  # 3 / 255, to the printed places
    assert found.zero_point == (85,)
    assert found.dtype == "uint8"
    # 0.5 / S = 42.5 is a tie: half to even gives 42, half away from 0 would give 43 -> 128; float32's S decides
    q = quantize(np.array([-1.0, 0.0, 0.5, 2.0, 9.0, -9.0], np.float32), found)
    assert q.tolist()[:2] == [0, 85]
    assert q.tolist()[2] in (127, 128)
    assert q.tolist()[3:] == [255, 255, 0]


def test_half_goes_to_even_by_hand() -> None:
    one = Quantization(scale=(1.0,), zero_point=(3,), dtype="int8")
    assert quantize(np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32), one).tolist() == [3, 5, 5, 3, 1]


@pytest.mark.parametrize(
    "bounds", [(0.0, 0.0), (1.0, 3.0), (-3.0, -1.0), (-1e-30, 1e-30), (-1e-60, 0.0), (-3e38, 3e38)]
)
def test_real_zero_is_exact_and_the_range_is_covered(bounds: tuple[float, float]) -> None:
    found = affine_of_range(*bounds)
    assert found.scale[0] > 0
    assert dequantize(quantize(np.zeros(1, np.float32), found), found)[0] == 0
    ends = np.array(bounds, np.float32)
    back = dequantize(quantize(ends, found), found)
    # half a step for rounding, half a step for the zero point's own rounding
    assert np.abs(back.astype(np.float64) - ends).max() <= found.scale[0] * 1.001


@pytest.mark.parametrize("bounds", [(float("nan"), 1.0), (0.0, float("inf")), (float("-inf"), 0.0)])
def test_a_range_that_is_not_finite_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(FireforgeError, match="BAD_RANGE"):
        affine_of_range(*bounds)


def test_numbers_that_are_not_finite() -> None:
    one = Quantization(scale=(1.0,), zero_point=(0,), dtype="int8")
    assert quantize(np.array([np.inf, -np.inf], np.float32), one).tolist() == [127, -128]
    for work in (
        lambda: quantize(np.array([np.nan], np.float32), one),
        lambda: symmetric_of_weight(np.array([[np.nan]], np.float32), 0),
        lambda: symmetric_of_weight(np.array([[np.inf]], np.float32), 0),
    ):
        with pytest.raises(FireforgeError, match="BAD_RANGE"):
            work()


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_both_ways_against_onnx(dtype: str, axis: int | None) -> None:
    real = (R.normal(size=(4, 5, 3)) * 4).astype(np.float32)
    count = 1 if axis is None else real.shape[axis]
    middle = 120 if dtype == "uint8" else -3
    scale = tuple(float(s) for s in R.uniform(0.01, 0.1, count).astype(np.float32))
    q = Quantization(scale=scale, zero_point=tuple(middle + i for i in range(count)), axis=axis, dtype=dtype)
    got = quantize(real, q)
    assert got.dtype == dtype
    assert np.array_equal(got, onnx_linear("QuantizeLinear", real, q))
    back = dequantize(got, q)
    assert back.dtype == np.float32
    assert np.array_equal(back, onnx_linear("DequantizeLinear", got, q))


def test_per_channel_against_torch() -> None:
    weight = R.normal(size=(6, 3, 3, 3)).astype(np.float32)
    found = symmetric_of_weight(weight, 0)
    want = torch.fake_quantize_per_channel_affine(
        torch.from_numpy(weight), torch.tensor(found.scale), torch.zeros(6, dtype=torch.int32), 0, -127, 127
    ).numpy()
    # torch multiplies by 1 / scale: a number at the edge between two steps may fall on the other side
    got = dequantize(quantize(weight, found), found)
    assert np.mean(got != want) < 0.01
    assert np.abs(got - want).max() <= max(found.scale) * 1.001


def test_symmetric_scales_by_hand() -> None:
    weight = np.array([[[1.27, -0.5], [0.0, 0.0]], [[-2.54, 0.0], [0.0, 0.0]]], np.float32)  # (2, 2, 2)
    assert symmetric_of_weight(weight, 0).scale == pytest.approx((0.01, 0.02), rel=1e-6)  # float32
    assert symmetric_of_weight(weight, 1).scale == pytest.approx((0.02, 1.0), rel=1e-6)  # an empty channel has scale 1
    assert symmetric_of_weight(weight, 0).zero_point == (0, 0)
    assert symmetric_of_weight(weight, 0).axis == 0


def test_tiny_channels_have_a_usable_scale() -> None:
    weight = np.array([[1e-45], [1e-40], [0.0]], np.float32)
    found = symmetric_of_weight(weight, 0)
    assert min(found.scale) > 0
    assert np.abs(quantize(weight, found)).max() <= 127


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_the_error_is_at_most_half_a_step_and_integers_stay_within_127(values: list[float]) -> None:
    weight = np.array(values, np.float32).reshape(1, -1)
    found = symmetric_of_weight(weight, 0)
    q = quantize(weight, found)
    assert q.min() >= -127
    # a half, and float32's rounding of up to 127 steps
    assert np.abs(dequantize(q, found) - weight).max() <= found.scale[0] * (0.5 + 127 * 2**-22)


def test_int32_bias_by_hand() -> None:
    bias = Quantization(scale=(0.001,), zero_point=(0,), dtype="int32")
    q = quantize(np.array([1.0, -2.5, 1e9], np.float32), bias)
    assert q.tolist()[:2] == [1000, -2500]
    assert q.dtype == np.int32
    assert q[2] == 2**31 - 1
