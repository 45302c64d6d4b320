# SPDX-License-Identifier: Apache-2.0
"""The operators as torch functions: name to (tensors, attributes, training) -> tensors."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fireforge.base.ops.activation import HIGHEST, LOWEST
from fireforge.base.ops.windows import count_windows

Inputs = Sequence[Any]  # a Tensor each, None where an optional one is absent
Function = Callable[[Inputs, dict[str, Any], bool], tuple[Tensor, ...]]

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def even(pads: tuple[int, ...]) -> bool:
    """Whether the padding before and behind is the same on each axis, as torch's own layers want it.

    Args:
      pads: begins of all axes, then ends.

    Returns:
      True if they agree.
    """
    rank = len(pads) // 2
    return pads[:rank] == pads[rank:]


def border(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """The tensor with a constant border; negative pads crop.

    Args:
      x: any tensor.
      pads: begins, then ends, of its last len(pads) / 2 axes.
      value: what the border holds.

    Returns:
      The padded tensor.
    """
    if not any(pads):
        return x
    rank = len(pads) // 2
    order = [part for i in reversed(range(rank)) for part in (pads[i], pads[rank + i])]
    return F.pad(x, order, value=value)


def overflow(x: Tensor, output_padding: tuple[int, ...], pads: tuple[int, ...]) -> Tensor:
    """A transposed convolution's full output, extended at its ends and cropped by the pads.

    Args:
      x: (N, K, full sizes...).
      output_padding: zeros to add behind, one number an axis.
      pads: begins, then ends, to cut off.

    Returns:
      (N, K, H', W').
    """
    rank = len(output_padding)
    ends = [extra - pads[rank + i] for i, extra in enumerate(output_padding)]
    return border(x, [-pads[i] for i in range(rank)] + ends)


def _conv(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, weight, bias = (*x, None)[:3]
    pads, rank = a["pads"], len(a["kernel_shape"])
    if not even(pads):
        source, pads = border(source, pads), (0,) * (2 * rank)
    return (CONV[rank](source, weight, bias, a["strides"], pads[:rank], a["dilations"], a["group"]),)


def _conv_transpose(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, weight, bias = (*x, None)[:3]
    rank = len(a["kernel_shape"])
    zero = (0,) * rank
    full = CONV_TRANSPOSE[rank](source, weight, None, a["strides"], zero, zero, a["group"], a["dilations"])
    out = overflow(full, a["output_padding"], a["pads"])
    return (out if bias is None else out + bias.to(out.dtype).reshape(-1, *(1,) * rank),)


def _gemm(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    left = x[0].t() if a["transA"] else x[0]
    right = x[1].t() if a["transB"] else x[1]
    out = left @ right
    if a["alpha"] != 1:
        out = out * a["alpha"]
    if len(x) > 2 and x[2] is not None:
        out = out + (x[2] if a["beta"] == 1 else x[2] * a["beta"])
    return (out,)


def _batch_norm(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, scale, bias, mean, variance = x
    return (F.batch_norm(source, mean, variance, scale, bias, training, 1 - a["momentum"], a["epsilon"]),)


def _layer_norm(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, scale, bias = (*x, None)[:3]
    shape = source.shape[a["axis"] :]
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return (F.layer_norm(source, shape, scale, bias, a["epsilon"]),)
    out = F.layer_norm(source, shape, None, None, a["epsilon"]) * scale
    return (out if bias is None else out + bias,)


def _response_norm(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, size = x[0], a["size"]
    squares = F.pad(source.square().flatten(2).unsqueeze(1), (0, 0, (size - 1) // 2, size // 2))
    mean = F.avg_pool2d(squares, (size, 1), 1).squeeze(1).reshape(source.shape)
    return (source / (a["bias"] + a["alpha"] * mean) ** a["beta"],)


def _pooled(source: Tensor, a: dict[str, Any]) -> tuple[list[int], list[int], tuple[Any, ...]]:
    """Output sizes, pads whose ends reach as far as the last window, and the index of the counted windows."""
    kernel, strides, pads = a["kernel_shape"], a["strides"], a["pads"]
    rank = len(kernel)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, a.get("dilations") or (1,) * rank)]
    ceil = bool(a["ceil_mode"])
    sides = [(pads[i], pads[rank + i]) for i in range(rank)]
    counts = [count_windows(source.shape[2 + i], extents[i], strides[i], sides[i], ceil) for i in range(rank)]
    reach = [(counts[i] - 1) * strides[i] + extents[i] - source.shape[2 + i] - pads[i] for i in range(rank)]
    ends = [max(pads[rank + i], reach[i]) for i in range(rank)]
    return counts, [*pads[:rank], *ends], (..., *(slice(number) for number in counts))


def _plain(a: dict[str, Any]) -> bool:
    """Whether torch's own pooling takes the padding: the same on both sides and at most half the window."""
    return even(a["pads"]) and all(2 * pad <= side for pad, side in zip(a["pads"], a["kernel_shape"]))


def _max_pool(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, rank = x[0], len(a["kernel_shape"])
    pool, kernel, strides, dilations = MAX_POOL[rank], a["kernel_shape"], a["strides"], a["dilations"]
    if _plain(a):
        return (pool(source, kernel, strides, a["pads"][:rank], dilations, bool(a["ceil_mode"])),)
    _, pads, cut = _pooled(source, a)
    return (pool(border(source, pads, -math.inf), kernel, strides, 0, dilations)[cut],)


def _average_pool(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, rank = x[0], len(a["kernel_shape"])
    pool, kernel, strides = AVERAGE_POOL[rank], a["kernel_shape"], a["strides"]
    if _plain(a):
        counted = bool(a["count_include_pad"])
        return (pool(source, kernel, strides, a["pads"][:rank], bool(a["ceil_mode"]), counted),)
    _, pads, cut = _pooled(source, a)
    ones = border(torch.ones_like(source[:1, :1]), a["pads"], float(a["count_include_pad"]))
    rest = [0] * rank + [pads[rank + i] - a["pads"][rank + i] for i in range(rank)]
    share = pool(border(ones, rest), kernel, strides)[cut]
    return (pool(border(source, pads), kernel, strides)[cut] / share,)


def _clip(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    low = a["min"] if a["min"] > LOWEST else None
    high = a["max"] if a["max"] < HIGHEST else None
    if not x[0].is_floating_point():
        low, high = (bound if bound is None else int(bound) for bound in (low, high))
    return (x[0] if low is None and high is None else x[0].clamp(low, high),)


def _global_average(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    return (x[0].mean(dim=tuple(range(2, x[0].ndim)), keepdim=True),)


def _global_max(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    return (x[0].amax(dim=tuple(range(2, x[0].ndim)), keepdim=True),)


def _div(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    if x[0].is_floating_point():
        return (x[0] / x[1],)
    return (torch.div(x[0], x[1], rounding_mode="trunc"),)


def _flatten(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    axis = a["axis"] + x[0].ndim if a["axis"] < 0 else a["axis"]
    if axis == 1:
        return (x[0].flatten(1) if x[0].ndim > 1 else x[0].reshape(-1, 1),)
    return (x[0].reshape(math.prod(x[0].shape[:axis]), -1),)


def _reshape(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    return (x[0].reshape([size or x[0].shape[i] for i, size in enumerate(a["shape"])]),)


def _reduce_mean(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    return (x[0].mean(dim=a["axes"] or tuple(range(x[0].ndim)), keepdim=bool(a["keepdims"])),)


def _slice(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    out = x[0]
    for axis, start, end, step in zip(a["axes"], a["starts"], a["ends"], a["steps"]):
        size, axis = out.shape[axis], axis % out.ndim
        if step > 0:
            out = out[(*(slice(None),) * axis, slice(start, end, step))]
            continue
        first = min(max(start + size if start < 0 else start, 0), size - 1)
        last = min(max(end + size if end < 0 else end, -1), size - 1)
        out = out.index_select(axis, torch.arange(first, min(last, first), step, device=out.device))
    return (out,)


def _split(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    return tuple(x[0].split(a["split"], dim=a["axis"]))


def _pad(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, pads, rank = x[0], a["pads"], x[0].ndim
    if a["mode"] == "constant":
        return (border(source, pads, a["value"]),)
    for axis in range(rank):
        begin, end, size = pads[axis], pads[rank + axis], source.shape[axis]
        if not begin and not end:
            continue
        low, high = max(-begin, 0), size - max(-end, 0) - 1  # negative pads crop before the others are laid
        at = torch.arange(low - max(begin, 0), high + 1 + max(end, 0), device=source.device)
        if a["mode"] == "reflect":
            at = torch.where(at < low, 2 * low - at, torch.where(at > high, 2 * high - at, at))
        source = source.index_select(axis, at.clamp(low, high))
    return (source,)


def _gather(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, index = x
    axis = a["axis"] % source.ndim
    flat = torch.where(index < 0, index + source.shape[axis], index).reshape(-1)
    shape = (*source.shape[:axis], *index.shape, *source.shape[axis + 1 :])
    return (source.index_select(axis, flat).reshape(shape),)


def _resize(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    out = x[0]
    for axis in range(out.ndim):
        size = out.shape[axis]
        scale = _single(a["scales"][axis]) if a["scales"] else _single((a["sizes"][axis] or size) / size)
        new = math.floor(_single(scale * size)) if a["scales"] else a["sizes"][axis] or size
        if new == size and scale == 1:
            continue
        at = _positions(size, new, scale, a["coordinate_transformation_mode"]).to(out.device)
        if a["mode"] == "nearest":
            at = at.floor() if a["nearest_mode"] == "floor" else (at - 0.5).ceil()
            out = out.index_select(axis, at.clamp(0, size - 1).long())
            continue
        at = at.clamp(0, size - 1)
        low = at.floor().long()
        share = (at - low).reshape(-1, *(1,) * (out.ndim - 1 - axis)).to(out.dtype)
        high = (low + 1).clamp(max=size - 1)
        out = out.index_select(axis, low) * (1 - share) + out.index_select(axis, high) * share
    return (out,)


def _single(number: float) -> float:
    """The number rounded to float32, in which ONNX holds scales."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


def _positions(size: int, new: int, scale: float, kind: str) -> Tensor:
    """Where the new samples lie on the old axis, float32."""
    index = torch.arange(new, dtype=torch.float32)
    if kind == "align_corners":
        return index * float(size - 1) / float(max(new - 1, 1))
    if kind == "asymmetric":
        return index / scale
    return (index + 0.5) / scale - 0.5


def _along(values: Tensor, x: Tensor, axis: int) -> Tensor:
    if values.numel() == 1:
        return values.reshape(())
    shape = [1] * x.ndim
    shape[axis] = -1
    return values.reshape(shape)


def _quantize(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, scale, zero = (*x, None)[:3]
    dtype = torch.uint8 if zero is None else zero.dtype
    steps = torch.round(source.float() / _along(scale, source, a["axis"]))  # ties to even
    if zero is not None:
        steps = steps + _along(zero, source, a["axis"]).float()
    ends = torch.iinfo(dtype)
    return (steps.clamp(ends.min, ends.max).to(dtype),)


def _dequantize(x: Inputs, a: dict[str, Any], training: bool) -> tuple[Tensor, ...]:
    source, scale, zero = (*x, None)[:3]
    steps = source.long()
    if zero is not None:
        steps = steps - _along(zero, source, a["axis"]).long()
    return (steps.float() * _along(scale, source, a["axis"]),)


FUNCTIONS: dict[str, Function] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": lambda x, a, training: (x[0] @ x[1],),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "LRN": _response_norm,
    "Relu": lambda x, a, training: (F.relu(x[0]),),
    "LeakyRelu": lambda x, a, training: (F.leaky_relu(x[0], a["alpha"]),),
    "Clip": _clip,
    "Sigmoid": lambda x, a, training: (x[0].sigmoid(),),
    "Tanh": lambda x, a, training: (x[0].tanh(),),
    "HardSigmoid": lambda x, a, training: ((x[0] * a["alpha"] + a["beta"]).clamp(0, 1),),
    "HardSwish": lambda x, a, training: (F.hardswish(x[0]),),
    "Softmax": lambda x, a, training: (x[0].softmax(a["axis"]),),
    "LogSoftmax": lambda x, a, training: (x[0].log_softmax(a["axis"]),),
    "Dropout": lambda x, a, training: (F.dropout(x[0], a["ratio"], training),),
    "Identity": lambda x, a, training: (x[0],),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "Add": lambda x, a, training: (x[0] + x[1],),
    "Sub": lambda x, a, training: (x[0] - x[1],),
    "Mul": lambda x, a, training: (x[0] * x[1],),
    "Div": _div,
    "Concat": lambda x, a, training: (torch.cat(list(x), a["axis"]),),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": lambda x, a, training: (x[0].permute(a["perm"]),),
    "ReduceMean": _reduce_mean,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Gather": _gather,
    "Resize": _resize,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}
