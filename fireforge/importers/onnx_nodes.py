# SPDX-License-Identifier: Apache-2.0
"""One ONNX node as a Node of the closed list: constant inputs become attributes, what has no place is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr, Shape
from fireforge.base.ops.table import OPERATORS

# attributes that we do not have, at the value that changes nothing; any value where it is None
HARMLESS: dict[str, dict[str, Any]] = {
    "BatchNormalization": {"training_mode": 0, "spatial": 1},
    "MaxPool": {"storage_order": 0},
    "AveragePool": {"dilations": (1, 1)},
    "Reshape": {"allowzero": None},
    "ReduceMean": {"noop_with_empty_axes": 0},
    "Dropout": {"seed": None},
    "Split": {"num_outputs": None},
    "Resize": {
        "antialias": 0,
        "cubic_coeff_a": None,
        "exclude_outside": 0,
        "extrapolation_value": None,
        "keep_aspect_ratio_policy": "stretch",
    },
    "QuantizeLinear": {"saturate": 1, "block_size": 0, "output_dtype": 0, "precision": 0},
    "DequantizeLinear": {"block_size": 0, "output_dtype": 0},
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known of one ONNX node.

    Args:
      op: its operator.
      where: its name, for messages.
      inputs: tensor names, "" where absent.
      outputs: number of outputs.
      attrs: its attributes as plain values.
      shapes: of each input, None where absent.
      constants: of each input, its array where it is a constant.
    """

    op: str
    where: str
    inputs: tuple[str, ...]
    outputs: int
    attrs: Mapping[str, Attr]
    shapes: Sequence[Shape | None]
    constants: Sequence[np.ndarray | None]

    def ints(self, position: int) -> tuple[int, ...] | None:
        """The constant whole numbers at an input, None where it is absent."""
        array = self.constant(position)
        return None if array is None else tuple(int(x) for x in array.reshape(-1))

    def floats(self, position: int) -> tuple[float, ...] | None:
        """The constant numbers at an input, None where it is absent."""
        array = self.constant(position)
        return None if array is None else tuple(shortest(x) for x in array.reshape(-1))

    def constant(self, position: int) -> np.ndarray | None:
        """The constant at an input, None where it is absent."""
        if position >= len(self.inputs) or not self.inputs[position]:
            return None
        array = self.constants[position]
        if array is None:
            raise FireforgeError(
                "UNKNOWN_OPERATOR",
                f"{self.op} whose input {position} is computed",
                where=self.where,
                allowed="a constant",
            )
        return array

    def shape(self, position: int = 0) -> Shape:
        """The shape of an input."""
        shape = self.shapes[position] if position < len(self.shapes) else None
        if shape is None:
            raise FireforgeError("BAD_MODEL_FILE", f"{self.op} without input {position}", where=self.where)
        return shape


Given = tuple[int, dict[str, Attr]]  # number of inputs that stay inputs, attributes made of the others
MakeFn = Callable[[Source], Given]


def shortest(number: Any) -> float:
    """The shortest decimal of a float32, float16 or whole number, as a float: 1e-05, not 9.99999974e-06."""
    return float(str(number))


def attributes_of(source: Source) -> Given:
    """How an ONNX node is held here.

    Args:
      source: a node whose operator is of the closed list.

    Returns:
      How many of its inputs stay inputs, and its attributes.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if an attribute has no meaning here or a shape is computed by other nodes.
    """
    attrs = dict(source.attrs)
    if "auto_pad" in attrs:
        attrs.update(_resolved_pads(source, str(attrs.pop("auto_pad"))))
    count, made = MAKERS[source.op](source) if source.op in MAKERS else (len(source.inputs), {})
    attrs.update(made)
    operator = OPERATORS[source.op]
    known = {*operator.required, *operator.defaults}
    harmless = HARMLESS.get(source.op, {})
    for name in sorted(set(attrs) - known):
        value = attrs.pop(name)
        if name in _REMOVED.get(source.op, ()) or (name in harmless and harmless[name] in (None, value)):
            continue
        what = f"{source.op} with {name} = {str(value)[:80]}"
        raise FireforgeError("UNKNOWN_OPERATOR", what, where=source.where, allowed=", ".join(sorted(known)) or "none")
    return count, attrs


_REMOVED = {"Resize": ("axes",)}  # attributes whose meaning is in what was made of them


def _kernel(source: Source) -> Given:
    return len(source.inputs), {"kernel_shape": _numbers(source.shape(1)[2:])}


def _numbers(shape: Shape) -> tuple[int, ...]:
    return tuple(int(size) for size in shape)


def _deconvolution(source: Source) -> Given:
    if "output_shape" in source.attrs:
        raise FireforgeError("UNKNOWN_OPERATOR", "ConvTranspose with output_shape", where=source.where)
    return _kernel(source)


def _reshape(source: Source) -> Given:
    shape = source.ints(1) or ()
    if source.attrs.get("allowzero") and 0 in shape:
        raise FireforgeError("UNKNOWN_OPERATOR", f"Reshape to {shape} with allowzero", where=source.where)
    return 1, {"shape": shape}


def _slice(source: Source) -> Given:
    starts, ends = source.ints(1) or (), source.ints(2) or ()
    axes, steps = source.ints(3), source.ints(4)
    return 1, {
        "starts": starts,
        "ends": ends,
        "axes": tuple(range(len(starts))) if axes is None else axes,
        "steps": (1,) * len(starts) if steps is None else steps,
    }


def _split(source: Source) -> Given:
    parts = source.ints(1)
    if parts is None:
        size = source.shape()[int(source.attrs.get("axis", 0))]  # type: ignore[arg-type]
        if isinstance(size, str):
            raise FireforgeError("BAD_SHAPE", f"Split of size {size} without parts", where=source.where)
        part = -(-size // source.outputs)
        parts = (part,) * (source.outputs - 1) + (size - part * (source.outputs - 1),)
    return 1, {"split": parts}


def _pad(source: Source) -> Given:
    pads, value, axes = source.ints(1) or (), source.floats(2), source.ints(3)
    if axes is not None:
        rank = len(source.shape())
        spread = [0] * (2 * rank)
        for i, axis in enumerate(axes):
            spread[axis % rank], spread[axis % rank + rank] = pads[i], pads[i + len(axes)]
        pads = tuple(spread)
    return 1, {"pads": pads, **({"value": value[0]} if value else {})}


def _clip(source: Source) -> Given:
    bounds = {"min": source.floats(1), "max": source.floats(2)}
    return 1, {name: value[0] for name, value in bounds.items() if value}


def _dropout(source: Source) -> Given:
    ratio, training = source.floats(1), source.ints(2)
    if training and training[0]:
        raise FireforgeError("UNKNOWN_OPERATOR", "Dropout in training mode", where=source.where)
    return 1, {"ratio": ratio[0]} if ratio else {}


def _resize(source: Source) -> Given:
    scales, sizes = source.floats(2), source.ints(3)
    rank = len(source.shape())
    axes: Any = source.attrs.get("axes", tuple(range(rank)))
    if scales:
        spread = [1.0] * rank
        for axis, scale in zip(axes, scales):
            spread[axis] = scale
        return 1, {"scales": tuple(spread)}
    kept = [0] * rank
    for axis, size in zip(axes, sizes or ()):
        kept[axis] = size
    return 1, {"sizes": tuple(kept)}


def _transpose(source: Source) -> Given:
    perm: Any = source.attrs.get("perm", tuple(reversed(range(len(source.shape())))))
    return 1, {"perm": perm}


def _mean(source: Source) -> Given:
    axes = source.ints(1)
    return 1, {} if axes is None else {"axes": axes}


MAKERS: dict[str, MakeFn] = {
    "Conv": _kernel,
    "ConvTranspose": _deconvolution,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Clip": _clip,
    "Dropout": _dropout,
    "Resize": _resize,
    "Transpose": _transpose,
    "ReduceMean": _mean,
}


def _resolved_pads(source: Source, mode: str) -> dict[str, Attr]:
    """auto_pad as numbers; SAME needs a known spatial size."""
    if mode == "NOTSET":
        return {}
    kernel: Any = source.attrs.get("kernel_shape") or _numbers(source.shape(1)[2:])
    rank = len(kernel)
    if mode == "VALID":
        return {"pads": (0,) * (2 * rank)}
    sizes = source.shape()[2:]
    good = mode in ("SAME_UPPER", "SAME_LOWER") and source.op != "ConvTranspose"
    if not good or any(isinstance(size, str) for size in sizes):
        raise FireforgeError(
            "UNKNOWN_OPERATOR", f"{source.op} with auto_pad {mode}", where=source.where, allowed="pads"
        )
    strides: Any = source.attrs.get("strides", (1,) * rank)
    dilations: Any = source.attrs.get("dilations", (1,) * rank)
    begins, ends = [], []
    for size, extent, stride, dilation in zip(sizes, kernel, strides, dilations):
        out = -(-int(size) // stride)
        total = max((out - 1) * stride + (extent - 1) * dilation + 1 - int(size), 0)
        small, large = total // 2, total - total // 2
        begins.append(large if mode == "SAME_LOWER" else small)
        ends.append(small if mode == "SAME_LOWER" else large)
    return {"pads": (*begins, *ends)}
