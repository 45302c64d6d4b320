# SPDX-License-Identifier: Apache-2.0
"""Pooling over windows and over whole maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fireforge.base.graph import Dim
from fireforge.base.ops.operator import Attrs, Operator, Typed
from fireforge.base.ops.rules import FLOATS, bad_attr, bad_shape, given, narrow, wide
from fireforge.base.ops.windows import check_window, count_windows, padded, windows


def _infer_pool(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    a: Any = attrs
    dtype, shape = given(inputs[0])
    kernel, strides, pads, ceil = a["kernel_shape"], a["strides"], a["pads"], a["ceil_mode"]
    check_window(kernel, strides, pads, shape)
    rank = len(kernel)
    dilations = a.get("dilations") or (1,) * rank
    if len(dilations) != rank or min(dilations) < 1 or ceil not in (0, 1):
        bad_attr(f"dilations {dilations}, ceil_mode {ceil}", allowed=f"{rank} numbers >= 1; 0 or 1")
    dims: list[Dim] = [shape[0], shape[1]]
    for i in range(rank):
        extent = (kernel[i] - 1) * dilations[i] + 1
        if pads[i] >= extent or pads[rank + i] >= extent:
            bad_attr(f"pads {pads} with windows of {extent}", allowed="pads smaller than the window")
        dims.append(count_windows(shape[2 + i], extent, strides[i], (pads[i], pads[rank + i]), ceil == 1))
    return ((dtype, tuple(dims)),)


def _infer_average(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    _need_float(inputs)
    if attrs["count_include_pad"] not in (0, 1):
        bad_attr(f"count_include_pad {attrs['count_include_pad']}", allowed="0 or 1")
    return _infer_pool(inputs, attrs)


def _need_float(inputs: Sequence[Typed | None]) -> None:
    dtype = given(inputs[0])[0]
    if dtype not in FLOATS:
        bad_shape(f"dtype {dtype}, needs float32 or float16")


def _overhang(sizes: tuple[int, ...], counts: Sequence[Any], attrs: Any, dilations: tuple[int, ...]) -> tuple[int, ...]:
    """Pads whose ends reach to the last window's end, which ceil_mode may push beyond the declared padding."""
    rank = len(sizes)
    kernel, strides, pads = attrs["kernel_shape"], attrs["strides"], attrs["pads"]
    ends = []
    for i in range(rank):
        reach = (counts[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
        ends.append(max(pads[rank + i], reach - sizes[i] - pads[i]))
    return (*pads[:rank], *ends)


def _first(counts: Sequence[Any]) -> tuple[Any, ...]:
    """Index of the first windows on each axis, all of each window."""
    return (Ellipsis, *(slice(count) for count in counts), *(slice(None) for _ in counts))


def _run_max(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    x = given(inputs[0])
    rank = len(a["kernel_shape"])
    counts = _infer_pool([(str(x.dtype), x.shape)], attrs)[0][1][2:]
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    spread = padded(x, _overhang(x.shape[2:], counts, a, a["dilations"]), lowest)
    view = windows(spread, a["kernel_shape"], a["strides"], a["dilations"])
    return (view[_first(counts)].max(axis=tuple(range(-rank, 0))),)


def _run_average(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    a: Any = attrs
    source = given(inputs[0])
    x = wide(source)
    kernel, pads, rank = a["kernel_shape"], a["pads"], len(a["kernel_shape"])
    counts = _infer_pool([(str(source.dtype), x.shape)], attrs)[0][1][2:]
    reach = _overhang(x.shape[2:], counts, a, (1,) * rank)
    cut = _first(counts)
    axes = tuple(range(-rank, 0))
    total = windows(padded(x, reach, 0), kernel, a["strides"], (1,) * rank)[cut].sum(axis=axes)
    # what counts is 1, what does not is 0: the declared padding may count, the overhang of ceil_mode never does
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    counted = padded(ones, pads, a["count_include_pad"])
    rest = (0,) * rank + tuple(reach[rank + i] - pads[rank + i] for i in range(rank))
    share = windows(padded(counted, rest, 0), kernel, a["strides"], (1,) * rank)[cut].sum(axis=axes)
    return (narrow(total / share, source),)


def _infer_global(inputs: Sequence[Typed | None], attrs: Attrs) -> tuple[Typed, ...]:
    dtype, shape = given(inputs[0])
    if dtype not in FLOATS or len(shape) < 3:
        bad_shape(f"{dtype} {shape}, needs float (N, C, spatial...)")
    return ((dtype, shape[:2] + (1,) * (len(shape) - 2)),)


def _run_global_average(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    x = given(inputs[0])
    return (narrow(wide(x).mean(axis=tuple(range(2, x.ndim)), keepdims=True), x),)


def _run_global_max(inputs: Sequence[np.ndarray | None], attrs: Attrs) -> tuple[np.ndarray, ...]:
    x = given(inputs[0])
    return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


OPS: dict[str, Operator] = {
    "MaxPool": Operator(
        infer=_infer_pool,
        run=_run_max,
        inputs=(1, 1),
        required={"kernel_shape": tuple},
        defaults={"ceil_mode": 0, "dilations": (1, 1), "pads": (0, 0, 0, 0), "strides": (1, 1)},
    ),
    "AveragePool": Operator(
        infer=_infer_average,
        run=_run_average,
        inputs=(1, 1),
        required={"kernel_shape": tuple},
        defaults={"ceil_mode": 0, "count_include_pad": 0, "pads": (0, 0, 0, 0), "strides": (1, 1)},
    ),
    "GlobalAveragePool": Operator(infer=_infer_global, run=_run_global_average, inputs=(1, 1)),
    "GlobalMaxPool": Operator(infer=_infer_global, run=_run_global_max, inputs=(1, 1)),
}
