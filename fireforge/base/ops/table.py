# SPDX-License-Identifier: Apache-2.0
"""The closed operator list: ONNX name to operator."""

from __future__ import annotations

from fireforge.base.ops import activation, conv, elementwise, linear, norm, pool, quant, resize, shape, slicing
from fireforge.base.ops.operator import Operator

OPERATORS: dict[str, Operator] = {
    **conv.OPS,
    **linear.OPS,
    **norm.OPS,
    **activation.OPS,
    **pool.OPS,
    **elementwise.OPS,
    **shape.OPS,
    **slicing.OPS,
    **resize.OPS,
    **quant.OPS,
}
