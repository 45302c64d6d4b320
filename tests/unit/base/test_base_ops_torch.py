# SPDX-License-Identifier: Apache-2.0
"""The numpy reference against torch on odd shapes, strides, groups, dilations, pads and rounding.

Tolerance everywhere: 1e-5 relative to the greatest magnitude of the expected tensor, since both sides sum in float32
in different orders; max pooling and nearest sampling move numbers only and must be equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fireforge.base.graph import Node
from fireforge.base.infer import filled
from fireforge.base.ops.table import OPERATORS

torch = pytest.importorskip("torch")
F = torch.nn.functional

RELATIVE = 1e-5


def _ours(op: str, arrays: list[Any], **attrs: Any) -> np.ndarray:
    """Run one operator; the shape that infer gives is checked on the way."""
    node = Node(name="n", op=op, inputs=(), outputs=(), attrs=attrs)
    full = filled(node)
    typed = [None if a is None else (str(a.dtype), a.shape) for a in arrays]
    (want,) = OPERATORS[op].infer(typed, full)
    (out,) = OPERATORS[op].run(arrays, full)
    assert (str(out.dtype), out.shape) == want
    return out


def _close(ours: np.ndarray, theirs: Any) -> None:
    expected = theirs.numpy()
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=0, atol=RELATIVE * max(float(np.abs(expected).max()), 1e-3))


def _random(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _t(array: np.ndarray) -> Any:
    return torch.from_numpy(array)


def _asymmetric(x: Any, pads: tuple[int, ...], value: float = 0.0) -> Any:
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value)


sizes = st.integers(1, 9)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
four = st.tuples(*[st.integers(0, 2)] * 4)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), sizes, sizes, pairs, pairs, pairs, four, st.booleans())
def test_conv_equals_torch(
    group: int,
    per_in: int,
    per_out: int,
    h: int,
    w: int,
    kernel: Any,
    strides: Any,
    dilations: Any,
    pads: Any,
    bias: bool,
) -> None:
    assume(h + pads[0] + pads[2] > (kernel[0] - 1) * dilations[0])
    assume(w + pads[1] + pads[3] > (kernel[1] - 1) * dilations[1])
    x = _random((2, group * per_in, h, w))
    weight = _random((group * per_out, per_in, *kernel), 1)
    b = _random((group * per_out,), 2) if bias else None
    ours = _ours(
        "Conv", [x, weight, b], kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads, group=group
    )
    theirs = F.conv2d(
        _asymmetric(_t(x), pads),
        _t(weight),
        None if b is None else _t(b),
        stride=strides,
        dilation=dilations,
        groups=group,
    )
    _close(ours, theirs)


@pytest.mark.parametrize(("length", "kernel", "stride", "pad", "dilation", "group"), [
    (17, 5, 3, 2, 1, 1), (16, 3, 2, 1, 2, 2), (7, 7, 1, 0, 1, 4), (5, 1, 4, 0, 1, 1),
])  # fmt: skip
def test_conv_of_sequences_equals_torch(
    length: int, kernel: int, stride: int, pad: int, dilation: int, group: int
) -> None:
    x, weight, b = _random((3, 4, length)), _random((8, 4 // group, kernel), 1), _random((8,), 2)
    ours = _ours(
        "Conv", [x, weight, b],
        kernel_shape=(kernel,), strides=(stride,), pads=(pad, pad), dilations=(dilation,), group=group,
    )  # fmt: skip
    _close(ours, F.conv1d(_t(x), _t(weight), _t(b), stride=stride, padding=pad, dilation=dilation, groups=group))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), sizes, sizes, pairs, pairs, pairs,
    st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(0, 2), st.integers(0, 2)),
)  # fmt: skip
def test_conv_transpose_equals_torch(
    group: int,
    per_in: int,
    per_out: int,
    h: int,
    w: int,
    kernel: Any,
    strides: Any,
    dilations: Any,
    pad: Any,
    extra: Any,
) -> None:
    for i, size in enumerate((h, w)):
        assume(extra[i] < max(strides[i], dilations[i]))
        assume(strides[i] * (size - 1) + (kernel[i] - 1) * dilations[i] + 1 + extra[i] > 2 * pad[i])
    x, weight = _random((2, group * per_in, h, w)), _random((group * per_in, per_out, *kernel), 1)
    b = _random((group * per_out,), 2)
    ours = _ours(
        "ConvTranspose", [x, weight, b],
        kernel_shape=kernel, strides=strides, dilations=dilations, pads=pad + pad, group=group, output_padding=extra,
    )  # fmt: skip
    theirs = F.conv_transpose2d(
        _t(x), _t(weight), _t(b),
        stride=strides, padding=pad, output_padding=extra, groups=group, dilation=dilations,
    )  # fmt: skip
    _close(ours, theirs)


def test_conv_transpose_with_asymmetric_pads_is_a_crop_of_torch_without_pads() -> None:
    x, weight = _random((2, 3, 4, 5)), _random((3, 2, 3, 4), 1)
    ours = _ours("ConvTranspose", [x, weight], kernel_shape=(3, 4), strides=(2, 3), pads=(0, 1, 2, 3))
    _close(ours, F.conv_transpose2d(_t(x), _t(weight), stride=(2, 3))[:, :, :-2, 1:-3].contiguous())


@settings(max_examples=120, deadline=None, derandomize=True)
@given(sizes, sizes, pairs, st.tuples(st.integers(1, 4), st.integers(1, 4)), pairs, st.booleans(), st.data())
def test_max_pool_equals_torch(
    h: int, w: int, kernel: Any, strides: Any, dilations: Any, ceil: bool, data: st.DataObject
) -> None:
    pad = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    for i, size in enumerate((h, w)):
        assume(size + 2 * pad[i] > (kernel[i] - 1) * dilations[i])
    x = _random((2, 3, h, w))
    ours = _ours(
        "MaxPool", [x],
        kernel_shape=kernel, strides=strides, dilations=dilations, pads=pad + pad, ceil_mode=int(ceil),
    )  # fmt: skip
    theirs = F.max_pool2d(_t(x), kernel, strides, padding=pad, dilation=dilations, ceil_mode=ceil)
    np.testing.assert_array_equal(ours, theirs.numpy())


@settings(max_examples=120, deadline=None, derandomize=True)
@given(sizes, sizes, pairs, st.tuples(st.integers(1, 4), st.integers(1, 4)), st.booleans(), st.booleans(), st.data())
def test_average_pool_equals_torch(
    h: int, w: int, kernel: Any, strides: Any, ceil: bool, include: bool, data: st.DataObject
) -> None:
    pad = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    for i, size in enumerate((h, w)):
        assume(size + 2 * pad[i] >= kernel[i])
    x = _random((2, 3, h, w))
    ours = _ours(
        "AveragePool", [x],
        kernel_shape=kernel, strides=strides, pads=pad + pad, ceil_mode=int(ceil), count_include_pad=int(include),
    )  # fmt: skip
    _close(ours, F.avg_pool2d(_t(x), kernel, strides, padding=pad, ceil_mode=ceil, count_include_pad=include))


@pytest.mark.parametrize("pads", [(0, 1, 1, 0), (1, 0, 0, 2), (2, 2, 0, 0)])
@pytest.mark.parametrize("include", [0, 1])
def test_pools_with_asymmetric_pads_equal_torch_on_a_padded_input(pads: tuple[int, ...], include: int) -> None:
    x = _random((2, 3, 7, 6))
    strides = (2, 3)
    ours = _ours("MaxPool", [x], kernel_shape=(3, 3), strides=strides, pads=pads)
    theirs = F.max_pool2d(_asymmetric(_t(x), pads, float("-inf")), 3, strides)
    np.testing.assert_array_equal(ours, theirs.numpy())
    average = _ours("AveragePool", [x], kernel_shape=(3, 3), strides=strides, pads=pads, count_include_pad=include)
    total = F.avg_pool2d(_asymmetric(_t(x), pads), 3, strides)
    share = F.avg_pool2d(_asymmetric(torch.ones(1, 1, 7, 6), pads, float(include)), 3, strides)
    _close(average, total / share)


def test_pooling_of_sequences_equals_torch() -> None:
    x = _random((2, 3, 11))
    ours = _ours("MaxPool", [x], kernel_shape=(3,), strides=(2,), pads=(1, 1), ceil_mode=1)
    np.testing.assert_array_equal(ours, F.max_pool1d(_t(x), 3, 2, padding=1, ceil_mode=True).numpy())
    ours = _ours("AveragePool", [x], kernel_shape=(4,), strides=(3,), pads=(2, 2), ceil_mode=1)
    _close(ours, F.avg_pool1d(_t(x), 4, 3, padding=2, ceil_mode=True, count_include_pad=False))


def test_global_pools_equal_torch() -> None:
    x = _random((2, 3, 5, 7))
    _close(_ours("GlobalAveragePool", [x]), F.adaptive_avg_pool2d(_t(x), 1))
    np.testing.assert_array_equal(_ours("GlobalMaxPool", [x]), F.adaptive_max_pool2d(_t(x), 1).numpy())


@pytest.mark.parametrize("size", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("channels", [1, 4, 7])
def test_lrn_equals_torch(size: int, channels: int) -> None:
    """torch centres an even window one channel earlier than ONNX: its input is mirrored along the channels."""
    x = 3 * _random((2, channels, 3, 5))
    ours = _ours("LRN", [x], size=size, alpha=0.3, beta=0.6, bias=1.5)
    given_, back = (_t(x).flip(1), True) if size % 2 == 0 else (_t(x), False)
    theirs = F.local_response_norm(given_, size, alpha=0.3, beta=0.6, k=1.5)
    _close(ours, theirs.flip(1) if back else theirs)


@pytest.mark.parametrize("shape", [(3, 5), (2, 5, 7), (2, 5, 3, 4)])
def test_batch_normalization_equals_torch(shape: tuple[int, ...]) -> None:
    x, scale, bias, mean = _random(shape), _random((5,), 1), _random((5,), 2), _random((5,), 3)
    variance = np.square(_random((5,), 4)) + np.float32(0.01)
    ours = _ours("BatchNormalization", [x, scale, bias, mean, variance], epsilon=1e-3)
    _close(ours, F.batch_norm(_t(x), _t(mean), _t(variance), _t(scale), _t(bias), eps=1e-3))


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_normalization_equals_torch(axis: int, bias: bool) -> None:
    x = 5 * _random((3, 4, 5)) + 2
    shape = x.shape[axis:]
    scale, b = _random(shape, 1), _random(shape, 2) if bias else None
    ours = _ours("LayerNormalization", [x, scale, b], axis=axis, epsilon=1e-3)
    _close(ours, F.layer_norm(_t(x), shape, _t(scale), None if b is None else _t(b), eps=1e-3))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sizes, sizes, sizes, sizes, st.booleans())
def test_linear_resize_equals_torch(h: int, w: int, new_h: int, new_w: int, corners: bool) -> None:
    x = _random((2, 3, h, w))
    mode = "align_corners" if corners else "half_pixel"
    ours = _ours("Resize", [x], sizes=(0, 0, new_h, new_w), mode="linear", coordinate_transformation_mode=mode)
    _close(ours, F.interpolate(_t(x), (new_h, new_w), mode="bilinear", align_corners=corners))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sizes, sizes, st.integers(1, 4), st.integers(1, 4))
def test_nearest_resize_by_whole_factors_equals_torch(h: int, w: int, up_h: int, up_w: int) -> None:
    """torch's "nearest" is asymmetric with floor; its "nearest-exact" is half_pixel."""
    x = _random((2, 3, h, w))
    scales = (1.0, 1.0, float(up_h), float(up_w))
    ours = _ours(
        "Resize", [x], scales=scales, coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )  # fmt: skip
    np.testing.assert_array_equal(ours, F.interpolate(_t(x), scale_factor=scales[2:], mode="nearest").numpy())
    ours = _ours("Resize", [x], scales=scales)
    np.testing.assert_array_equal(ours, F.interpolate(_t(x), scale_factor=scales[2:], mode="nearest-exact").numpy())


@pytest.mark.parametrize(("op", "call", "attrs"), [
    ("Relu", "relu", {}),
    ("LeakyRelu", "leaky_relu", {"alpha": 0.01}),
    ("Sigmoid", "sigmoid", {}),
    ("Tanh", "tanh", {}),
    ("HardSigmoid", "hardsigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    ("HardSwish", "hardswish", {}),
    ("Clip", "relu6", {"min": 0.0, "max": 6.0}),
])  # fmt: skip
def test_activations_equal_torch(op: str, call: str, attrs: dict[str, Any]) -> None:
    x = np.linspace(-120, 120, 1001, dtype=np.float32)
    _close(_ours(op, [x], **attrs), getattr(F, call)(_t(x)))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_equals_torch(axis: int) -> None:
    x = 50 * _random((3, 4, 5))
    _close(_ours("Softmax", [x], axis=axis), F.softmax(_t(x), axis))
    _close(_ours("LogSoftmax", [x], axis=axis), F.log_softmax(_t(x), axis))


@pytest.mark.parametrize(("zero", "dtype"), [(0, "int8"), (-7, "int8"), (13, "uint8"), (128, "uint8")])
def test_quantize_and_back_equals_torch(zero: int, dtype: str) -> None:
    """torch multiplies by 1 / scale where ONNX divides, so one number in 200 may fall one step to the other side."""
    x = 3 * _random((4, 50))
    scale, point = np.array(0.0173, np.float32), np.array(zero, dtype)
    ends = np.iinfo(dtype)
    theirs = torch.fake_quantize_per_tensor_affine(_t(x), float(scale), zero, int(ends.min), int(ends.max)).numpy()
    ours = _ours("DequantizeLinear", [_ours("QuantizeLinear", [x, scale, point]), scale, point])
    away = np.abs(ours - theirs) > RELATIVE * np.abs(theirs).max()
    assert np.count_nonzero(away) <= 1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=float(scale) * 1.001)
