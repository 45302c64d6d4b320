# SPDX-License-Identifier: Apache-2.0
"""Caffe's layer types, each as nodes of the closed operator list: the table LAYERS."""

from __future__ import annotations

import math
from itertools import pairwise

from fireforge.base.graph import Attr
from fireforge.base.ops.activation import HIGHEST, LOWEST
from fireforge.importers.caffe_pen import Layer, Pen, Rule, Wanted
from fireforge.importers.caffe_windows import convolution, deconvolution, inner_product, one, pooling, refused


def _relu(pen: Pen, layer: Layer) -> tuple[str, ...]:
    slope, x = layer.proto.relu_param.negative_slope, one(pen, layer)
    if slope:
        return (pen.node("LeakyRelu", (x,), layer.name, {"alpha": slope}),)
    return (pen.node("Relu", (x,), layer.name),)


def _prelu(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """One slope a channel, or one for all: max(x, 0) + slope * min(x, 0)."""
    x = one(pen, layer)
    channels, shared = pen.channels(x, layer), layer.proto.prelu_param.channel_shared
    column = (1 if shared else channels, *(1,) * (len(pen.shape(x)) - 2))
    slope = pen.weight(layer, "weight", column, stored=() if shared else (channels,))
    above = pen.node("Relu", (x,), f"{layer.name}/above")
    below = pen.node("Sub", (x, above), f"{layer.name}/below")
    below = pen.node("Mul", (below, slope), f"{layer.name}/slope")
    return (pen.node("Add", (above, below), layer.name),)


def _sigmoid(pen: Pen, layer: Layer) -> tuple[str, ...]:
    return (pen.node("Sigmoid", (one(pen, layer),), layer.name),)


def _tanh(pen: Pen, layer: Layer) -> tuple[str, ...]:
    return (pen.node("Tanh", (one(pen, layer),), layer.name),)


def _swish(pen: Pen, layer: Layer) -> tuple[str, ...]:
    x, beta = one(pen, layer), layer.proto.swish_param.beta
    gate = pen.node("Sigmoid", (_times(pen, x, beta, f"{layer.name}/beta"),), f"{layer.name}/gate")
    return (pen.node("Mul", (x, gate), layer.name),)


def _clip(pen: Pen, layer: Layer) -> tuple[str, ...]:
    param = layer.proto.clip_param
    low, high = max(param.min, LOWEST), min(param.max, HIGHEST)
    return (pen.node("Clip", (one(pen, layer),), layer.name, {"min": low, "max": high}),)


def _dropout(pen: Pen, layer: Layer) -> tuple[str, ...]:
    ratio, x = layer.proto.dropout_param.dropout_ratio, one(pen, layer)
    if not 0 <= ratio < 1:
        raise refused(layer, f"dropout_ratio {ratio}", allowed="0 to below 1")
    return (pen.node("Dropout", (x,), layer.name, {"ratio": ratio}),) if ratio else (x,)


def _softmax(pen: Pen, layer: Layer) -> tuple[str, ...]:
    return (pen.node("Softmax", (one(pen, layer),), layer.name, {"axis": layer.proto.softmax_param.axis}),)


def _lrn(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """LRN across channels: Caffe, as ONNX, divides alpha by the number of channels."""
    param, x = layer.proto.lrn_param, one(pen, layer)
    if param.norm_region != 0 or param.local_size % 2 == 0:
        raise refused(layer, f"norm_region {param.norm_region}, local_size {param.local_size}", allowed="0, odd")
    attrs: dict[str, Attr] = {"size": param.local_size, "alpha": param.alpha, "beta": param.beta, "bias": param.k}
    return (pen.node("LRN", (x,), layer.name, attrs),)


def _batch_norm(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """BatchNorm holds statistics and a factor; a Scale behind it fills in scale and shift."""
    param, x = layer.proto.batch_norm_param, one(pen, layer)
    shape = (pen.channels(x, layer),)
    if param.HasField("use_global_stats") and not param.use_global_stats:
        pen.notes.append(f"{layer.name}: use_global_stats is false, read as true: the stored statistics count")
    parts = [
        pen.hold(f"{layer.name}.weight", shape, value=1.0),
        pen.hold(f"{layer.name}.bias", shape, value=0.0),
        pen.hold(f"{layer.name}.running_mean", shape),
        pen.hold(f"{layer.name}.running_var", shape),
    ]
    statistics = [Wanted(name=name, shape=shape, norm=True) for name in parts[2:]]
    pen.want(layer, *statistics, Wanted(name="", shape=(1,)))
    attrs: dict[str, Attr] = {"epsilon": param.eps, "momentum": param.moving_average_fraction}
    made = pen.node("BatchNormalization", (x, *parts), layer.name, attrs)
    pen.plain_norms[made] = layer.name
    return (made,)


def _scale(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Scale: into the batch norm before it, or a product, and a sum where it has a bias."""
    param = layer.proto.scale_param
    if len(layer.bottoms) == 2:
        return (_product(pen, layer),)
    x = one(pen, layer)
    if param.axis != 1 or param.num_axes != 1:
        raise refused(layer, f"axis {param.axis}, num_axes {param.num_axes}", allowed="1 and 1")
    channels = pen.channels(x, layer)
    norm = pen.plain_norms.pop(x, "")
    if norm and layer.sole:
        parts = ("weight", "bias") if param.bias_term else ("weight",)
        names = [f"{norm}.{part}" for part in parts]
        pen.want(layer, *(Wanted(name=name, shape=(channels,)) for name in names))
        for name in names:
            del pen.made[name]
        return (x,)
    column = (channels, *(1,) * (len(pen.shape(x)) - 2))
    weight = pen.weight(layer, "weight", column, stored=(channels,))
    if not param.bias_term:
        return (pen.node("Mul", (x, weight), layer.name),)
    bias = pen.weight(layer, "bias", column, stored=(channels,))
    return (pen.node("Add", (pen.node("Mul", (x, weight), f"{layer.name}/scale"), bias), layer.name),)


def _product(pen: Pen, layer: Layer) -> str:
    """Scale by a second bottom, whose axes stand below those of the first from an axis on."""
    param, (x, factor) = layer.proto.scale_param, layer.bottoms
    rank, shape = len(pen.shape(x)), pen.shape(factor)
    axis = param.axis + rank if param.axis < 0 else param.axis
    if param.bias_term or axis != 0 or len(shape) > rank or shape != pen.shape(x)[: len(shape)]:
        fits = len(shape) == rank and axis == 0  # (N, C, 1, 1) below (N, C, H, W): Caffe itself wants equal sizes
        if param.bias_term or not fits or shape[:2] != pen.shape(x)[:2]:
            raise refused(layer, f"{shape} from axis {axis} of {pen.shape(x)}", allowed="axis 0, without bias")
    if len(shape) < rank:
        attrs: dict[str, Attr] = {"shape": (*(0,) * len(shape), *(1,) * (rank - len(shape)))}
        factor = pen.node("Reshape", (factor,), f"{layer.name}/reshape", attrs)
    return pen.node("Mul", (x, factor), layer.name)


def _bias(pen: Pen, layer: Layer) -> tuple[str, ...]:
    param, x = layer.proto.bias_param, one(pen, layer)
    if param.axis != 1 or param.num_axes != 1:
        raise refused(layer, f"axis {param.axis}, num_axes {param.num_axes}", allowed="1 and 1")
    channels = pen.channels(x, layer)
    column = (channels, *(1,) * (len(pen.shape(x)) - 2))
    return (pen.node("Add", (x, pen.weight(layer, "bias", column, stored=(channels,))), layer.name),)


def _eltwise(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Sum with coefficients, product or maximum of two or more tensors of one shape."""
    param, parts = layer.proto.eltwise_param, list(layer.bottoms)
    if len(parts) < 2 or layer.tops != 1 or (param.coeff and len(param.coeff) != len(parts)):
        got = f"{len(parts)} bottoms, {layer.tops} tops, {len(param.coeff)} coefficients"
        raise refused(layer, got, allowed="2 bottoms or more, 1 top, a coefficient each")
    if param.coeff and param.operation != 1:
        raise refused(layer, "coefficients of what is no sum")
    shapes = {pen.shape(part) for part in parts}
    if len(shapes) > 1:
        raise refused(layer, f"bottoms of shapes {', '.join(map(str, shapes))}", allowed="one shape")
    if param.operation == 1 and list(param.coeff) == [1, -1]:
        return (pen.node("Sub", (parts[0], parts[1]), layer.name),)
    parts = [_times(pen, x, c, f"{layer.name}/coeff") for x, c in zip(parts, param.coeff or [1.0] * len(parts))]
    total = parts[0]
    for i, part in enumerate(parts[1:], 2):
        name = layer.name if i == len(parts) else f"{layer.name}/{i}"
        if param.operation == 2:  # the larger of two: second + max(first - second, 0)
            total = pen.node("Relu", (pen.node("Sub", (total, part), f"{name}/less"),), f"{name}/more")
        total = pen.node("Mul" if param.operation == 0 else "Add", (total, part), name)
    return (total,)


def _times(pen: Pen, x: str, factor: float, name: str) -> str:
    return x if factor == 1 else pen.node("Mul", (x, pen.constant(f"{name}.factor", factor)), name)


def _power(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Power: (shift + scale * x) to the power 1 or 2."""
    param, x = layer.proto.power_param, one(pen, layer)
    if param.power not in (1, 2) or not (math.isfinite(param.scale) and math.isfinite(param.shift)):
        got = f"power {param.power}, scale {param.scale}, shift {param.shift}"
        raise refused(layer, got, allowed="power 1 or 2, numbers that are finite")
    x = _times(pen, x, param.scale, f"{layer.name}/scale")
    if param.shift:
        x = pen.node("Add", (x, pen.constant(f"{layer.name}/shift.term", param.shift)), f"{layer.name}/shift")
    return (pen.node("Mul", (x, x), layer.name),) if param.power == 2 else (x,)


def _concat(pen: Pen, layer: Layer) -> tuple[str, ...]:
    param = layer.proto.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else param.axis
    if not layer.bottoms or layer.tops != 1 or axis == 0:
        raise refused(layer, f"{len(layer.bottoms)} bottoms along axis {axis}", allowed="1 or more, not the batch")
    return (pen.node("Concat", layer.bottoms, layer.name, {"axis": axis}),)


def _slice(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Slice: at the points given, or in equal parts."""
    param, shape = layer.proto.slice_param, pen.shape(layer.bottoms[0]) if layer.bottoms else ()
    axis = param.slice_dim if param.HasField("slice_dim") else param.axis
    axis += len(shape) if axis < 0 else 0
    size = shape[axis] if 0 < axis < len(shape) else 0
    if len(layer.bottoms) != 1 or not layer.tops or not isinstance(size, int) or not size:
        raise refused(layer, f"axis {axis} of {shape} to {layer.tops} tops", allowed="an axis behind the batch")
    points = list(param.slice_point) or [size * i // layer.tops for i in range(1, layer.tops)]
    ends = [0, *points, size]
    parts = tuple(after - before for before, after in pairwise(ends))
    if len(parts) != layer.tops or min(parts) < 1 or (not param.slice_point and size % layer.tops):
        raise refused(
            layer, f"{size} in parts {parts} to {layer.tops} tops", allowed="a part of 1 or more for each top"
        )
    return pen.parts("Split", layer.bottoms, layer.name, {"axis": axis, "split": parts}, layer.tops)


def _split(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Split makes copies; a graph's tensors are read by many without."""
    if len(layer.bottoms) != 1:
        raise refused(layer, f"{len(layer.bottoms)} bottoms", allowed="1")
    return layer.bottoms * layer.tops


def _flatten(pen: Pen, layer: Layer) -> tuple[str, ...]:
    param, x = layer.proto.flatten_param, one(pen, layer)
    rank = len(pen.shape(x))
    if param.axis != 1 or param.end_axis not in (-1, rank - 1):
        raise refused(layer, f"axis {param.axis}, end_axis {param.end_axis}", allowed="1 and -1")
    return (x,) if rank == 2 else (pen.node("Flatten", (x,), layer.name, {"axis": 1}),)


def _reshape(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Reshape of what stands behind the batch; the file's own number of pictures is no size."""
    param, x = layer.proto.reshape_param, one(pen, layer)
    dims = tuple(param.shape.dim)
    if param.axis != 0 or param.num_axes != -1 or not dims:
        raise refused(layer, f"axis {param.axis}, num_axes {param.num_axes}", allowed="the whole shape: 0 and -1")
    shape = pen.shape(x)
    sizes = [shape[i] if dim == 0 and i < len(shape) else dim for i, dim in enumerate(dims)][1:]
    if dims[0] == -1 or -1 not in dims:  # where the batch's place is the open one, or none is, the batch stays
        dims = (0, *dims[1:])
    elif dims[0] != 0:
        pen.notes.append(f"{layer.name}: {dims[0]} pictures read as any number of them")
        dims = (0, *dims[1:])
    if -1 in dims:
        have = math.prod(size for size in shape[1:] if isinstance(size, int))
        rest = math.prod(size for size in sizes if isinstance(size, int) and size != -1)
        if rest < 1 or have % rest:
            raise refused(layer, f"{shape} to {dims}")
        dims = tuple(have // rest if dim == -1 else dim for dim in dims)
    return (pen.node("Reshape", (x,), layer.name, {"shape": dims}),)


def _reduction(pen: Pen, layer: Layer) -> tuple[str, ...]:
    """Reduction: the mean over all axes from one on, times a coefficient."""
    param, x = layer.proto.reduction_param, one(pen, layer)
    rank = len(pen.shape(x))
    axis = param.axis + rank if param.axis < 0 else param.axis
    if param.operation != 4 or not 0 < axis < rank or param.coeff != 1:
        got = f"operation {param.operation}, axis {param.axis}, coeff {param.coeff}"
        raise refused(layer, got, allowed="MEAN, an axis behind the batch, 1")
    return (pen.node("ReduceMean", (x,), layer.name, {"axes": tuple(range(axis, rank)), "keepdims": 0}),)


LAYERS: dict[str, Rule] = {
    "BatchNorm": _batch_norm,
    "Bias": _bias,
    "Clip": _clip,
    "Concat": _concat,
    "Convolution": convolution,
    "Deconvolution": deconvolution,
    "Dropout": _dropout,
    "Eltwise": _eltwise,
    "Flatten": _flatten,
    "InnerProduct": inner_product,
    "LRN": _lrn,
    "PReLU": _prelu,
    "Pooling": pooling,
    "Power": _power,
    "ReLU": _relu,
    "Reduction": _reduction,
    "Reshape": _reshape,
    "Scale": _scale,
    "Sigmoid": _sigmoid,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Swish": _swish,
    "TanH": _tanh,
}
