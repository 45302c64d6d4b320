# SPDX-License-Identifier: Apache-2.0
"""A quantized Model as a Graph whose QuantizeLinear and DequantizeLinear ONNX Runtime turns into integer kernels.

What moves numbers without computing (MaxPool, Concat, Flatten and their like) runs on the integers themselves; a Relu
whose bound is where the integers saturate anyway is left out; a bias is int32 with the scale s_input * s_weight,
written as a product that a runtime folds when it loads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fireforge.base.clean import without_idle
from fireforge.base.graph import Attr, Graph, Node, TensorType
from fireforge.base.infer import filled
from fireforge.base.model import Model
from fireforge.base.ops.kinds import MOVERS
from fireforge.base.quant import RANGES, Quantization, QuantPlan, quantize
from fireforge.base.tensorform import Affine, TensorForm

# operators whose third input is a bias that an integer kernel takes as int32
BIASED = ("Conv", "ConvTranspose", "Gemm")
# operators of which ONNX Runtime makes integer kernels only where their factors' zero points are written out, 0 or not
EXPLICIT = ("Gemm",)
# zero points of this type are not shared: ONNX Runtime 1.31 cannot load those that two layers share where its sums are
# exact (x64quantprecision), because it turns each of them into uint8 under one name
ALONE = "int8"


def lower(model: Model) -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph and arrays that a file holds; changes no number of the plan.

    Args:
      model: its plan, where there is one, names tensors and weights of its graph.

    Returns:
      A graph with the model's inputs and outputs, and an array for each of its weights: float without a plan, otherwise
      integers with their scales. Dropout and Identity are gone in both cases.
    """
    graph = without_idle(model.graph)
    if model.quant is None:
        return graph, {tensor.name: model.weights[tensor.name].array() for tensor in graph.weights}
    lowering = _Lowering(graph, model.weights, model.quant)
    for tensor in graph.inputs:
        lowering.quantize_tensor(tensor.name, tensor.name)
    for node in graph.nodes:
        lowering.add(node)
    return lowering.finish()


class _Lowering:
    """Nodes and arrays as they grow; tensors are known as floats, as integers, or as both."""

    def __init__(self, graph: Graph, forms: Mapping[str, TensorForm], plan: QuantPlan) -> None:
        self.graph, self.forms, self.plan = graph, forms, plan
        self.nodes: list[Node] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.weights = {tensor.name for tensor in graph.weights}
        self.floats = {tensor.name: tensor.name for tensor in graph.inputs}
        self.integers: dict[str, tuple[str, Quantization]] = {}
        self.shared: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.taken = set(self.floats) | self.weights | {name for node in graph.nodes for name in node.outputs}
        self.explicit = {name for node in graph.nodes if node.op in EXPLICIT for name in node.inputs[:2]}
        self.users: dict[str, int] = {}
        for name in (*graph.outputs, *(name for node in graph.nodes for name in node.inputs)):
            self.users[name] = self.users.get(name, 0) + 1

    def add(self, node: Node) -> None:
        """One node of the model's graph."""
        free = node.name not in self.plan.float_nodes
        if free and (self._move(node) or self._fold(node)):
            return
        inputs = self._operands(node, integers=free)
        outputs = tuple(self._fresh(name, "raw") if name in self.plan.activations else name for name in node.outputs)
        self.nodes.append(node.replace(inputs=inputs, outputs=outputs))
        for name, raw in zip(node.outputs, outputs):
            self.floats[name] = raw
            self.quantize_tensor(name, raw)

    def quantize_tensor(self, name: str, raw: str) -> None:
        """Put the plan's QuantizeLinear behind a float tensor; from here on the tensor is its integers."""
        quantization = self.plan.activations.get(name)
        if quantization is None:
            return
        made = self._fresh(name, "q")
        self._emit("QuantizeLinear", (raw, *self._constants(quantization, zero=quantization.dtype != "uint8")), made)
        self.integers[name] = (made, quantization)
        self.floats.pop(name, None)

    def finish(self) -> tuple[Graph, dict[str, np.ndarray]]:
        """The graph, its outputs as floats under their own names."""
        for name in self.graph.outputs:
            self._real(name)
        used = dict.fromkeys(name for node in self.nodes for name in node.inputs)
        arrays = {name: self.arrays[name] for name in used if name in self.arrays}
        weights = tuple(
            TensorType(name=name, dtype=str(array.dtype), shape=array.shape) for name, array in arrays.items()
        )
        return self.graph.replace(nodes=tuple(self.nodes), weights=weights), arrays

    def _move(self, node: Node) -> bool:
        """Run a mover on integers, if its inputs and outputs all have one quantization."""
        if node.op not in MOVERS:
            return False
        sources = node.inputs if node.op == "Concat" else node.inputs[:1]
        if any(name not in self.integers for name in sources):
            return False
        quantization = self.integers[sources[0]][1]
        wanted = [self.integers[name][1] for name in sources]
        wanted += [self.plan.activations.get(name, quantization) for name in node.outputs]
        if any(other != quantization for other in wanted):
            return False
        inputs = tuple(self.integers[name][0] for name in sources)
        inputs += tuple(self._constant(name) for name in node.inputs[len(sources) :])
        outputs = tuple(self._fresh(name, "q") for name in node.outputs)
        self.nodes.append(node.replace(inputs=inputs, outputs=outputs))
        for name, made in zip(node.outputs, outputs):
            self.integers[name] = (made, quantization)
        return True

    def _fold(self, node: Node) -> bool:
        """Leave out a Relu or Clip whose bounds are where the integers saturate anyway."""
        if node.op not in ("Relu", "Clip"):
            return False
        source, target = node.inputs[0], node.outputs[0]
        wanted = self.plan.activations.get(target)
        if source in self.integers:
            held = self.integers[source][1]
            if wanted not in (None, held) or not _saturates(node, held):
                return False
            self.integers[target] = self.integers[source]
            return True
        if wanted is None or not _saturates(node, wanted) or self.users[source] > 1:
            return False
        self.quantize_tensor(target, self._real(source))
        return True

    def _operands(self, node: Node, *, integers: bool) -> tuple[str, ...]:
        names = []
        for position, name in enumerate(node.inputs):
            if not name:
                names.append("")
            elif name not in self.weights:
                names.append(self._real(name))
            elif not integers:
                names.append(self._constant(name))
            elif position == 2 and self._has_integer_bias(node):
                names.append(self._bias(name, node.inputs[1], self.integers[node.inputs[0]][1]))
            else:
                names.append(self._weight(name))
        return tuple(names)

    def _real(self, name: str) -> str:
        """The tensor as floats, dequantized at its first use."""
        if name not in self.floats:
            source, quantization = self.integers[name]
            outside = {tensor.name for tensor in self.graph.inputs}
            made = self._fresh(name, "real") if name in outside else name
            self._emit("DequantizeLinear", (source, *self._constants(quantization, zero=name in self.explicit)), made)
            self.floats[name] = made
        return self.floats[name]

    def _constant(self, name: str) -> str:
        """A weight as the model's graph computes with it."""
        self.arrays[name] = self.forms[name].array()
        return name

    def _weight(self, name: str) -> str:
        """A weight as floats made of the plan's integers, or as it is where the plan does not name it."""
        quantization = self.plan.weights.get(name)
        if quantization is None:
            return self._constant(name)
        if name not in self.floats:
            stored = self._fresh(name, "q")
            self.arrays[stored] = self._integers(name, quantization)
            self.floats[name] = self._fresh(name, "real")
            inputs = (stored, *self._constants(quantization, zero=name in self.explicit))
            self._emit("DequantizeLinear", inputs, self.floats[name], **_axis(quantization))
        return self.floats[name]

    def _integers(self, name: str, quantization: Quantization) -> np.ndarray:
        form = self.forms[name]
        if isinstance(form, Affine) and form.quantization == quantization:
            return form.q.astype(quantization.dtype)
        return quantize(form.array(), quantization)

    def _has_integer_bias(self, node: Node) -> bool:
        """Whether an integer kernel will run the node: input and weight are integers, and no factor is in the way."""
        attrs = filled(node)
        plain = node.op in BIASED and attrs.get("alpha", 1) == 1 and attrs.get("beta", 1) == 1
        flat = len(self.forms[node.inputs[2]].array().shape) == 1
        weight = self.plan.weights.get(node.inputs[1])
        return plain and flat and node.inputs[0] in self.integers and weight is not None and not any(weight.zero_point)

    def _bias(self, name: str, weight: str, source: Quantization) -> str:
        """A bias as int32 with the scale s_input * s_weight, or with the plan's own scale where it has another."""
        held = self.plan.weights[weight]
        product = np.asarray(held.scale, np.float32) * np.float32(source.scale[0])
        axis = None if held.axis is None else 0
        derived = Quantization(
            scale=tuple(float(s) for s in product), zero_point=(0,) * len(product), axis=axis, dtype="int32"
        )
        planned = self.plan.weights.get(name)
        if planned is not None and np.array_equal(np.asarray(planned.scale, np.float32), product):
            planned = derived.replace(axis=planned.axis)
        quantization = derived if planned is None else planned
        stored, made = self._fresh(name, "q"), self._fresh(name, "real")
        if planned is not None and isinstance(self.forms[name], Affine):
            form: Any = self.forms[name]
            self.arrays[stored] = form.q.astype(quantization.dtype)
        else:
            self.arrays[stored] = quantize(self.forms[name].array(), quantization)
        if quantization.scale == derived.scale:
            scale = self._fresh(name, "scale")
            self._emit("Mul", (self._constants(held)[0], self._constants(source)[0]), scale)
        else:
            scale = self._constants(quantization)[0]
        self._emit("DequantizeLinear", (stored, scale), made, **_axis(quantization))
        return made

    def _constants(self, quantization: Quantization, *, zero: bool = False) -> tuple[str, ...]:
        """Names of scale and zero point; a zero point of 0 is left out unless it is asked for."""
        shape = () if quantization.axis is None else (len(quantization.scale),)
        scale = self._share("scale", np.asarray(quantization.scale, np.float32).reshape(shape))
        if not zero and not any(quantization.zero_point):
            return (scale,)
        points = np.asarray(quantization.zero_point).astype(quantization.dtype).reshape(shape)
        return (scale, self._share("zero", points) if quantization.dtype != ALONE else self._own("zero", points))

    def _own(self, kind: str, array: np.ndarray) -> str:
        name = self._fresh(kind, f"own{len(self.arrays)}")
        self.arrays[name] = array
        return name

    def _share(self, kind: str, array: np.ndarray) -> str:
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self.shared:
            self.shared[key] = self._fresh(kind, str(len(self.shared)))
            self.arrays[self.shared[key]] = array
        return self.shared[key]

    def _fresh(self, name: str, kind: str) -> str:
        made = f"{name}.{kind}"
        while made in self.taken:
            made += "_"
        self.taken.add(made)
        return made

    def _emit(self, op: str, inputs: tuple[str, ...], output: str, **attrs: Attr) -> None:
        self.nodes.append(Node(name=f"{op}.{output}", op=op, inputs=inputs, outputs=(output,), attrs=dict(attrs)))


def _saturates(node: Node, quantization: Quantization) -> bool:
    """Whether quantizing alone gives what clipping and then quantizing gives: the bounds fall on the integers' ends."""
    low, high = RANGES[quantization.dtype]
    attrs: Any = filled(node)
    if quantization.axis is not None:
        return False
    bounds = np.asarray([0.0, np.inf] if node.op == "Relu" else [attrs["min"], attrs["max"]], np.float32)
    ends = quantize(bounds, quantization)
    return bool(ends[0] == low and ends[1] == high)


def _axis(quantization: Quantization) -> dict[str, Attr]:
    return {} if quantization.axis is None else {"axis": quantization.axis}
