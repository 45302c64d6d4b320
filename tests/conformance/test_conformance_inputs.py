# SPDX-License-Identifier: Apache-2.0
"""The contracts carry more than pictures with one output: text, audio and several outputs go the same way.

Each Graph is validated, canonical, counted, run by the numpy reference, as a torch module, and exported and run in ONNX
Runtime: the three agree to 1e-5 of the greatest magnitude, since they sum in another order.
"""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.canonical import graph_digest
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.reference import run_reference
from fireforge.base.validate import validate
from fireforge.cost.count import count
from fireforge.export.onnx_file import onnx_bytes
from fireforge.importers.onnx_file import import_onnx
from fireforge.runtime.onnx_runtime import OnnxSession
from fireforge.runtime.torch_runtime import TorchSession


def node(name: str, op: str, inputs: str, **attrs: object) -> Node:
    return Node(name=name, op=op, inputs=tuple(inputs.split()), outputs=(name,), attrs=attrs)  # type: ignore[arg-type]


def weight(name: str, *shape: int) -> TensorType:
    return TensorType(name=name, shape=shape)


TEXT = Graph(
    inputs=(TensorType(name="tokens", dtype="int64", shape=("N", 7)),),
    outputs=("logits",),
    weights=(weight("embedding", 20, 6), weight("w", 3, 6), weight("b", 3)),
    nodes=(
        node("words", "Gather", "embedding tokens", axis=0),
        node("bag", "ReduceMean", "words", axes=(1,), keepdims=0),
        node("logits", "Gemm", "bag w b", transB=1),
    ),
)
AUDIO = Graph(
    inputs=(TensorType(name="wave", shape=("N", 1, 64)),),
    outputs=("logits",),
    weights=(weight("k", 4, 1, 5), weight("w", 2, 4), weight("b", 2)),
    nodes=(
        node("c", "Conv", "wave k", kernel_shape=(5,), strides=(2,), pads=(2, 2)),
        node("r", "Relu", "c"),
        node("m", "ReduceMean", "r", axes=(2,), keepdims=0),
        node("logits", "Gemm", "m w b", transB=1),
    ),
)
DETECTION = Graph(
    inputs=(TensorType(name="input", shape=("N", 1, 9, 9)),),
    outputs=("boxes", "scores"),
    weights=(weight("k", 4, 1, 3, 3), weight("kb", 8, 4, 1, 1), weight("ks", 6, 4, 1, 1)),
    nodes=(
        node("c", "Conv", "input k", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        node("r", "Relu", "c"),
        node("boxes", "Conv", "r kb", kernel_shape=(1, 1)),
        node("s", "Conv", "r ks", kernel_shape=(1, 1)),
        node("scores", "Sigmoid", "s"),
    ),
)


@pytest.mark.parametrize("graph", [TEXT, AUDIO, DETECTION], ids=["text", "audio", "detection"])
def test_other_inputs_and_several_outputs_go_the_same_way(graph: Graph) -> None:
    validate(graph)
    assert Graph.from_json(graph.to_json()) == graph
    assert count(graph).macs > 0
    draw = np.random.default_rng(0)
    arrays = {w.name: draw.normal(size=w.shape).astype(np.float32) for w in graph.weights}
    given = graph.inputs[0]
    shape = tuple(3 if size == "N" else int(size) for size in given.shape)
    values = draw.integers(0, 20, shape) if given.dtype == "int64" else draw.normal(size=shape).astype(np.float32)
    feeds = {given.name: values}
    want = run_reference(graph, arrays, feeds)
    assert list(want) == list(graph.outputs)
    data = onnx_bytes(graph, arrays)
    assert graph_digest(import_onnx(data)[0]) == graph_digest(graph)
    for session in (OnnxSession(data), TorchSession(graph, arrays)):
        got = session.run(feeds)
        for name, array in want.items():
            assert got[name].shape == array.shape
            np.testing.assert_allclose(got[name], array, rtol=0, atol=1e-5 * np.abs(array).max())
