# SPDX-License-Identifier: Apache-2.0
"""Attributes as constant inputs, by hand; the scales of a Resize that keeps an axis."""

from __future__ import annotations

import numpy as np

from fireforge.base.graph import Node
from fireforge.export.constants import constants_of


def constants(op: str, dtype: str = "float32", shape=("N", 4), **attrs) -> list:
    return constants_of(Node(name="n", op=op, inputs=("x",), outputs=("y",), attrs=attrs), dtype, shape)


def test_defaults_are_absent_and_bounds_have_the_tensors_dtype():
    assert constants("Relu") == []
    assert constants("Dropout") == [None]
    assert constants("Clip") == [None, None]
    low, high = constants("Clip", "int8", min=-3, max=1000)
    assert (low.dtype, int(low), int(high)) == (np.int8, -3, 127)
    low, high = constants("Clip", "float16", max=6.0)
    assert low is None
    assert (high.dtype, float(high), high.shape) == (np.float16, 6.0, ())
    pads, value = constants("Pad", pads=(0, 1, 0, 2))
    assert (pads.dtype, pads.tolist(), value) == (np.int64, [0, 1, 0, 2], None)


def test_scales_of_a_resize_with_a_kept_axis_round_down_to_the_sizes():
    """ONNX: output size = floor(input size * scale), in float32; every pair up to 100."""
    for old in range(1, 101):
        sizes = range(1, 101)
        for new in sizes:
            roi, scales = constants("Resize", shape=("N", old), sizes=(0, new))
            assert roi is None
            assert scales[0] == 1
            assert np.floor(scales[1] * np.float32(old)) == new
    assert len(constants("Resize", shape=(1, 4), sizes=(1, 8))) == 3
