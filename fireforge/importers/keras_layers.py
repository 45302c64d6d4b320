# SPDX-License-Identifier: Apache-2.0
"""What each layer of Keras is in our closed list: name to a function that writes the nodes, channels first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr
from fireforge.base.ops.activation import HIGHEST
from fireforge.base.tensorform import Dense
from fireforge.importers.drawing import Drawing, finite
from fireforge.importers.keras_config import Layer

MOST = 2**16  # of a kernel, stride, padding or number of filters
Quad = tuple[int, int, int, int]  # top, left, bottom, right
Inputs = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where layers are written.

    Args:
      drawing: the graph.
      arrays: "<layer>/<role>" to array; what is used is taken out.
      flat: tensors that are maps laid flat, to (C, H, W): Keras has their numbers in the order H, W, C.
      version: of Keras, its first number.
    """

    drawing: Drawing
    arrays: dict[str, np.ndarray]
    flat: dict[str, tuple[int, int, int]]
    version: int


Write = Callable[[Layer, Place, Inputs], str]


def _refuse(layer: Layer, what: str, *, allowed: str = "") -> FireforgeError:
    return FireforgeError("UNKNOWN_OPERATOR", f"{layer.kind} with {what}", where=layer.name[:80], allowed=allowed)


def _one(layer: Layer, place: Place, inputs: Inputs, *, flat: bool = False) -> str:
    """The one tensor that the layer reads; maps laid flat only where their order does not matter."""
    if len(inputs) != 1:
        raise _refuse(layer, f"{len(inputs)} inputs", allowed="1")
    if inputs[0] in place.flat and not flat:
        raise _refuse(layer, "maps that are laid flat", allowed="Dense, Dropout and activations behind Flatten")
    return inputs[0]


def _pair(layer: Layer, key: str, default: Any = 1) -> tuple[int, int]:
    value = layer.config.get(key, default)
    pair = value if isinstance(value, list) else [value, value]
    if len(pair) != 2 or not all(type(size) is int and 1 <= size <= MOST for size in pair):
        raise _refuse(layer, f"{key} {str(value)[:80]}", allowed=f"two whole numbers, 1 to {MOST}")
    return pair[0], pair[1]


def _whole(layer: Layer, key: str, default: int) -> int:
    value = layer.config.get(key, default)
    if type(value) is not int or not 1 <= value <= MOST:
        raise _refuse(layer, f"{key} {str(value)[:80]}", allowed=f"1 to {MOST}")
    return value


def _real(layer: Layer, key: str, default: float) -> float:
    value = layer.config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -HIGHEST <= value <= HIGHEST:
        raise _refuse(layer, f"{key} {str(value)[:80]}", allowed="a number within float32")
    return float(value)


def _flag(layer: Layer, key: str) -> bool:
    return layer.config.get(key, True) is True


def _weight(layer: Layer, place: Place, role: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a role, float32."""
    array = place.arrays.pop(f"{layer.name}/{role}", None)
    if array is None or array.shape != shape:
        what = f"{role} is missing" if array is None else f"{role} has shape {array.shape}"
        raise FireforgeError("BAD_WEIGHTS", what, where=layer.name[:80], allowed=str(shape))
    with np.errstate(over="ignore"):  # what becomes infinite is refused as such
        return finite(array.astype(np.float32), layer.name)


def _keep(layer: Layer, place: Place, role: str, array: np.ndarray) -> str:
    array = np.ascontiguousarray(array)
    return place.drawing.weight(f"{layer.name}.{role}", Dense(values=array), array.shape)


def _first_order(layer: Layer) -> None:
    order = layer.config.get("data_format")
    if order not in (None, "channels_last"):
        raise _refuse(layer, f"data_format {str(order)[:40]}", allowed="channels_last")


def _pads(layer: Layer, place: Place, x: str, *, kernel: tuple[int, int], strides: tuple[int, int]) -> Quad:
    """Keras' padding: none, or with "same" what makes ceil(size / stride) windows, the uneven one behind."""
    mode = layer.config.get("padding", "valid")
    if mode == "valid":
        return (0, 0, 0, 0)
    sizes: Any = place.drawing.shape(x)[2:]
    if mode != "same" or len(sizes) != 2:
        raise _refuse(layer, f"padding {str(mode)[:40]} of {len(sizes)} axes", allowed="valid, same, of two")
    totals = [max((-(-sizes[i] // strides[i]) - 1) * strides[i] + kernel[i] - sizes[i], 0) for i in range(2)]
    return totals[0] // 2, totals[1] // 2, totals[0] - totals[0] // 2, totals[1] - totals[1] // 2


def _reach(layer: Layer, kernel: tuple[int, int]) -> tuple[int, int]:
    steps = _pair(layer, "dilation_rate")
    return (kernel[0] - 1) * steps[0] + 1, (kernel[1] - 1) * steps[1] + 1


def _convolve(layer: Layer, place: Place, x: str, kernel: np.ndarray, *, groups: int, bias: bool) -> str:
    """The convolution of a kernel (K, C / groups, R, S) with the layer's own strides and padding."""
    size = (int(kernel.shape[2]), int(kernel.shape[3]))
    strides = _pair(layer, "strides")
    attrs: dict[str, Attr] = {"kernel_shape": size, "strides": strides, "dilations": _pair(layer, "dilation_rate")}
    attrs["pads"] = _pads(layer, place, x, kernel=_reach(layer, size), strides=strides)
    names = [_keep(layer, place, "weight", kernel)]
    if bias:
        names.append(_keep(layer, place, "bias", _weight(layer, place, "bias", kernel.shape[:1])))
    return place.drawing.add("Conv", (x, *names), name=layer.name, attrs={**attrs, "group": groups})


def _conv(layer: Layer, place: Place, inputs: Inputs) -> str:
    _first_order(layer)
    x, groups = _one(layer, place, inputs), _whole(layer, "groups", 1)
    filters, size = _whole(layer, "filters", 0), _pair(layer, "kernel_size", 0)
    kernel = _weight(layer, place, "kernel", (*size, place.drawing.channels(x) // groups, filters))
    bias = _flag(layer, "use_bias")
    made = _convolve(layer, place, x, kernel.transpose(3, 2, 0, 1), groups=groups, bias=bias)
    return _activated(layer, place, made, layer.config.get("activation"))


def _deep_kernel(layer: Layer, place: Place, x: str) -> np.ndarray:
    """(H, W, C, times) as (C times, 1, H, W): the filters of one channel stand together."""
    channels, times = place.drawing.channels(x), _whole(layer, "depth_multiplier", 1)
    size = _pair(layer, "kernel_size", 0)
    role = "kernel" if f"{layer.name}/kernel" in place.arrays else "depthwise_kernel"
    kernel = _weight(layer, place, role, (*size, channels, times))
    return kernel.transpose(2, 3, 0, 1).reshape(channels * times, 1, *size)


def _depthwise(layer: Layer, place: Place, inputs: Inputs) -> str:
    _first_order(layer)
    x = _one(layer, place, inputs)
    kernel, groups = _deep_kernel(layer, place, x), place.drawing.channels(x)
    made = _convolve(layer, place, x, kernel, groups=groups, bias=_flag(layer, "use_bias"))
    return _activated(layer, place, made, layer.config.get("activation"))


def _separable(layer: Layer, place: Place, inputs: Inputs) -> str:
    _first_order(layer)
    x, filters = _one(layer, place, inputs), _whole(layer, "filters", 0)
    own = Layer(kind=layer.kind, name=f"{layer.name}.depthwise", config=layer.config, inputs=())
    kernel = _deep_kernel(layer, place, x)
    deep = _convolve(own, place, x, kernel, groups=place.drawing.channels(x), bias=False)
    point = _weight(layer, place, "pointwise_kernel", (1, 1, kernel.shape[0], filters)).transpose(3, 2, 0, 1)
    names = [_keep(layer, place, "weight", point)]
    if _flag(layer, "use_bias"):
        names.append(_keep(layer, place, "bias", _weight(layer, place, "bias", (filters,))))
    made = place.drawing.add("Conv", (deep, *names), name=layer.name, attrs={"kernel_shape": (1, 1)})
    return _activated(layer, place, made, layer.config.get("activation"))


def _dense(layer: Layer, place: Place, inputs: Inputs) -> str:
    """Of flat numbers; behind Flatten the rows of the matrix are put into the order C, H, W; of maps, a 1x1 kernel."""
    x, units = _one(layer, place, inputs, flat=True), _whole(layer, "units", 0)
    count = place.drawing.channels(x)
    matrix = _weight(layer, place, "kernel", (count, units))
    if x in place.flat:
        channels, height, width = place.flat[x]
        matrix = matrix.reshape(height, width, channels, units).transpose(2, 0, 1, 3).reshape(count, units)
    maps = len(place.drawing.shape(x)) == 4
    names = [_keep(layer, place, "weight", matrix.T[:, :, None, None] if maps else matrix.T)]
    if _flag(layer, "use_bias"):
        names.append(_keep(layer, place, "bias", _weight(layer, place, "bias", (units,))))
    attrs: dict[str, Attr] = {"kernel_shape": (1, 1)} if maps else {"transB": 1}
    made = place.drawing.add("Conv" if maps else "Gemm", (x, *names), name=layer.name, attrs=attrs)
    return _activated(layer, place, made, layer.config.get("activation"))


def _norm(layer: Layer, place: Place, inputs: Inputs) -> str:
    x = _one(layer, place, inputs)
    rank, count = len(place.drawing.shape(x)), place.drawing.channels(x)
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, rank - 1):
        raise _refuse(layer, f"axis {str(axis)[:40]}", allowed="the channels")
    mean, variance = (_weight(layer, place, role, (count,)) for role in ("moving_mean", "moving_variance"))
    if variance.min() < 0:
        raise FireforgeError("BAD_WEIGHTS", "a variance below 0", where=layer.name[:80])
    # no larger than what the file was just seen to hold
    scale = _weight(layer, place, "gamma", (count,)) if _flag(layer, "scale") else np.ones(count, np.float32)
    shift = _weight(layer, place, "beta", (count,)) if _flag(layer, "center") else np.zeros(count, np.float32)
    parts = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    names = [_keep(layer, place, ours, array) for ours, array in parts.items()]
    attrs: dict[str, Attr] = {"epsilon": _real(layer, "epsilon", 1e-3)}
    return place.drawing.add("BatchNormalization", (x, *names), name=layer.name, attrs=attrs)


def _pool(op: str) -> Write:
    def write(layer: Layer, place: Place, inputs: Inputs) -> str:
        _first_order(layer)
        x, kernel = _one(layer, place, inputs), _pair(layer, "pool_size", 2)
        strides = _pair(layer, "strides") if layer.config.get("strides") is not None else kernel
        pads = _pads(layer, place, x, kernel=kernel, strides=strides)
        attrs: dict[str, Attr] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        return place.drawing.add(op, (x,), name=layer.name, attrs=attrs)

    return write


def _whole_pool(op: str) -> Write:
    def write(layer: Layer, place: Place, inputs: Inputs) -> str:
        _first_order(layer)
        made = place.drawing.add(op, (_one(layer, place, inputs),), name=layer.name)
        if layer.config.get("keepdims", False) is True:
            return made
        return place.drawing.add("Flatten", (made,), name=f"{layer.name}.flat")

    return write


def _flatten(layer: Layer, place: Place, inputs: Inputs) -> str:
    _first_order(layer)
    x = _one(layer, place, inputs)
    shape: Any = place.drawing.shape(x)
    made = place.drawing.add("Flatten", (x,), name=layer.name)
    if len(shape) == 4 and shape[2] * shape[3] > 1:
        place.flat[made] = shape[1:]
    return made


def _reshape(layer: Layer, place: Place, inputs: Inputs) -> str:
    """Between (C) and (1, 1, C), which need no other order."""
    x, target = _one(layer, place, inputs), layer.config.get("target_shape")
    shape: Any = place.drawing.shape(x)
    if len(shape) == 2 and target in ([1, 1, shape[1]], [1, 1, -1]):
        return place.drawing.add("Reshape", (x,), name=layer.name, attrs={"shape": (0, 0, 1, 1)})
    if shape[2:] == (1, 1) and target in ([shape[1]], [-1]):
        return place.drawing.add("Flatten", (x,), name=layer.name)
    raise _refuse(layer, f"target_shape {str(target)[:80]}", allowed="(C) to (1, 1, C) or back")


def _zero_padding(layer: Layer, place: Place, inputs: Inputs) -> str:
    _first_order(layer)
    x, given = _one(layer, place, inputs), layer.config.get("padding", 1)
    rows = given if isinstance(given, list) else [given, given]
    ends = [row if isinstance(row, list) else [row, row] for row in rows]
    good = len(ends) == 2 and all(len(row) == 2 and all(type(n) is int and 0 <= n <= MOST for n in row) for row in ends)
    if not good:
        raise _refuse(layer, f"padding {str(given)[:80]}", allowed="((top, bottom), (left, right))")
    pads = (0, 0, ends[0][0], ends[1][0], 0, 0, ends[0][1], ends[1][1])
    return place.drawing.add("Pad", (x,), name=layer.name, attrs={"pads": pads})


def _join(op: str) -> Write:
    def write(layer: Layer, place: Place, inputs: Inputs) -> str:
        if len(inputs) < 2 or any(x in place.flat for x in inputs):
            raise _refuse(layer, f"{len(inputs)} inputs, or maps that are laid flat", allowed="two or more")
        x = inputs[0]
        for other in inputs[1:]:
            x = place.drawing.add(op, (x, other), name=layer.name)
        return x

    return write


def _concatenate(layer: Layer, place: Place, inputs: Inputs) -> str:
    axis = layer.config.get("axis", -1)
    rank = len(place.drawing.shape(inputs[0]))
    if axis not in (-1, rank - 1) or any(x in place.flat for x in inputs):
        raise _refuse(layer, f"axis {str(axis)[:40]}, or maps that are laid flat", allowed="the channels")
    return place.drawing.add("Concat", inputs, name=layer.name, attrs={"axis": 1})


def _relu(layer: Layer, place: Place, inputs: Inputs) -> str:
    x = _one(layer, place, inputs, flat=True)
    slope, most = _real(layer, "negative_slope", 0.0), layer.config.get("max_value")
    if _real(layer, "threshold", 0.0) or (slope and most is not None):
        raise _refuse(layer, "a threshold, or a slope and a greatest value", allowed="one of slope and greatest value")
    if slope:
        return _elementwise(place, "LeakyRelu", x, name=layer.name, attrs={"alpha": slope})
    if most is not None:
        return _elementwise(place, "Clip", x, name=layer.name, attrs={"min": 0.0, "max": _real(layer, "max_value", 0)})
    return _elementwise(place, "Relu", x, name=layer.name, attrs={})


def _leaky(layer: Layer, place: Place, inputs: Inputs) -> str:
    key = "negative_slope" if "negative_slope" in layer.config else "alpha"
    attrs: dict[str, Attr] = {"alpha": _real(layer, key, 0.3)}
    return _elementwise(place, "LeakyRelu", _one(layer, place, inputs, flat=True), name=layer.name, attrs=attrs)


def _elementwise(place: Place, op: str, x: str, *, name: str, attrs: dict[str, Attr]) -> str:
    """A function of each number, through which maps laid flat keep their order."""
    made = place.drawing.add(op, (x,), name=name, attrs=attrs)
    if x in place.flat:
        place.flat[made] = place.flat[x]
    return made


def _activation(layer: Layer, place: Place, inputs: Inputs) -> str:
    own = Layer(kind=layer.kind, name=layer.name, config=layer.config, inputs=())
    return _activated(own, place, _one(layer, place, inputs, flat=True), layer.config.get("activation"))


def _softmax(layer: Layer, place: Place, inputs: Inputs) -> str:
    rank = len(place.drawing.shape(inputs[0]))
    if layer.config.get("axis", -1) not in (-1, rank - 1):
        raise _refuse(layer, f"axis {str(layer.config.get('axis'))[:40]}", allowed="the channels")
    return _activated(layer, place, _one(layer, place, inputs), "softmax")


PLAIN: dict[str, tuple[str, dict[str, Attr]]] = {
    "relu": ("Relu", {}),
    "relu6": ("Clip", {"min": 0.0, "max": 6.0}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "hard_silu": ("HardSwish", {}),
    "hard_swish": ("HardSwish", {}),
}


def _activated(layer: Layer, place: Place, x: str, function: Any) -> str:
    """The tensor behind an activation that is named; a description of one is code of somebody's own."""
    if function is not None and not isinstance(function, (str, dict)):
        raise _refuse(layer, f"activation {str(function)[:80]}", allowed=", ".join(sorted(PLAIN)))
    if isinstance(function, dict):
        what = f"activation {str(function.get('class_name'))[:80]} of {layer.kind} is not one of Keras' own names"
        raise FireforgeError("UNSAFE_FILE", what, where=layer.name[:80], allowed=", ".join(sorted(PLAIN)))
    name = f"{layer.name}.{function}"
    if function in (None, "linear"):
        return x
    if function in PLAIN:
        return _elementwise(place, PLAIN[function][0], x, name=name, attrs=PLAIN[function][1])
    if function == "hard_sigmoid":  # x / 5 + 0.5 until version 2, x / 6 + 0.5 from 3 on
        attrs: dict[str, Attr] = {"alpha": 0.2 if place.version < 3 else 1 / 6, "beta": 0.5}
        return _elementwise(place, "HardSigmoid", x, name=name, attrs=attrs)
    if function in ("silu", "swish") and x not in place.flat:
        return place.drawing.add("Mul", (x, place.drawing.add("Sigmoid", (x,), name=f"{name}.gate")), name=name)
    if function == "softmax" and x not in place.flat:
        return place.drawing.add("Softmax", (x,), name=name, attrs={"axis": 1})
    raise _refuse(
        layer, f"activation {str(function)[:80]}", allowed=", ".join(sorted((*PLAIN, "hard_sigmoid", "silu")))
    )


def _dropout(layer: Layer, place: Place, inputs: Inputs) -> str:
    return _one(layer, place, inputs, flat=True)


LAYERS: dict[str, Write] = {
    "Activation": _activation,
    "Add": _join("Add"),
    "AveragePooling2D": _pool("AveragePool"),
    "BatchNormalization": _norm,
    "Concatenate": _concatenate,
    "Conv2D": _conv,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _whole_pool("GlobalAveragePool"),
    "GlobalMaxPooling2D": _whole_pool("GlobalMaxPool"),
    "LeakyReLU": _leaky,
    "MaxPooling2D": _pool("MaxPool"),
    "Multiply": _join("Mul"),
    "ReLU": _relu,
    "Reshape": _reshape,
    "SeparableConv2D": _separable,
    "Softmax": _softmax,
    "SpatialDropout2D": _dropout,
    "ZeroPadding2D": _zero_padding,
}
