# SPDX-License-Identifier: Apache-2.0
"""Operators that take parts of a tensor or put a border around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fireforge.base.graph import Dim
from fireforge.base.ops.activation import HIGHEST
from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import FLOATS, axis_of, bad_attr, bad_shape, given

Arrays = Sequence[np.ndarray | None]

FAR = 2**31 - 1  # an end at or beyond this means "to the end", also where the size is a symbol
RANGES: dict[str, tuple[int, int]] = {
    "bool": (0, 1),
    "uint8": (0, 255),
    "int8": (-128, 127),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**53), 2**53),  # what a float attribute holds exactly
}
PAD_MODES = ("constant", "edge", "reflect")


def _cut(size: int, start: int, end: int, step: int) -> range:
    """The indices that a slice keeps; starts and ends count from the back where negative and are clamped."""
    low, high = (0, size) if step > 0 else (-1, size - 1)
    first = min(max(start + size if start < 0 else start, max(low, 0)), high)
    last = min(max(end + size if end < 0 else end, low), high)
    return range(first, last, step)


def _infer_slice(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    starts, ends, axes, steps = a["starts"], a["ends"], a["axes"], a["steps"]
    where = [axis_of(axis, rank=len(shape)) for axis in axes]
    if not len(starts) == len(ends) == len(axes) == len(steps) or len(set(where)) != len(where):
        bad_attr(f"starts {starts}, ends {ends}, axes {axes}, steps {steps}", allowed="equal lengths, each axis once")
    dims = list(shape)
    for axis, start, end, step in zip(where, starts, ends, steps):
        if step == 0:
            bad_attr(f"steps {steps}", allowed="not 0")
        size = dims[axis]
        if not isinstance(size, str):
            dims[axis] = len(_cut(size, start, end, step))
        elif start != 0 or end < FAR or step != 1:
            bad_shape(f"slice {start}:{end}:{step} of axis {axis}, whose size {size} is a symbol")
    return ((dtype, tuple(dims)),)


def _run_slice(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    for axis, start, end, step in zip(a["axes"], a["starts"], a["ends"], a["steps"]):
        x = np.take(x, np.asarray(_cut(x.shape[axis], start, end, step), np.int64), axis=axis)
    return (x,)


def _infer_split(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    axis = axis_of(a["axis"], rank=len(shape))
    parts: tuple[int, ...] = a["split"]
    if not parts or min(parts) < 1:
        bad_attr(f"split {parts}", allowed="sizes >= 1")
    if shape[axis] != sum(parts):
        bad_shape(f"split {parts} of axis {axis} of {shape}: the parts make {sum(parts)}")
    return tuple((dtype, (*shape[:axis], part, *shape[axis + 1 :])) for part in parts)


def _run_split(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    cuts = np.cumsum(a["split"])[:-1].tolist()
    return tuple(np.ascontiguousarray(part) for part in np.split(given(inputs[0]), cuts, axis=a["axis"]))


def _infer_pad(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    pads, mode, rank = a["pads"], a["mode"], len(shape)
    if mode not in PAD_MODES:
        bad_attr(f"mode {mode!r}", allowed=", ".join(PAD_MODES))
    low, high = RANGES.get(dtype, (-HIGHEST, HIGHEST))
    if mode == "constant" and not (low <= a["value"] <= high and (dtype in FLOATS or float(a["value"]).is_integer())):
        bad_attr(f"value {a['value']} in {dtype}", allowed=f"whole numbers {low} to {high}")
    if len(pads) != 2 * rank:
        bad_attr(f"pads {pads} of a tensor {shape}", allowed=f"{rank} begins, then {rank} ends")
    dims: list[Dim] = []
    for size, begin, end in zip(shape, pads[:rank], pads[rank:]):
        if isinstance(size, str):
            if begin or end:
                bad_shape(f"pads {pads} on size {size}, which is a symbol")
            dims.append(size)
            continue
        if mode == "reflect" and max(begin, end) >= size:
            bad_shape(f"reflect pads {begin} and {end} on size {size}: needs smaller ones")
        if size + begin + end < 1 or size + min(begin, 0) + min(end, 0) < 1:
            bad_shape(f"pads {begin} and {end} leave nothing of size {size}")
        dims.append(size + begin + end)
    return ((dtype, tuple(dims)),)


def _run_pad(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    rank = x.ndim
    if rank == 0:
        return (x,)
    begins, ends = a["pads"][:rank], a["pads"][rank:]
    cut = tuple(slice(max(-b, 0), n - max(-e, 0)) for n, b, e in zip(x.shape, begins, ends))  # negative pads crop
    widths = [(max(b, 0), max(e, 0)) for b, e in zip(begins, ends)]
    if a["mode"] == "constant":
        return (np.pad(x[cut], widths, constant_values=x.dtype.type(a["value"])),)
    return (np.pad(x[cut], widths, mode=a["mode"]),)


def _infer_gather(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    index_dtype, index = given(inputs[1])
    if index_dtype not in ("int32", "int64"):
        bad_shape(f"indices are {index_dtype}, need int32 or int64")
    axis = axis_of(a["axis"], rank=len(shape))
    return ((dtype, (*shape[:axis], *index, *shape[axis + 1 :])),)


def _run_gather(inputs: Arrays, attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x, index = given(inputs[0]), given(inputs[1])
    size = x.shape[a["axis"]]
    if index.size and (index.min() < -size or index.max() >= size):
        bad_shape(f"indices {index.min()} to {index.max()} into axis {a['axis']} of size {size}")
    return (np.asarray(np.take(x, index, axis=a["axis"])),)


OPS: dict[str, Operator] = {
    "Slice": Operator(
        infer=_infer_slice,
        run=_run_slice,
        inputs=(1, 1),
        required={"starts": tuple, "ends": tuple, "axes": tuple, "steps": tuple},
    ),
    "Split": Operator(
        infer=_infer_split, run=_run_split, inputs=(1, 1), outputs=-1, required={"split": tuple}, defaults={"axis": 0}
    ),
    "Pad": Operator(
        infer=_infer_pad,
        run=_run_pad,
        inputs=(1, 1),
        required={"pads": tuple},
        defaults={"mode": "constant", "value": 0.0},
    ),
    "Gather": Operator(infer=_infer_gather, run=_run_gather, inputs=(2, 2), defaults={"axis": 0}),
}
