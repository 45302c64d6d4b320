# SPDX-License-Identifier: Apache-2.0
"""Networks with random numbers, and a quantization plan made by hand from the ranges that the reference sees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fireforge.base.graph import Graph
from fireforge.base.model import Card, Model, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.quant import QuantPlan, affine_of_range, symmetric_of_weight
from fireforge.base.reference import run_reference
from fireforge.nets.families import NETWORKS, build_graph

SIZE_PX = 16


def random_arrays(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """He-scaled weights, small biases, positive variances and scales."""
    rng = np.random.default_rng(seed)
    buffers = {
        name for node in graph.nodes if node.op == "BatchNormalization" for name in (node.inputs[1], node.inputs[4])
    }
    arrays = {}
    for weight in graph.weights:
        if weight.name in buffers:
            array = rng.uniform(0.5, 1.5, weight.shape)
        elif len(weight.shape) > 1:
            array = rng.normal(size=weight.shape) * np.sqrt(2 / np.prod(weight.shape[1:]))
        else:
            array = rng.normal(size=weight.shape) * 0.1
        arrays[weight.name] = array.astype(weight.dtype)
    return arrays


def fold_norms(graph: Graph, arrays: dict[str, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """Each BatchNormalization behind a convolution made part of it."""
    norms = {node.inputs[0]: node for node in graph.nodes if node.op == "BatchNormalization"}
    nodes, kept = [], dict(arrays)
    for node in graph.nodes:
        if node.op == "BatchNormalization":
            continue
        norm = norms.get(node.outputs[0])
        if norm is not None:
            scale, bias, mean, variance = (kept.pop(name) for name in norm.inputs[1:])
            factor = scale / np.sqrt(variance + np.float32(1e-5))
            weight = node.inputs[1]
            kept[weight] = kept[weight] * factor.reshape(-1, 1, 1, 1)
            kept[f"{node.name}.b"] = (bias - mean * factor).astype(np.float32)
            node = node.replace(inputs=(*node.inputs[:2], f"{node.name}.b"), outputs=norm.outputs)
        nodes.append(node)
    types = {tensor.name: tensor for tensor in graph.weights}
    some = next(iter(types.values()))
    weights = tuple(
        types[name] if name in types else some.replace(name=name, shape=array.shape) for name, array in kept.items()
    )
    return graph.replace(nodes=tuple(nodes), weights=weights), kept


def hand_plan(graph: Graph, arrays: dict[str, np.ndarray], inputs: np.ndarray) -> QuantPlan:
    """Ranges of every tensor, except what only a Relu or Clip reads; movers keep their input's quantization."""
    users: dict[str, list[str]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node.op)
    named = [
        "input",
        *(name for node in graph.nodes for name in node.outputs if set(users.get(name, ["-"])) - {"Relu", "Clip"}),
    ]
    seen = run_reference(graph, arrays, {"input": inputs}, wanted=named)
    activations = {name: affine_of_range(float(a.min()), float(a.max())) for name, a in seen.items()}
    for node in graph.nodes:
        if node.op in ("MaxPool", "Flatten") and node.inputs[0] in activations:
            activations[node.outputs[0]] = activations[node.inputs[0]]
        if node.op == "Concat":
            for name in node.inputs:
                activations[name] = activations[node.outputs[0]]
    weights = {
        node.inputs[1]: symmetric_of_weight(arrays[node.inputs[1]], 0)
        for node in graph.nodes
        if node.op in ("Conv", "Gemm")
    }
    return QuantPlan(activations=activations, weights=weights, method="by hand")


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Model]:
    def make(network: str, *, quantized: bool = False, channels: int = 3, **params: float) -> Model:
        spec = NETWORKS[network](10, input_shape=(channels, SIZE_PX, SIZE_PX), params=params)
        graph = build_graph(spec)
        arrays = random_arrays(graph)
        order = "RGB" if channels == 3 else "L"
        steps = ImageSteps(
            channels=channels,
            resize=(SIZE_PX, SIZE_PX),
            crop=(SIZE_PX, SIZE_PX),
            order=order,
            mean=(127.5,) * channels,
            std=(50.0,) * channels,
        )
        card = Card(
            preprocess=Preprocess(image=steps), postprocess=Postprocess(), labels=tuple("abcdefghij"), source="random"
        )
        if not quantized:
            return Model(graph=graph, weights=dense(arrays), card=card)
        graph, arrays = fold_norms(graph, arrays)
        inputs = np.random.default_rng(1).normal(size=(32, channels, SIZE_PX, SIZE_PX)).astype(np.float32)
        return Model(graph=graph, weights=dense(arrays), card=card, quant=hand_plan(graph, arrays, inputs))

    return make
