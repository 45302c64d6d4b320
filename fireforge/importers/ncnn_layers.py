# SPDX-License-Identifier: Apache-2.0
"""What each layer type of ncnn is in our closed list: name to a function that writes the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr
from fireforge.base.tensorform import Dense
from fireforge.importers.drawing import Drawing
from fireforge.importers.ncnn_numbers import Numbers
from fireforge.importers.ncnn_param import Layer

Quad = tuple[int, int, int, int]  # top, left, bottom, right
MOST = 2**16  # of a kernel, stride, padding or number of filters
SAME_UPPER, SAME_LOWER = -233, -234  # in the place of a padding
SIXTH = 1 / 6
ACTIVATIONS = {0: "", 1: "ReLU", 2: "LeakyReLU", 3: "Clip", 4: "Sigmoid", 6: "HardSwish"}  # fused, under keys 9 and 10


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a layer is written: the drawing, the file of numbers, and the tensors that it reads."""

    drawing: Drawing
    numbers: Numbers
    inputs: tuple[str, ...]

    @property
    def x(self) -> str:
        """The first tensor."""
        return self.inputs[0]


Write = Callable[[Layer, Place], str]


def _refuse(layer: Layer, what: str, *, allowed: str = "") -> FireforgeError:
    return FireforgeError("UNKNOWN_OPERATOR", f"{layer.kind} with {what}", where=layer.name[:80], allowed=allowed)


def _size(layer: Layer, key: int, default: int, *, least: int = 1) -> int:
    value = layer.whole(key, default)
    if not least <= value <= MOST:
        raise FireforgeError("BAD_MODEL_FILE", f"{key}={value}", where=layer.name, allowed=f"{least} to {MOST}")
    return value


def _pair(layer: Layer, keys: tuple[int, int], default: int) -> tuple[int, int]:
    """(height, width) of two keys: the width's, and the height's, which is the width where it is absent."""
    width = _size(layer, keys[0], default)
    return _size(layer, keys[1], width), width


def _quad(layer: Layer, keys: tuple[int, int, int, int]) -> Quad:
    """Padding of keys left, top, right, bottom: right is left where absent, top is left, bottom is top."""
    left = _size(layer, keys[0], 0, least=0)
    top = _size(layer, keys[1], left, least=0)
    return top, left, _size(layer, keys[3], top, least=0), _size(layer, keys[2], left, least=0)


def _extent(place: Place) -> tuple[int, int]:
    """(height, width) of the first tensor."""
    shape = place.drawing.shape(place.x)
    sizes = [size for size in shape[2:] if isinstance(size, int)]
    if len(sizes) != 2:
        raise FireforgeError("BAD_SHAPE", f"a tensor of shape {shape}", where=place.x[:80], allowed="(N, C, H, W)")
    return sizes[0], sizes[1]


def _maps(place: Place, name: str) -> Place:
    """The place with its first tensor as maps: numbers that are laid flat become maps of 1 x 1."""
    if len(place.drawing.shape(place.x)) != 2:
        return place
    maps = place.drawing.add("Reshape", (place.x,), name=f"{name}_maps", attrs={"shape": (0, 0, 1, 1)})
    return Place(drawing=place.drawing, numbers=place.numbers, inputs=(maps, *place.inputs[1:]))


def _same(place: Place, kernel: tuple[int, int], strides: tuple[int, int], *, lower: bool) -> Quad:
    """Padding that makes ceil(size / stride) windows; what is uneven goes to the end, or with lower to the begin."""
    first, last = [], []
    for size, extent, stride in zip(_extent(place), kernel, strides):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        small, large = total // 2, total - total // 2
        first.append(large if lower else small)
        last.append(small if lower else large)
    return first[0], first[1], last[0], last[1]


def _fused(layer: Layer, place: Place, x: str) -> str:
    """The activation that a layer with weights ends with."""
    kind = ACTIVATIONS.get(layer.whole(9, 0))
    given = layer.lists.get(10, ())
    if kind is None:
        raise _refuse(layer, f"activation {layer.whole(9, 0)}", allowed=", ".join(map(str, ACTIVATIONS)))
    if not kind:
        return x
    if len(given) != {"LeakyReLU": 1, "Clip": 2, "HardSwish": 2}.get(kind, len(given)):
        raise _refuse(layer, f"activation {kind} of {len(given)} numbers")
    if kind == "LeakyReLU":
        return place.drawing.add("LeakyRelu", (x,), name=f"{layer.name}_act", attrs={"alpha": float(given[0])})
    values = dict(enumerate(given)) if kind in ("Clip", "HardSwish") else {}
    own = Layer(kind=kind, name=f"{layer.name}_act", inputs=(), outputs=(), values=values, lists={})
    return LAYERS[kind](own, Place(drawing=place.drawing, numbers=place.numbers, inputs=(x,)))


def _filters(layer: Layer, place: Place, shape: tuple[int, ...], *, keys: tuple[int, int]) -> list[str]:
    """Weight and, where there is one, bias; keys: of the number of weights, and of whether there is a bias."""
    count, wanted = layer.whole(keys[0], 0), 1
    for size in shape:
        wanted *= size
    if count != wanted:
        raise FireforgeError(
            "BAD_MODEL_FILE", f"{count} weights for shape {shape}", where=layer.name, allowed=str(wanted)
        )
    form = place.numbers.tagged(shape, layer=layer.name)
    names = [place.drawing.weight(f"{layer.name}.weight", form, shape)]
    if layer.whole(keys[1], 0):
        bias = place.numbers.plain(shape[0], layer=layer.name)
        names.append(place.drawing.weight(f"{layer.name}.bias", bias, shape[:1]))
    return names


def _convolution(layer: Layer, place: Place) -> str:
    deep = layer.kind == "ConvolutionDepthWise"
    layer.only(0, 1, 2, 3, 4, 5, 6, *((7,) if deep else ()), 9, 10, 11, 12, 13, 14, 15, 16)
    place = _maps(place, layer.name)
    filters, groups = _size(layer, 0, 0), _size(layer, 7, 1) if deep else 1
    channels = place.drawing.channels(place.x)
    if channels % groups or filters % groups:
        raise FireforgeError("BAD_MODEL_FILE", f"{groups} groups of {channels} channels", where=layer.name)
    kernel, strides = _pair(layer, (1, 11), 0), _pair(layer, (3, 13), 1)
    dilations = _pair(layer, (2, 12), 1)
    if layer.whole(4, 0) in (SAME_UPPER, SAME_LOWER):
        reach = tuple((size - 1) * step + 1 for size, step in zip(kernel, dilations))
        pads = _same(place, (reach[0], reach[1]), strides, lower=layer.whole(4, 0) == SAME_LOWER)
    else:
        pads = _quad(layer, (4, 14, 15, 16))
    attrs: dict[str, Attr] = {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations}
    weights = _filters(layer, place, (filters, channels // groups, *kernel), keys=(6, 5))
    made = place.drawing.add("Conv", (place.x, *weights), name=layer.name, attrs={**attrs, "group": groups})
    return _fused(layer, place, made)


def _inner_product(layer: Layer, place: Place) -> str:
    layer.only(0, 1, 2, 9, 10)
    x = _flat(layer, place)
    filters = _size(layer, 0, 0)
    weights = _filters(layer, place, (filters, place.drawing.channels(x)), keys=(2, 1))
    return _fused(layer, place, place.drawing.add("Gemm", (x, *weights), name=layer.name, attrs={"transB": 1}))


def _flat(layer: Layer, place: Place) -> str:
    if len(place.drawing.shape(place.x)) == 2:
        return place.x
    return place.drawing.add("Flatten", (place.x,), name=f"{layer.name}_flat")


def _flatten(layer: Layer, place: Place) -> str:
    layer.only()
    return _flat(layer, place)


def _reshape(layer: Layer, place: Place) -> str:
    layer.only(0, 1, 2)
    if layer.values != {0: -1}:
        raise _refuse(layer, "sizes", allowed="0=-1: all numbers in one row")
    return _flat(layer, place)


def _pooling(layer: Layer, place: Place) -> str:
    layer.only(0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15)
    average, whole = layer.whole(0, 0), layer.whole(4, 0)
    if average not in (0, 1):
        raise _refuse(layer, f"pooling type {average}", allowed="0 max, 1 average")
    if whole:
        op = "GlobalAveragePool" if average else "GlobalMaxPool"
        return place.drawing.add(op, (_maps(place, layer.name).x,), name=layer.name)
    kernel, strides = _pair(layer, (1, 11), 0), _pair(layer, (2, 12), 1)
    pads, mode = _quad(layer, (3, 13, 14, 15)), layer.whole(5, 0)
    if mode == 0:  # what the last window lacks is padding behind: ncnn's "full"
        sizes = _extent(place)
        rest = [-(sizes[i] + pads[i] + pads[2 + i] - kernel[i]) % strides[i] for i in range(2)]
        pads = (pads[0], pads[1], pads[2] + rest[0], pads[3] + rest[1])
    elif mode in (2, 3):
        pads = _same(place, kernel, strides, lower=mode == 3)
    elif mode != 1:
        raise _refuse(layer, f"padding mode {mode}", allowed="0, 1, 2, 3")
    attrs: dict[str, Attr] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    if average:
        attrs["count_include_pad"] = int(layer.whole(6, 0) != 0)
    return place.drawing.add("AveragePool" if average else "MaxPool", (place.x,), name=layer.name, attrs=attrs)


def _relu(layer: Layer, place: Place) -> str:
    layer.only(0)
    slope = layer.real(0, 0.0)
    if slope:
        return place.drawing.add("LeakyRelu", (place.x,), name=layer.name, attrs={"alpha": slope})
    return place.drawing.add("Relu", (place.x,), name=layer.name)


def _clip(layer: Layer, place: Place) -> str:
    layer.only(0, 1)
    if not {0, 1} <= layer.values.keys():
        raise _refuse(layer, "an open end", allowed="0=lowest 1=highest")
    attrs: dict[str, Attr] = {"min": layer.real(0, 0), "max": layer.real(1, 0)}
    return place.drawing.add("Clip", (place.x,), name=layer.name, attrs=attrs)


def _hard_sigmoid(layer: Layer, place: Place) -> str:
    layer.only(0, 1)
    attrs: dict[str, Attr] = {"alpha": layer.real(0, 0.2), "beta": layer.real(1, 0.5)}
    return place.drawing.add("HardSigmoid", (place.x,), name=layer.name, attrs=attrs)


def _hard_swish(layer: Layer, place: Place) -> str:
    if abs(layer.real(0, 0.2) - SIXTH) < 1e-6 and layer.real(1, 0.5) == 0.5:  # the text has six or seven digits
        layer.only(0, 1)
        return place.drawing.add("HardSwish", (place.x,), name=layer.name)
    own = Layer(
        kind=layer.kind, name=f"{layer.name}_gate", inputs=(), outputs=(), values=layer.values, lists=layer.lists
    )
    return place.drawing.add("Mul", (place.x, _hard_sigmoid(own, place)), name=layer.name)


def _batch_norm(layer: Layer, place: Place) -> str:
    layer.only(0, 1)
    count = _size(layer, 0, 0)
    scale, mean, variance, shift = (place.numbers.plain(count, layer=layer.name) for _ in range(4))
    if variance.values.min() < 0:
        raise FireforgeError("BAD_WEIGHTS", "a variance below 0", where=layer.name[:80])
    roles = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    names = [place.drawing.weight(f"{layer.name}.{role}", form, (count,)) for role, form in roles.items()]
    attrs: dict[str, Attr] = {"epsilon": layer.real(1, 0.0)}
    return place.drawing.add("BatchNormalization", (place.x, *names), name=layer.name, attrs=attrs)


def _scale(layer: Layer, place: Place) -> str:
    layer.only(0, 1)
    count = _size(layer, 0, 0)
    shape = (count, *(1,) * (len(place.drawing.shape(place.x)) - 2))
    with_bias = bool(layer.whole(1, 0))
    x = place.x
    for role, op in (("weight", "Mul"), ("bias", "Add"))[: 2 if with_bias else 1]:
        values = place.numbers.plain(count, layer=layer.name).values.reshape(shape)
        weight = place.drawing.weight(f"{layer.name}.{role}", Dense(values=values), shape)
        x = place.drawing.add(op, (x, weight), name=layer.name if role == "weight" else f"{layer.name}_bias")
    return x


def _chain(layer: Layer, place: Place, op: str) -> str:
    """The tensors joined two by two; numbers that are laid flat are put beside maps as maps of 1 x 1."""
    flat = {len(place.drawing.shape(x)) == 2 for x in place.inputs}
    names = list(place.inputs)
    if len(flat) == 2:
        one = [Place(drawing=place.drawing, numbers=place.numbers, inputs=(x,)) for x in names]
        names = [_maps(item, f"{layer.name}_{i}").x for i, item in enumerate(one)]
    x = names[0]
    for other in names[1:]:
        x = place.drawing.add(op, (x, other), name=layer.name)
    return x


def _eltwise(layer: Layer, place: Place) -> str:
    layer.only(0, 1)
    op = {0: "Mul", 1: "Add"}.get(layer.whole(0, 0))
    if op is None or len(place.inputs) < 2 or any(number != 1 for number in layer.lists.get(1, ())):
        raise _refuse(
            layer, f"type {layer.whole(0, 0)} or coefficients", allowed="0 product, 1 plain sum, of two or more"
        )
    return _chain(layer, place, op)


def _binary(layer: Layer, place: Place) -> str:
    layer.only(0)
    op = {0: "Add", 1: "Sub", 2: "Mul", 3: "Div"}.get(layer.whole(0, 0))
    if op is None or len(place.inputs) != 2:
        raise _refuse(layer, f"type {layer.whole(0, 0)}", allowed="0 to 3, of two tensors")
    return _chain(layer, place, op)


def _concat(layer: Layer, place: Place) -> str:
    layer.only(0)
    rank = len(place.drawing.shape(place.x))
    if layer.whole(0, 0) not in (0, 1 - rank):
        raise _refuse(layer, f"axis {layer.whole(0, 0)}", allowed="0: the channels")
    return place.drawing.add("Concat", place.inputs, name=layer.name, attrs={"axis": 1})


def _dropout(layer: Layer, place: Place) -> str:
    layer.only(0)
    if layer.real(0, 1.0) != 1:
        raise _refuse(layer, f"scale {layer.real(0, 1.0)}", allowed="1")
    return place.x


def _softmax(layer: Layer, place: Place) -> str:
    layer.only(0, 1)
    if layer.whole(0, 0) != 0:
        raise _refuse(layer, f"axis {layer.whole(0, 0)}", allowed="0: the channels")
    return place.drawing.add("Softmax", (place.x,), name=layer.name, attrs={"axis": 1})


def _response(layer: Layer, place: Place) -> str:
    layer.only(0, 1, 2, 3, 4)
    if layer.whole(0, 0) != 0:
        raise _refuse(layer, f"region {layer.whole(0, 0)}", allowed="0: across channels")
    attrs: dict[str, Attr] = {"size": _size(layer, 1, 5), "alpha": layer.real(2, 1.0), "beta": layer.real(3, 0.75)}
    return place.drawing.add("LRN", (place.x,), name=layer.name, attrs={**attrs, "bias": layer.real(4, 1.0)})


def _function(op: str) -> Write:
    def write(layer: Layer, place: Place) -> str:
        layer.only()
        return place.drawing.add(op, (place.x,), name=layer.name)

    return write


def _same_tensor(layer: Layer, place: Place) -> str:
    layer.only()
    return place.x


LAYERS: dict[str, Write] = {
    "BatchNorm": _batch_norm,
    "BinaryOp": _binary,
    "Clip": _clip,
    "Concat": _concat,
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "Dropout": _dropout,
    "Eltwise": _eltwise,
    "Flatten": _flatten,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "InnerProduct": _inner_product,
    "LRN": _response,
    "Noop": _same_tensor,
    "Pooling": _pooling,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Scale": _scale,
    "Sigmoid": _function("Sigmoid"),
    "Softmax": _softmax,
    "Split": _same_tensor,
    "TanH": _function("Tanh"),
}
