# SPDX-License-Identifier: Apache-2.0
"""What each TFLite operator is in our closed list: its number in the schema to a function that draws it.

Pictures are (N, H, W, C) in the file and (N, C, H, W) here; all other tensors keep their axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr
from fireforge.base.tensorform import TensorForm
from fireforge.importers.drawing import Drawing
from fireforge.importers.flat_tables import Table
from fireforge.importers.tflite_file import Operation, Tensor, TfliteFile

CHANNELS_FIRST = (0, 3, 1, 2)  # of (N, H, W, C), and of kernels (K, R, S, C)
CHANNELS_LAST = (0, 2, 3, 1)
AXES = {0: 0, 1: 2, 2: 3, 3: 1}  # of pictures: there to here
RELU, RELU6 = 1, 3
MOST_STRIDE = 4096
SAME = 0


class Layer:
    """One operator while it is drawn.

    Args:
      file: what it stands in.
      drawing: the graph as it grows.
      names: number of a tensor to its name in the drawing; of those that are computed.
      operation: itself.
    """

    def __init__(self, file: TfliteFile, drawing: Drawing, names: dict[int, str], operation: Operation) -> None:
        self._file, self.drawing, self._names, self._operation = file, drawing, names, operation
        if not operation.outputs or min(operation.outputs) < 0:
            raise FireforgeError("BAD_GRAPH", f"operator {operation.code} without output", where=drawing.where)
        self.made = file.tensors[operation.outputs[0]]
        self.where = self.made.name

    def option(self, slot: int, form: str = "i", default: int = 0) -> int:
        """A whole number of its options."""
        table = self.options
        return default if table is None else table.number(slot, form, default)

    @property
    def options(self) -> Table | None:
        """Its options."""
        return self._operation.options

    @property
    def count(self) -> int:
        """Number of its inputs."""
        return len(self._operation.inputs)

    def has(self, place: int) -> bool:
        """Whether an input is there."""
        return place < self.count and self._operation.inputs[place] >= 0

    def tensor(self, place: int) -> Tensor:
        """An input as the file has it."""
        if not self.has(place):
            raise FireforgeError("BAD_GRAPH", f"no input {place}", where=self.where)
        return self._file.tensors[self._operation.inputs[place]]

    def is_computed(self, place: int) -> bool:
        """Whether an input comes of an operator or is the network's."""
        return self.has(place) and self._operation.inputs[place] in self._names

    def source(self, place: int = 0) -> str:
        """The name of an input that is computed."""
        tensor = self.tensor(place)
        name = self._names.get(self._operation.inputs[place])
        if name is None:
            raise FireforgeError("BAD_GRAPH", f"input {tensor.name!r} is made by no earlier operator", where=self.where)
        return name

    def numbers(self, place: int) -> tuple[int, ...]:
        """A constant input of whole numbers."""
        tensor = self.tensor(place)
        if self.is_computed(place) or tensor.dtype not in ("int32", "int64"):
            self.refuse(f"input {place} that is no constant of whole numbers")
        found = tensor.values.reshape(-1)
        if len(found) > 64:
            self.refuse(f"{len(found)} numbers as input {place}")
        return tuple(int(number) for number in found)

    def refuse(self, what: str) -> NoReturn:
        """Say that it comes in a form that has no counterpart."""
        raise FireforgeError("UNKNOWN_OPERATOR", f"operator {self._operation.code}: {what}", where=self.where)

    def weight(self, name: str, form: TensorForm) -> str:
        """Keep numbers under the layer's name."""
        array = form.q if hasattr(form, "q") else form.array()
        return self.drawing.weight(f"{self.where}.{name}", form, array.shape)

    def add(self, op: str, *inputs: str, attrs: Mapping[str, Attr] | None = None) -> str:
        """Draw a node."""
        return self.drawing.add(op, inputs, name=self.where, attrs=attrs)

    def activated(self, x: str, kind: int) -> str:
        """What is fused behind an operator."""
        if kind == 0:
            return x
        if kind not in (RELU, RELU6):
            self.refuse(f"fused activation {kind}")
        return self.add("Relu", x) if kind == RELU else self.add("Clip", x, attrs={"min": 0.0, "max": 6.0})

    def pads(self, x: str, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
        """Padding "SAME" in numbers, the odd one behind; or none."""
        for number in (*strides, *dilations):
            if not 1 <= number <= MOST_STRIDE:
                self.refuse(f"strides {tuple(strides)}, dilations {tuple(dilations)}")
        shape = self.drawing.shape(x)
        if len(shape) != 4:
            self.refuse(f"windows over {shape}")
        if self.option(0, "b") != SAME:
            return (0, 0, 0, 0)
        totals = []
        for size, extent, stride, dilation in zip(shape[2:], kernel, strides, dilations):
            assert isinstance(size, int)
            totals.append(max((-(-size // stride) - 1) * stride + (extent - 1) * dilation + 1 - size, 0))
        return (*(total // 2 for total in totals), *(total - total // 2 for total in totals))


def _conv(layer: Layer) -> str:
    return _convolution(layer, CHANNELS_FIRST, options=(3, 4, 5))


def _depthwise(layer: Layer) -> str:
    return _convolution(layer, (3, 0, 1, 2), options=(4, 5, 6))


def _convolution(layer: Layer, order: tuple[int, ...], *, options: tuple[int, int, int]) -> str:
    """A convolution; options says where the activation and the dilations stand among its options."""
    x = layer.source()
    kernel = layer.tensor(1)
    if len(kernel.shape) != 4 or layer.is_computed(1) or len(layer.drawing.shape(x)) != 4:
        layer.refuse(f"a kernel of shape {kernel.shape}")
    form = kernel.form(order)
    depth, inside, *window = (kernel.shape[axis] for axis in order)
    if not inside or layer.drawing.channels(x) % inside:
        layer.refuse(f"kernels of {inside} channels over {layer.drawing.channels(x)}")
    strides = (layer.option(2), layer.option(1))
    dilations = (layer.option(options[2], default=1), layer.option(options[1], default=1))
    inputs = [x, layer.weight("weight", form)]
    if layer.has(2):
        inputs.append(_bias(layer, depth))
    attrs: dict[str, Attr] = {"kernel_shape": tuple(window), "strides": strides, "dilations": dilations}
    attrs["pads"] = layer.pads(x, window, strides, dilations)
    attrs["group"] = layer.drawing.channels(x) // inside
    y = layer.add("Conv", *inputs, attrs=attrs)
    return layer.activated(y, layer.option(options[0], "b"))


def _bias(layer: Layer, size: int) -> str:
    tensor = layer.tensor(2)
    if tensor.shape != (size,):
        raise FireforgeError("BAD_SHAPE", f"a bias of {tensor.shape} for {size}", where=layer.where)
    return layer.weight("bias", tensor.form())


def _linear(layer: Layer) -> str:
    kernel = layer.tensor(1)
    if layer.option(1, "b") or layer.is_computed(1) or len(kernel.shape) != 2:
        layer.refuse(f"weights of shape {kernel.shape}, format {layer.option(1, 'b')}")
    if len(layer.made.shape) != 2:
        layer.refuse(f"an output of shape {layer.made.shape}")
    inputs = [_flat(layer), layer.weight("weight", kernel.form())]
    if layer.has(2):
        inputs.append(_bias(layer, kernel.shape[0]))
    return layer.activated(layer.add("Gemm", *inputs, attrs={"transB": 1}), layer.option(0, "b"))


def _flat(layer: Layer) -> str:
    """The first input as (N, K), in the file's order."""
    x = layer.source()
    shape = layer.drawing.shape(x)
    if len(shape) == 2:
        return x
    if len(shape) == 4 and shape[2:] != (1, 1):
        x = layer.add("Transpose", x, attrs={"perm": CHANNELS_LAST})
    return layer.add("Flatten", x)


def _pool(op: str) -> Callable[[Layer], str]:
    def draw(layer: Layer) -> str:
        x = layer.source()
        window, strides = (layer.option(4), layer.option(3)), (layer.option(2), layer.option(1))
        if not all(1 <= side <= MOST_STRIDE for side in window):
            layer.refuse(f"windows of {window}")
        pads = layer.pads(x, window, strides, (1, 1))
        y = layer.add(op, x, attrs={"kernel_shape": window, "strides": strides, "pads": pads})
        return layer.activated(y, layer.option(5, "b"))

    return draw


def _two(op: str) -> Callable[[Layer], str]:
    def draw(layer: Layer) -> str:
        if layer.count != 2:
            layer.refuse(f"{layer.count} inputs")
        like = layer.source(0 if layer.is_computed(0) else 1)
        inputs = [layer.source(i) if layer.is_computed(i) else _constant(layer, i, like) for i in (0, 1)]
        return layer.activated(layer.add(op, *inputs), layer.option(0, "b"))

    return draw


def _constant(layer: Layer, place: int, like: str) -> str:
    """A number, or one a channel."""
    tensor = layer.tensor(place)
    held, rank = tensor.quantization, len(layer.drawing.shape(like))
    size = tensor.shape[-1] if tensor.shape else 1
    one_axis = all(other == 1 for other in tensor.shape[:-1]) and (held is None or held.axis is None)
    if not one_axis or rank not in (2, 4) or size not in (1, layer.drawing.channels(like)):
        layer.refuse(f"a constant of shape {tensor.shape}")
    return layer.weight("weight", tensor.form(shape=(1, size, 1, 1)[:rank]))


def _concat(layer: Layer) -> str:
    inputs = [layer.source(i) for i in range(layer.count)]
    if not inputs:
        layer.refuse("no inputs")
    rank = len(layer.drawing.shape(inputs[0]))
    axis = layer.option(0)
    if not -rank <= axis < rank or axis % rank == 0:
        layer.refuse(f"axis {axis}")
    y = layer.add("Concat", *inputs, attrs={"axis": AXES[axis % rank] if rank == 4 else axis % rank})
    return layer.activated(y, layer.option(1, "b"))


def _reshape(layer: Layer) -> str:
    shape, x = layer.made.shape, layer.source()
    if len(shape) == 2:
        y = _flat(layer)
        return layer.add("Identity", y) if y == x else y
    if len(shape) != 4 or min(shape[1:]) < 1:
        layer.refuse(f"to {shape}")
    if len(layer.drawing.shape(x)) == 4:
        x = layer.add("Transpose", x, attrs={"perm": CHANNELS_LAST})
    x = layer.add("Reshape", x, attrs={"shape": (0, *shape[1:])})
    return layer.add("Transpose", x, attrs={"perm": CHANNELS_FIRST})


def _softmax(layer: Layer) -> str:
    if layer.options is not None and layer.options.real(0, 1.0) != 1.0:
        layer.refuse("a beta that is not 1")
    return layer.add("Softmax", layer.source(), attrs={"axis": 1})


def _mean(layer: Layer) -> str:
    x, axes = layer.source(), layer.numbers(1)
    if len(layer.drawing.shape(x)) != 4 or sorted(axis % 4 for axis in axes) != [1, 2]:
        layer.refuse(f"axes {axes}")
    y = layer.add("GlobalAveragePool", x)
    return y if layer.option(0, "b") else layer.add("Flatten", y)


def _pad(layer: Layer) -> str:
    x, pads = layer.source(), layer.numbers(1)
    good = len(pads) == 8 and pads[:2] == (0, 0) and 0 <= min(pads) <= max(pads) < MOST_STRIDE
    if not good or len(layer.drawing.shape(x)) != 4:
        layer.refuse(f"pads {pads}")
    order = (0, 3, 1, 2)
    both = (*(pads[2 * axis] for axis in order), *(pads[2 * axis + 1] for axis in order))
    return layer.add("Pad", x, attrs={"pads": both})


def _plain(op: str, attrs: Mapping[str, Attr] | None = None) -> Callable[[Layer], str]:
    return lambda layer: layer.add(op, layer.source(), attrs=attrs)


# number in the schema, and the operator
LAYERS: dict[int, Callable[[Layer], str]] = {
    0: _two("Add"),
    1: _pool("AveragePool"),
    2: _concat,
    3: _conv,
    4: _depthwise,
    6: _plain("Identity"),  # DEQUANTIZE: the rounding stands behind what is made
    9: _linear,
    14: _plain("Sigmoid"),
    17: _pool("MaxPool"),
    18: _two("Mul"),
    19: _plain("Relu"),
    21: _plain("Clip", {"min": 0.0, "max": 6.0}),
    22: _reshape,
    25: _softmax,
    34: _pad,
    40: _mean,
    41: _two("Sub"),
    43: _reshape,  # SQUEEZE
    114: _plain("Identity"),  # QUANTIZE
    117: _plain("HardSwish"),
}


def float16_constants(file: TfliteFile) -> dict[int, int]:
    """Tensors that a DEQUANTIZE makes of constants, to those constants: weights that are held in 16 bits."""
    made = {number for operation in file.operations for number in operation.outputs}
    return {
        operation.outputs[0]: operation.inputs[0]
        for operation in file.operations
        if operation.code == 6
        and len(operation.inputs) == len(operation.outputs) == 1
        and operation.inputs[0] >= 0
        and operation.inputs[0] not in {*made, *file.inputs}
        and np.size(file.tensors[operation.inputs[0]].raw)
    }
