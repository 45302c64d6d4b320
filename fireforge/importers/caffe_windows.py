# SPDX-License-Identifier: Apache-2.0
"""Caffe's layers with windows and products: convolution, pooling, inner product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr
from fireforge.importers.caffe_pen import Layer, Pen

MOST_SIDE = 2**31 - 1


def convolution(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Convolution; one kernel for each bottom and top, as Caffe shares it."""
    return _convolution(pen, layer, "Conv")


def deconvolution(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Deconvolution: numbers are (channels in, channels out / group, kernel)."""
    return _convolution(pen, layer, "ConvTranspose")


def _convolution(pen: Pen, layer: Layer, op: str) -> tuple[str, ...]:
    param = layer.proto.convolution_param
    x = one(pen, layer)
    filters, group, channels = param.num_output, param.group, pen.channels(x, layer)
    if param.axis != 1 or not filters or not group or filters % group or channels % group:
        got = f"num_output {filters}, group {group}, axis {param.axis} for {channels} channels"
        raise refused(layer, got, allowed="axis 1, a group that divides both")
    rank = len(pen.shape(x)) - 2
    kernel = _sides(layer, param.kernel_size, ("kernel_h", "kernel_w"), rank=rank, default=0)
    strides = _sides(layer, param.stride, ("stride_h", "stride_w"), rank=rank, default=1)
    pads = _sides(layer, param.pad, ("pad_h", "pad_w"), rank=rank, default=0)
    attrs: dict[str, Attr] = {
        "kernel_shape": kernel,
        "strides": strides,
        "pads": (*pads, *pads),
        "dilations": _sides(layer, param.dilation, (), rank=rank, default=1),
        "group": group,
    }
    shape = (filters, channels // group, *kernel) if op == "Conv" else (channels, filters // group, *kernel)
    inputs: tuple[str, ...] = (x, pen.weight(layer, "weight", shape))
    if param.bias_term:
        inputs += (pen.weight(layer, "bias", (filters,)),)
    return (pen.node(op, inputs, layer.name, attrs),)


def pooling(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Pooling: sizes are rounded up, a last window that starts behind the input is dropped, padding counts in means."""
    param, x = layer.proto.pooling_param, one(pen, layer)
    kind = param.DESCRIPTOR.fields_by_name["pool"].enum_type.values_by_number[param.pool].name
    if kind not in ("MAX", "AVE") or layer.tops != 1:
        raise refused(layer, f"pool {kind} with {layer.tops} tops", allowed="MAX or AVE with one top")
    if param.global_pooling:
        return (pen.node("GlobalMaxPool" if kind == "MAX" else "GlobalAveragePool", (x,), layer.name),)
    kernel = _pair(layer, "kernel_size", ("kernel_h", "kernel_w"))
    strides = _pair(layer, "stride", ("stride_h", "stride_w"))
    pads = _pair(layer, "pad", ("pad_h", "pad_w"))
    up = param.round_mode == 0
    sides = pen.shape(x)[2:]
    if len(sides) != 2 or min(kernel) < 1 or min(strides) < 1 or any(p >= k for p, k in zip(pads, kernel)):
        got = f"kernel {kernel}, stride {strides}, pad {pads} on sides {sides}"
        raise refused(layer, got, allowed="two sides, pads smaller than the kernel")
    if up:
        kernel = tuple(_side(layer, *item, any(pads)) for item in zip(sides, kernel, strides, pads))
    ends = pads
    if up and any(pads):
        ends = tuple(_end(layer, *item) for item in zip(sides, kernel, strides, pads))
    attrs: dict[str, Attr] = {"kernel_shape": kernel, "strides": strides, "pads": (*pads, *ends), "ceil_mode": int(up)}
    if kind == "AVE":
        attrs["count_include_pad"] = 1
    return (pen.node("MaxPool" if kind == "MAX" else "AveragePool", (x,), layer.name, attrs),)


def _side(layer: Layer, size: Any, kernel: int, stride: int, pad: int, padded: bool) -> int:
    """The kernel on one axis, cut to the map where it is larger: rounding up, Caffe still makes one window of it."""
    room = size + 2 * pad - kernel
    if -stride < room < 0:
        return int(size + 2 * pad)
    if not padded and math.ceil(room / stride) * stride >= size:
        raise refused(layer, f"stride {stride} of kernel {kernel}: the last window lies outside the map of {size}")
    return kernel


def _end(layer: Layer, size: Any, kernel: int, stride: int, pad: int) -> int:
    """The padding behind the map: less than before it where Caffe drops a last window that would start there.

    ONNX's operators drop it as well, but the shapes that ONNX infers count it: so it must not arise.
    """
    last = math.ceil((size + 2 * pad - kernel) / stride) * stride
    if last < size + pad:
        return pad
    end = int(last - stride + kernel - size - pad)
    if end < 0:
        raise refused(layer, f"stride {stride} of kernel {kernel} leaves the end of the map of {size} out")
    return end


def inner_product(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """InnerProduct: all axes behind the batch are one."""
    param, x = layer.proto.inner_product_param, one(pen, layer)
    if param.axis != 1 or not param.num_output:
        raise refused(layer, f"axis {param.axis}, num_output {param.num_output}", allowed="axis 1, an output or more")
    if len(pen.shape(x)) != 2:
        x = pen.node("Flatten", (x,), f"{layer.name}/flatten", {"axis": 1})
    units, width = param.num_output, pen.channels(x, layer)
    shape = (width, units) if param.transpose else (units, width)
    inputs: tuple[str, ...] = (x, pen.weight(layer, "weight", shape))
    if param.bias_term:
        inputs += (pen.weight(layer, "bias", (units,)),)
    return (pen.node("Gemm", inputs, layer.name, {"transB": int(not param.transpose)}),)


def one(pen: Pen, layer: Layer, *, count: int = 1) -> str:
    """The only bottom of a layer.

    Args:
      pen: who writes.
      layer: which layer.
      count: bottoms that it must have.

    Returns:
      The first bottom's tensor.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if there are fewer or more.
    """
    if len(layer.bottoms) != count or layer.tops != 1:
        raise refused(layer, f"{len(layer.bottoms)} bottoms and {layer.tops} tops", allowed=f"{count} and 1")
    return layer.bottoms[0]


def refused(layer: Layer, what: str, *, allowed: str = "") -> FireforgeError:
    """The error for a layer, or a form of one, that the closed operator list has no place for."""
    return FireforgeError("UNKNOWN_OPERATOR", f"{layer.proto.type}: {what}", where=layer.name[:80], allowed=allowed)


def _sides(layer: Layer, values: Sequence[int], names: tuple[str, ...], *, rank: int, default: int) -> tuple[int, ...]:
    """One number an axis: given one by one, once for all, by names for height and width, or not at all."""
    param = layer.proto.convolution_param
    if any(param.HasField(name) for name in names):
        if len(values) or rank != 2:
            raise refused(layer, f"{' and '.join(names)} beside the field for all axes")
        return tuple(getattr(param, name) for name in names)
    if len(values) not in (0, 1, rank):
        raise refused(layer, f"{len(values)} numbers for {rank} axes", allowed=f"0, 1 or {rank}")
    return tuple(values) if len(values) == rank else (values[0] if values else default,) * rank


def _pair(layer: Layer, name: str, parts: tuple[str, str]) -> tuple[int, ...]:
    param = layer.proto.pooling_param
    if any(param.HasField(part) for part in parts):
        return tuple(getattr(param, part) for part in parts)
    return (getattr(param, name),) * 2
