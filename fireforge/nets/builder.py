# SPDX-License-Identifier: Apache-2.0
"""The pen with which a family writes its Graph: one method a layer, each returning the name of its tensor."""

from __future__ import annotations

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr, Graph, Node, Shape, TensorType
from fireforge.base.infer import filled
from fireforge.base.ops.operator import Typed
from fireforge.base.ops.table import OPERATORS
from fireforge.base.spec import NetSpec

INPUT = "input"
OUTPUT = "logits"


class Builder:
    """Collects nodes and weights; every layer is checked by its operator's shape rule as it is written.

    The tensor that a layer makes has the layer's name. Weights are named as in a torch state dict: "<layer>.weight",
    "<layer>.bias", and for batch norm also "<layer>.running_mean" and "<layer>.running_var".

    Args:
      spec: gives the input's shape, ("N", C, H, W) with the batch as a symbol.
    """

    def __init__(self, spec: NetSpec) -> None:
        self.spec = spec
        self.input = INPUT
        self._nodes: list[Node] = []
        self._weights: list[TensorType] = []
        self._typed: dict[str, Typed | None] = {INPUT: ("float32", ("N", *spec.input_shape))}

    def shape(self, x: str) -> Shape:
        """Shape of a tensor.

        Args:
          x: tensor name.

        Returns:
          The shape, batch first as the symbol "N".
        """
        typed = self._typed[x]
        assert typed is not None
        return typed[1]

    def channels(self, x: str) -> int:
        """Size of the second axis of a tensor."""
        size = self.shape(x)[1]
        assert isinstance(size, int)
        return size

    def conv(
        self,
        x: str,
        filters: int,
        kernel: int,
        *,
        name: str,
        stride: int = 1,
        pad: int = 0,
        groups: int = 1,
        bias: bool = True,
    ) -> str:
        """Convolution with a square kernel.

        Args:
          x: (N, C, H, W).
          filters: K, channels out.
          kernel: R = S.
          name: of the layer.
          stride: step on both axes.
          pad: zeros on all four sides.
          groups: divides C and K; C groups make it depthwise.
          bias: whether one number a filter is added.

        Returns:
          (N, K, H', W').

        Raises:
          FireforgeError: BAD_SPEC, if the shapes do not fit or nothing of the map is left.
        """
        inner = self.channels(x) // max(groups, 1)
        attrs: dict[str, Attr] = {
            "kernel_shape": (kernel, kernel),
            "strides": (stride, stride),
            "pads": (pad, pad, pad, pad),
            "dilations": (1, 1),
            "group": groups,
        }
        inputs: tuple[str, ...] = (x, self._weight(name, "weight", (filters, inner, kernel, kernel)))
        if bias:
            inputs += (self._weight(name, "bias", (filters,)),)
        return self._add("Conv", inputs, name, attrs)

    def linear(self, x: str, units: int, *, name: str, bias: bool = True) -> str:
        """Matrix product with a (units, C) weight.

        Args:
          x: (N, C).
          units: K, numbers out.
          name: of the layer.
          bias: whether one number a unit is added.

        Returns:
          (N, K).
        """
        inputs: tuple[str, ...] = (x, self._weight(name, "weight", (units, self.channels(x))))
        if bias:
            inputs += (self._weight(name, "bias", (units,)),)
        return self._add("Gemm", inputs, name, {"transB": 1})

    def batch_norm(self, x: str, *, name: str, momentum: float = 0.9) -> str:
        """Batch normalization with scale, shift and running statistics.

        Args:
          x: (N, C, ...).
          name: of the layer.
          momentum: share of the old running statistic, ONNX's meaning (torch's is 1 minus it).

        Returns:
          The shape of x.
        """
        parts = ("weight", "bias", "running_mean", "running_var")
        inputs = (x, *(self._weight(name, part, (self.channels(x),)) for part in parts))
        return self._add("BatchNormalization", inputs, name, {"epsilon": 1e-5, "momentum": momentum})

    def relu(self, x: str) -> str:
        """The larger of x and 0."""
        return self._add("Relu", (x,), f"{x}_relu", {})

    def relu6(self, x: str) -> str:
        """The tensor held between 0 and 6."""
        return self._add("Clip", (x,), f"{x}_relu6", {"min": 0.0, "max": 6.0})

    def hard_swish(self, x: str) -> str:
        """The product of x and relu6(x + 3) / 6."""
        return self._add("HardSwish", (x,), f"{x}_hardswish", {})

    def max_pool(self, x: str, kernel: int, *, name: str, stride: int, pad: int = 0, ceil: bool = False) -> str:
        """Greatest number of each square window.

        Args:
          x: (N, C, H, W).
          kernel: side of the window.
          name: of the layer.
          stride: step on both axes.
          pad: border on all four sides.
          ceil: whether a last window may hang over the end (Caffe's way).

        Returns:
          (N, C, H', W').
        """
        return self._add("MaxPool", (x,), name, {**_window(kernel, stride, pad), "ceil_mode": int(ceil)})

    def average_pool(self, x: str, kernel: int, *, name: str, stride: int, pad: int = 0, ceil: bool = False) -> str:
        """Mean of each square window; the border does not count.

        Args:
          x: (N, C, H, W).
          kernel: side of the window.
          name: of the layer.
          stride: step on both axes.
          pad: border on all four sides.
          ceil: whether a last window may hang over the end.

        Returns:
          (N, C, H', W').
        """
        return self._add("AveragePool", (x,), name, {**_window(kernel, stride, pad), "ceil_mode": int(ceil)})

    def global_average_pool(self, x: str, *, name: str = "pool") -> str:
        """Mean of each map: (N, C, H, W) to (N, C, 1, 1)."""
        return self._add("GlobalAveragePool", (x,), name, {})

    def flatten(self, x: str, *, name: str = "flatten") -> str:
        """All axes behind the batch as one: (N, C, H, W) to (N, C * H * W)."""
        return self._add("Flatten", (x,), name, {"axis": 1})

    def dropout(self, x: str, ratio: float, *, name: str = "dropout") -> str:
        """Zeros at random while training; a ratio of 0 writes no layer.

        Args:
          x: any tensor.
          ratio: share of zeros, 0 to below 1.
          name: of the layer.

        Returns:
          The shape of x.
        """
        return self._add("Dropout", (x,), name, {"ratio": ratio}) if ratio else x

    def concat(self, parts: tuple[str, ...], *, name: str) -> str:
        """The parts one behind the other along the channels.

        Args:
          parts: tensors that agree in all other axes.
          name: of the layer.

        Returns:
          (N, sum of C, H, W).
        """
        return self._add("Concat", parts, name, {"axis": 1})

    def add(self, x: str, y: str, *, name: str) -> str:
        """Sum of two tensors of one shape.

        Args:
          x: any tensor.
          y: of the same shape.
          name: of the layer.

        Returns:
          The shape of x.
        """
        return self._add("Add", (x, y), name, {})

    def graph(self, output: str) -> Graph:
        """The network whose answer is one of the tensors; it gets the name "logits".

        Args:
          output: (N, K), made by a layer that no other layer reads.

        Returns:
          The Graph; layers that do not lead to the output are a mistake that `validate` names.
        """
        nodes = tuple(node.replace(outputs=(OUTPUT,)) if node.outputs == (output,) else node for node in self._nodes)
        source = TensorType(name=INPUT, shape=("N", *self.spec.input_shape))
        return Graph(inputs=(source,), outputs=(OUTPUT,), weights=tuple(self._weights), nodes=nodes)

    def _weight(self, layer: str, part: str, shape: tuple[int, ...]) -> str:
        name = f"{layer}.{part}"
        self._weights.append(TensorType(name=name, shape=shape))
        self._typed[name] = ("float32", shape)
        return name

    def _add(self, op: str, inputs: tuple[str, ...], name: str, attrs: dict[str, Attr]) -> str:
        node = Node(name=name, op=op, inputs=inputs, outputs=(name,), attrs=attrs)
        if name in self._typed:
            raise FireforgeError("BAD_SPEC", f"two layers called {name!r}", where=self.spec.family)
        try:
            self._typed[name] = OPERATORS[op].infer([self._typed[x] for x in inputs], filled(node))[0]
        except FireforgeError as error:
            where, allowed = f"{self.spec.family} at {name}", error.allowed
            raise FireforgeError("BAD_SPEC", error.what, where=where, allowed=allowed) from None
        self._nodes.append(node)
        return name


def _window(kernel: int, stride: int, pad: int) -> dict[str, Attr]:
    return {"kernel_shape": (kernel, kernel), "strides": (stride, stride), "pads": (pad, pad, pad, pad)}
