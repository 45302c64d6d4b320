# SPDX-License-Identifier: Apache-2.0
"""The attributes of a Graph that ONNX passes as constant inputs, as arrays in ONNX's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fireforge.base.graph import Node, Shape
from fireforge.base.infer import filled
from fireforge.base.ops.table import OPERATORS

# (all attributes, dtype and shape of the first input) -> the constant inputs behind the node's own, None for absent
ConstantsFn = Callable[[Any, np.dtype, Shape], list["np.ndarray | None"]]


def _ints(values: tuple[int, ...]) -> np.ndarray:
    return np.asarray(values, np.int64)


def _reshape(attrs: Any, dtype: np.dtype, shape: Shape) -> list[np.ndarray | None]:
    return [_ints(attrs["shape"])]


def _slice(attrs: Any, dtype: np.dtype, shape: Shape) -> list[np.ndarray | None]:
    return [_ints(attrs[name]) for name in ("starts", "ends", "axes", "steps")]


def _split(attrs: Any, dtype: np.dtype, shape: Shape) -> list[np.ndarray | None]:
    return [_ints(attrs["split"])]


def _pad(attrs: Any, dtype: np.dtype, shape: Shape) -> list[np.ndarray | None]:
    value = None if attrs["value"] == 0 else np.asarray(attrs["value"], dtype)
    return [_ints(attrs["pads"]), value]


def _clip(attrs: Any, dtype: np.dtype, shape: Shape) -> list[np.ndarray | None]:
    defaults = OPERATORS["Clip"].defaults
    return [None if attrs[name] == defaults[name] else _bound(attrs[name], dtype) for name in ("min", "max")]


def _bound(value: float, dtype: np.dtype) -> np.ndarray:
    """A bound in the tensor's dtype; bounds beyond the dtype's ends become those ends."""
    ends: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    clamped = min(max(value, float(ends.min)), float(ends.max))
    return np.asarray(clamped if dtype.kind == "f" else int(clamped), dtype)


def _dropout(attrs: Any, dtype: np.dtype, shape: Shape) -> list[np.ndarray | None]:
    default = OPERATORS["Dropout"].defaults["ratio"]
    return [None if attrs["ratio"] == default else np.asarray(attrs["ratio"], np.float32)]


def _resize(attrs: Any, dtype: np.dtype, shape: Shape) -> list[np.ndarray | None]:
    if attrs["scales"]:
        return [None, np.asarray(attrs["scales"], np.float32)]
    if all(attrs["sizes"]):
        return [None, None, _ints(attrs["sizes"])]
    scales = [_scale(old, new) for old, new in zip(shape, attrs["sizes"])]
    return [None, np.asarray(scales, np.float32)]


def _scale(old: int | str, new: int) -> np.float32:
    """The scale that makes `new` of `old` when the product is rounded down; 1 where the axis is kept (size 0)."""
    if new == 0 or isinstance(old, str):
        return np.float32(1)
    scale = np.float32(new) / np.float32(old)
    while int(np.floor(scale * np.float32(old))) < new:
        scale = np.nextafter(scale, np.float32(np.inf))
    return np.float32(scale)


# operator -> (names of the attributes that become inputs, the function that makes them)
CONSTANTS: dict[str, tuple[tuple[str, ...], ConstantsFn]] = {
    "Reshape": (("shape",), _reshape),
    "Slice": (("starts", "ends", "axes", "steps"), _slice),
    "Split": (("split",), _split),
    "Pad": (("pads", "value"), _pad),
    "Clip": (("min", "max"), _clip),
    "Dropout": (("ratio",), _dropout),
    "Resize": (("scales", "sizes"), _resize),
}


def constants_of(node: Node, dtype: str, shape: Shape) -> list[np.ndarray | None]:
    """The constant inputs that ONNX wants behind a node's own inputs.

    Args:
      node: any node of a graph that `validate` accepts.
      dtype: of the node's first input.
      shape: of the node's first input.

    Returns:
      Arrays in ONNX's order, None for an optional one that is absent; empty for most operators. A Resize whose sizes
      keep an axis (0) is written with scales, which make the same sizes, because ONNX has no word for it in opset 17.
    """
    if node.op not in CONSTANTS:
        return []
    return CONSTANTS[node.op][1](filled(node), np.dtype(dtype), shape)
