# SPDX-License-Identifier: Apache-2.0
"""The numpy reference against ONNX Runtime at opset 17 on random attributes, where torch has no counterpart.

Tolerance: 1e-5 relative to the greatest magnitude, since both sides work in float32 in different orders.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import OPSET, Node
from fireforge.base.infer import filled
from fireforge.base.ops.table import OPERATORS

ort = pytest.importorskip("onnxruntime")


def _ours(op: str, arrays: list[Any], attrs: dict[str, Any]) -> np.ndarray:
    full = filled(Node(name="n", op=op, inputs=(), outputs=(), attrs=attrs))
    OPERATORS[op].infer([(str(a.dtype), a.shape) for a in arrays], full)
    return OPERATORS[op].run(arrays, full)[0]


def _theirs(op: str, arrays: list[Any], attrs: dict[str, Any], dtype: str, constants: dict[int, Any]) -> np.ndarray:
    """One node in ONNX Runtime; `constants` are inputs that it wants beyond ours, by position."""
    names = [f"in{i}" for i in range(len(arrays))]
    places = [*names, *[""] * (max(constants, default=-1) + 1 - len(names))]
    for place in constants:
        places[place] = f"constant{place}"
    kinds = [helper.np_dtype_to_tensor_dtype(a.dtype) for a in arrays]
    graph = helper.make_graph(
        [helper.make_node(op, places, ["y"], **attrs)],
        "one",
        [helper.make_tensor_value_info(n, k, a.shape) for n, k, a in zip(names, kinds, arrays)],
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)],
        [numpy_helper.from_array(value, f"constant{place}") for place, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(zip(names, arrays)))[0])


def _close(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(float(np.abs(theirs).max()), 1e-3))


def _random(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


sizes = st.integers(1, 12)
scales = st.integers(3, 30).map(lambda tenths: tenths / 10)
modes = st.fixed_dictionaries({
    "mode": st.sampled_from(["nearest", "linear"]),
    "coordinate_transformation_mode": st.sampled_from(["half_pixel", "asymmetric", "align_corners"]),
    "nearest_mode": st.sampled_from(["floor", "round_prefer_floor"]),
})  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sizes, sizes, scales, scales, modes)
def test_resize_by_scales_equals_onnx_runtime(h: int, w: int, up: float, across: float, mode: dict[str, Any]) -> None:
    x, factors = _random((1, 2, h, w)), (1.0, 1.0, up, across)
    try:
        ours = _ours("Resize", [x], {**mode, "scales": factors})
    except FireforgeError:
        assume(False)
    assume(ours.shape != x.shape)  # then the runtime copies its input, whatever the scales say
    _close(ours, _theirs("Resize", [x], mode, "float32", {2: np.array(factors, np.float32)}))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(sizes, sizes, sizes, sizes, modes)
def test_resize_to_sizes_equals_onnx_runtime(h: int, w: int, new_h: int, new_w: int, mode: dict[str, Any]) -> None:
    x = _random((1, 2, h, w))
    ours = _ours("Resize", [x], {**mode, "sizes": (0, 0, new_h, new_w)})
    _close(ours, _theirs("Resize", [x], mode, "float32", {3: np.array((1, 2, new_h, new_w), np.int64)}))


pools = st.fixed_dictionaries({
    "kernel_shape": st.tuples(st.integers(1, 4), st.integers(1, 4)),
    "strides": st.tuples(st.integers(1, 4), st.integers(1, 4)),
    "pads": st.tuples(*[st.integers(0, 3)] * 4),
    "ceil_mode": st.integers(0, 1),
})  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sizes, sizes, pools, st.integers(0, 1))
def test_pools_with_any_pads_equal_onnx_runtime(h: int, w: int, attrs: dict[str, Any], include: int) -> None:
    x = _random((2, 3, h, w))
    try:
        ours = _ours("MaxPool", [x], attrs)
    except FireforgeError:
        assume(False)
    np.testing.assert_array_equal(ours, _theirs("MaxPool", [x], attrs, "float32", {}))
    attrs = {**attrs, "count_include_pad": include}
    _close(_ours("AveragePool", [x], attrs), _theirs("AveragePool", [x], attrs, "float32", {}))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_quantize_and_dequantize_equal_onnx_runtime(dtype: str, axis: int) -> None:
    """Every eighth number is a tie; integers must be equal."""
    x = np.round(200 * _random((4, 6, 5))) / 8
    count = x.shape[axis]
    scale = np.array([2.0 ** -(i % 3) for i in range(count)], np.float32)
    zero = np.arange(count).astype(dtype)
    ours = _ours("QuantizeLinear", [x, scale, zero], {"axis": axis})
    np.testing.assert_array_equal(ours, _theirs("QuantizeLinear", [x, scale, zero], {"axis": axis}, dtype, {}))
    back = _ours("DequantizeLinear", [ours, scale, zero], {"axis": axis})
    np.testing.assert_array_equal(back, _theirs("DequantizeLinear", [ours, scale, zero], {"axis": axis}, "float32", {}))


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_lrn_equals_onnx_runtime(size: int) -> None:
    """Odd windows only: the runtime has no even ones."""
    x = 3 * _random((2, 7, 3, 4))
    attrs = {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 1.5}
    _close(_ours("LRN", [x], attrs), _theirs("LRN", [x], attrs, "float32", {}))
