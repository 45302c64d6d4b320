# SPDX-License-Identifier: Apache-2.0
"""What a Model computes, in plain numpy: made of its graph and its plan alone, so that exports can be held to it."""

from __future__ import annotations

import numpy as np

from fireforge.base.golden import array_digest
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import filled
from fireforge.base.model import Model
from fireforge.base.quant import Quantization, QuantPlan, dequantize, quantize
from fireforge.base.tensorform import Affine

Meaning = tuple[Graph, dict[str, np.ndarray]]
BIASED = ("Conv", "ConvTranspose", "Gemm")  # a bias behind integers is int32 with the scale s_input * s_weight


def meaning(model: Model) -> Meaning:
    """A Graph and arrays for `run_reference` that give what the model stands for.

    In float that is the model's own graph. With a plan every tensor that the plan names goes to integers and back at
    once, and every weight and bias is the real number of its integers: all arithmetic between is in float.

    Args:
      model: float or quantized.

    Returns:
      The graph, its inputs and outputs called as the model's, and an array for each of its weights.
    """
    arrays = model.arrays()
    if model.quant is None:
        return model.graph, arrays
    for name, quantization in model.quant.weights.items():
        if not isinstance(model.weights[name], Affine):
            arrays[name] = dequantize(quantize(arrays[name], quantization), quantization)
    plan = model.quant.activations
    nodes: list[Node] = []
    rounded: dict[str, str] = {}
    for tensor in model.graph.inputs:
        if tensor.name in plan:
            rounded[tensor.name] = f"{tensor.name}/rounded"
            nodes += _rounding(tensor.name, rounded[tensor.name], plan[tensor.name], arrays)
    for node in model.graph.nodes:
        node = _with_integer_bias(node, model.quant, arrays)
        outputs = tuple(f"{name}/real" if name in plan else name for name in node.outputs)
        nodes.append(node.replace(inputs=tuple(rounded.get(name, name) for name in node.inputs), outputs=outputs))
        for name, real in zip(node.outputs, outputs):
            nodes += _rounding(real, name, plan[name], arrays) if name in plan else []
    used = {name for node in nodes for name in node.inputs}
    arrays = {name: array for name, array in arrays.items() if name in used}
    weights = tuple(TensorType(name=name, dtype=array.dtype.name, shape=array.shape) for name, array in arrays.items())
    return model.graph.replace(nodes=tuple(nodes), weights=weights), arrays


def must_hold(model: Model) -> set[str]:
    """Digests of the arrays that a file of the model must hold bit by bit.

    Args:
      model: float or quantized.

    Returns:
      `array_digest` of every weight in float; with a plan, of the integers of every weight that is held in integers.
    """
    read = {name for node in model.graph.nodes for name in node.inputs}
    if model.quant is None:
        return {array_digest(array) for name, array in model.arrays().items() if name in read}
    floats = {name for node in model.graph.nodes if node.name in model.quant.float_nodes for name in node.inputs}
    forms = {name: form for name, form in model.weights.items() if name in read - floats}
    return {array_digest(form.q.astype(form.quantization.dtype)) for form in forms.values() if isinstance(form, Affine)}


def _with_integer_bias(node: Node, plan: QuantPlan, arrays: dict[str, np.ndarray]) -> Node:
    """The node with a bias of whole steps of s_input * s_weight, where it adds integers; as it is elsewhere."""
    source, weight, bias = (*node.inputs, "", "", "")[:3]
    attrs = filled(node)
    whole = node.op in BIASED and attrs.get("alpha", 1) == 1 and attrs.get("beta", 1) == 1
    known = bias and bias not in plan.weights and source in plan.activations and weight in plan.weights
    if not (whole and known) or node.name in plan.float_nodes or any(plan.weights[weight].zero_point):
        return node
    product = np.asarray(plan.weights[weight].scale, np.float32) * np.float32(plan.activations[source].scale[0])
    steps = Quantization(
        scale=tuple(map(float, product)),
        zero_point=(0,) * len(product),
        axis=None if plan.weights[weight].axis is None else 0,
        dtype="int32",
    )
    name = f"{node.name}/bias"
    arrays[name] = dequantize(quantize(arrays[bias], steps), steps)
    return node.replace(inputs=(source, weight, name))


def _rounding(source: str, target: str, quantization: Quantization, arrays: dict[str, np.ndarray]) -> list[Node]:
    """Two nodes that hold a tensor in integers and give it back; their constants join the arrays."""
    scale, zero, held = f"{target}/scale", f"{target}/zero", f"{target}/integers"
    shape = () if quantization.axis is None else (-1,)
    arrays[scale] = np.asarray(quantization.scale, np.float32).reshape(shape)
    arrays[zero] = np.asarray(quantization.zero_point).astype(quantization.dtype).reshape(shape)
    attrs = {} if quantization.axis is None else {"axis": quantization.axis}
    return [
        Node(name=held, op="QuantizeLinear", inputs=(source, scale, zero), outputs=(held,), attrs=dict(attrs)),
        Node(name=target, op="DequantizeLinear", inputs=(held, scale, zero), outputs=(target,), attrs=dict(attrs)),
    ]
