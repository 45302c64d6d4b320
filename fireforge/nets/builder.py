# SPDX-License-Identifier: Apache-2.0
"""The pen with which a family writes its Graph: one method a layer, each returning the name of its tensor."""

from __future__ import annotations

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr, Graph, Node, TensorType
from fireforge.base.growing import Growing
from fireforge.base.infer import filled
from fireforge.base.ops.slicing import FAR
from fireforge.base.ops.table import OPERATORS
from fireforge.base.spec import NetSpec

INPUT = "input"
OUTPUT = "logits"


class Builder(Growing):
    """Collects nodes and weights; every layer is checked by its operator's shape rule as it is written.

    The tensor that a layer makes has the layer's name. Weights are named as in a torch state dict: "<layer>.weight",
    "<layer>.bias", and for batch norm also "<layer>.running_mean" and "<layer>.running_var".

    Args:
      spec: gives the input's shape, ("N", C, H, W) with the batch as a symbol.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__({INPUT: ("float32", ("N", *spec.input_shape))})
        self.spec = spec
        self.input = INPUT
        self._nodes: list[Node] = []
        self._weights: list[TensorType] = []

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
        inputs: tuple[str, ...] = (x, self.weight(name, "weight", (filters, inner, kernel, kernel)))
        if bias:
            inputs += (self.weight(name, "bias", (filters,)),)
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
        inputs: tuple[str, ...] = (x, self.weight(name, "weight", (units, self.channels(x))))
        if bias:
            inputs += (self.weight(name, "bias", (units,)),)
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
        inputs = (x, *(self.weight(name, part, (self.channels(x),)) for part in parts))
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

    def sigmoid(self, x: str) -> str:
        """The tensor pressed between 0 and 1: 1 / (1 + exp(-x))."""
        return self._add("Sigmoid", (x,), f"{x}_sigmoid", {})

    def hard_sigmoid(self, x: str) -> str:
        """The product relu6(x + 3) / 6 without its x: a sigmoid of straight lines."""
        return self._add("HardSigmoid", (x,), f"{x}_hardsigmoid", {"alpha": 1 / 6, "beta": 0.5})

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

    def multiply(self, x: str, y: str, *, name: str) -> str:
        """Product of two tensors, number by number.

        Args:
          x: any tensor.
          y: of the same shape, or of one that is stretched to it, as (N, C, 1, 1).
          name: of the layer.

        Returns:
          The shape of x.
        """
        return self._add("Mul", (x, y), name, {})

    def split(self, x: str, sizes: tuple[int, ...], *, name: str) -> tuple[str, ...]:
        """The channels in parts.

        Args:
          x: (N, C, H, W).
          sizes: channels of each part; they make C.
          name: of the layer; the parts have ".0", ".1" and so on behind it.

        Returns:
          A (N, size, H, W) for each size.
        """
        parts = tuple(f"{name}.{i}" for i in range(len(sizes)))
        return self._write("Split", (x,), name, {"axis": 1, "split": sizes}, parts)

    def subsample(self, x: str, step: int, *, name: str) -> str:
        """Each step-th row and column of the maps, from the first.

        Args:
          x: (N, C, H, W).
          step: on both axes.
          name: of the layer.

        Returns:
          (N, C, ceil(H / step), ceil(W / step)).
        """
        attrs: dict[str, Attr] = {"starts": (0, 0), "ends": (FAR, FAR), "axes": (2, 3), "steps": (step, step)}
        return self._add("Slice", (x,), name, attrs)

    def zero_channels(self, x: str, before: int, behind: int, *, name: str) -> str:
        """Maps of zeros before and behind those of the tensor.

        Args:
          x: (N, C, H, W).
          before: number of maps before.
          behind: number of maps behind.
          name: of the layer.

        Returns:
          (N, before + C + behind, H, W).
        """
        pads = (0, before, 0, 0, 0, behind, 0, 0)
        return self._add("Pad", (x,), name, {"pads": pads, "mode": "constant", "value": 0.0})

    def reshape(self, x: str, shape: tuple[int, ...], *, name: str) -> str:
        """The same numbers in another shape.

        Args:
          x: any tensor.
          shape: sizes; 0 keeps that of x at its place.
          name: of the layer.

        Returns:
          A tensor of that shape.
        """
        return self._add("Reshape", (x,), name, {"shape": shape})

    def transpose(self, x: str, axes: tuple[int, ...], *, name: str) -> str:
        """The axes in another order.

        Args:
          x: any tensor.
          axes: which axis of x stands at each place.
          name: of the layer.

        Returns:
          The tensor with its axes so.
        """
        return self._add("Transpose", (x,), name, {"perm": axes})

    def response_norm(self, x: str, *, name: str, alpha: float = 1e-4, bias: float = 1.0) -> str:
        """Each number divided by (bias + alpha * mean of squares of 5 neighbouring channels) to the power 0.75.

        Args:
          x: (N, C, H, W).
          name: of the layer.
          alpha: share of the mean, as in Caffe; 5 times that of a paper whose alpha stands before the sum.
          bias: k of the papers; 1 in Caffe.

        Returns:
          The shape of x.
        """
        return self._add("LRN", (x,), name, {"size": 5, "alpha": alpha, "beta": 0.75, "bias": bias})

    def weight(self, layer: str, part: str, shape: tuple[int, ...]) -> str:
        """A float32 tensor that is trained, called "<layer>.<part>"."""
        name = f"{layer}.{part}"
        self._weights.append(TensorType(name=name, shape=shape))
        self._typed[name] = ("float32", shape)
        return name

    def constant(
        self, name: str, values: tuple[float, ...], shape: tuple[int, ...] = (), dtype: str = "float32"
    ) -> str:
        """Numbers that belong to the network and are never trained.

        Args:
          name: of the tensor.
          values: one a place, in C order.
          shape: () for a single number.
          dtype: such as "int64" for indices.

        Returns:
          The tensor's name.
        """
        self._weights.append(TensorType(name=name, dtype=dtype, shape=shape, fixed=values))
        self._typed[name] = (dtype, shape)
        return name

    def node(self, op: str, inputs: tuple[str, ...], *, name: str, attrs: dict[str, Attr] | None = None) -> str:
        """Any operator of the closed list that has one output, for layers that only one family has.

        Args:
          op: a name of OPERATORS.
          inputs: tensors, of this pen.
          name: of the layer.
          attrs: where they differ from ONNX's defaults.

        Returns:
          What the operator makes of the inputs.
        """
        return self._add(op, inputs, name, attrs or {})

    def graph(self, output: str, others: dict[str, str] | None = None) -> Graph:
        """The network whose answer is one of the tensors; it gets the name "logits".

        Args:
          output: (N, K), made by a layer that no other layer reads.
          others: further outputs, name to a tensor of that kind; such as heads that serve training alone.

        Returns:
          The Graph; layers that do not lead to an output are a mistake that `validate` names.
        """
        names = {output: OUTPUT} | {tensor: name for name, tensor in (others or {}).items()}
        nodes = tuple(
            node if names.keys().isdisjoint(node.outputs) else node.replace(outputs=(names[node.outputs[0]],))
            for node in self._nodes
        )
        source = TensorType(name=INPUT, shape=("N", *self.spec.input_shape))
        return Graph(inputs=(source,), outputs=tuple(names.values()), weights=tuple(self._weights), nodes=nodes)

    def _add(self, op: str, inputs: tuple[str, ...], name: str, attrs: dict[str, Attr]) -> str:
        return self._write(op, inputs, name, attrs, (name,))[0]

    def _write(
        self, op: str, inputs: tuple[str, ...], name: str, attrs: dict[str, Attr], outputs: tuple[str, ...]
    ) -> tuple[str, ...]:
        node = Node(name=name, op=op, inputs=inputs, outputs=outputs, attrs=attrs)
        if any(output in self._typed for output in outputs):
            raise FireforgeError("BAD_SPEC", f"two layers called {name!r}", where=self.spec.family)
        try:
            made = OPERATORS[op].infer([self._typed[x] for x in inputs], filled(node))
        except FireforgeError as error:
            where, allowed = f"{self.spec.family} at {name}", error.allowed
            raise FireforgeError("BAD_SPEC", error.what, where=where, allowed=allowed) from None
        self._typed.update(zip(outputs, made, strict=True))
        self._nodes.append(node)
        return outputs


def _window(kernel: int, stride: int, pad: int) -> dict[str, Attr]:
    return {"kernel_shape": (kernel, kernel), "strides": (stride, stride), "pads": (pad, pad, pad, pad)}
