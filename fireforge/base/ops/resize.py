# SPDX-License-Identifier: Apache-2.0
"""Resize: nearest and linear sampling on a new grid."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from fireforge.base.graph import Dim
from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import FLOATS, bad_attr, bad_shape, given, narrow, wide

CHOICES = {
    "mode": ("nearest", "linear"),
    "coordinate_transformation_mode": ("half_pixel", "asymmetric", "align_corners"),
    "nearest_mode": ("round_prefer_floor", "floor"),
}


def _single(number: float) -> float:
    """The number rounded to float32, in which ONNX holds scales."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


def _infer_resize(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    for name, choices in CHOICES.items():
        if a[name] not in choices:
            bad_attr(f"{name} {a[name]!r}", allowed=", ".join(choices))
    if dtype not in FLOATS and a["mode"] == "linear":
        bad_shape(f"dtype {dtype}, linear needs float32 or float16")
    scales, sizes = a["scales"], a["sizes"]
    if bool(scales) == bool(sizes) or len(scales or sizes) != len(shape):
        bad_attr(f"scales {scales}, sizes {sizes} of a tensor {shape}", allowed="one of them, one number an axis")
    if (scales and not 0 < min(scales) <= max(scales) < 2**31) or (sizes and min(sizes) < 0):
        bad_attr(f"scales {scales}, sizes {sizes}", allowed="scales > 0; sizes >= 1, or 0 to keep an axis")
    dims: list[Dim] = []
    for i, size in enumerate(shape):
        if isinstance(size, str):
            if (scales and scales[i] != 1) or (sizes and sizes[i]):
                bad_shape(f"axis {i} has the symbol {size} as its size, and only scale 1 or size 0 keeps it")
            dims.append(size)
        elif scales:
            dims.append(math.floor(_single(_single(scales[i]) * size)))
        else:
            dims.append(sizes[i] or size)
    if 0 in dims:
        bad_shape(f"scales {scales} leave nothing of {shape}")
    return ((dtype, tuple(dims)),)


def _positions(size: int, new: int, scale: np.float32, kind: str) -> np.ndarray:
    """Where the new samples lie on the old axis, float32."""
    index = np.arange(new, dtype=np.float32)
    if kind == "align_corners":
        return index * np.float32(size - 1) / np.float32(max(new - 1, 1))
    if kind == "asymmetric":
        return index / scale
    return (index + np.float32(0.5)) / scale - np.float32(0.5)


def _run_resize(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    source = given(inputs[0])
    target: Any = _infer_resize([(str(source.dtype), source.shape)], attrs)[0][1]
    x = wide(source)
    for axis, new in enumerate(target):
        size = source.shape[axis]
        scale = np.float32(a["scales"][axis] if a["scales"] else np.float32(new) / np.float32(size))
        if new == size and scale == 1:
            continue
        at = _positions(size, new, scale, a["coordinate_transformation_mode"])
        x = _nearest(x, at, axis, a["nearest_mode"]) if a["mode"] == "nearest" else _linear(x, at, axis)
    return (narrow(x, source),)


def _nearest(x: np.ndarray, at: np.ndarray, axis: int, rounding: str) -> np.ndarray:
    index = np.floor(at) if rounding == "floor" else np.ceil(at - np.float32(0.5))
    return np.take(x, np.clip(index, 0, x.shape[axis] - 1).astype(np.int64), axis=axis)


def _linear(x: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    last = x.shape[axis] - 1
    at = np.clip(at, 0, last)  # beyond the first and last sample the edge repeats
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, last)
    share = (at - low).astype(np.float32).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    out: np.ndarray = np.take(x, low, axis=axis) * (1 - share) + np.take(x, high, axis=axis) * share
    return out


OPS: dict[str, Operator] = {
    "Resize": Operator(
        infer=_infer_resize,
        run=_run_resize,
        inputs=(1, 1),
        defaults={
            "coordinate_transformation_mode": "half_pixel",
            "mode": "nearest",
            "nearest_mode": "round_prefer_floor",
            "scales": (),
            "sizes": (),
        },
    ),
}
