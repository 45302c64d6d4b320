# SPDX-License-Identifier: Apache-2.0
"""A small classifier written as files: float and int8, for pictures of 12 x 10 px in three channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fireforge.base.golden import golden_inputs, make_golden
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.model import Card, Tag
from fireforge.base.pixels import encode_png
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.quant import affine_of_range
from fireforge.base.reference import run_reference
from fireforge.export.onnx_file import onnx_bytes

LABELS = ("ant", "bee", "cat", "dog")
SHAPE = (3, 12, 10)
STEPS = ImageSteps(channels=3, resize=(12, 10), crop=(12, 10), mean=(120.0, 110.0, 100.0), std=(60.0, 61.0, 62.0))
CARD = Card(preprocess=Preprocess(image=STEPS), postprocess=Postprocess(), labels=LABELS)


def small_network() -> tuple[Graph, dict[str, np.ndarray]]:
    """Convolution, Relu, mean of the map, product: 4 logits."""
    rng = np.random.default_rng(5)
    arrays = {
        "conv.weight": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "conv.bias": rng.normal(size=8).astype(np.float32),
        "head.weight": rng.normal(size=(4, 8)).astype(np.float32),
        "head.bias": rng.normal(size=4).astype(np.float32),
    }
    nodes = (
        Node(
            name="conv",
            op="Conv",
            inputs=("input", "conv.weight", "conv.bias"),
            outputs=("conv",),
            attrs={"kernel_shape": (3, 3)},
        ),
        Node(name="relu", op="Relu", inputs=("conv",), outputs=("relu",)),
        Node(name="pool", op="GlobalAveragePool", inputs=("relu",), outputs=("pool",)),
        Node(name="flat", op="Flatten", inputs=("pool",), outputs=("flat",)),
        Node(
            name="head",
            op="Gemm",
            inputs=("flat", "head.weight", "head.bias"),
            outputs=("logits",),
            attrs={"transB": 1},
        ),
    )
    graph = Graph(
        inputs=(TensorType(name="input", shape=("N", *SHAPE)),),
        outputs=("logits",),
        weights=tuple(TensorType(name=name, shape=array.shape) for name, array in arrays.items()),
        nodes=nodes,
    )
    return graph, arrays


def rounded_network() -> tuple[Graph, dict[str, np.ndarray]]:
    """The same with its map rounded to integers and back: a graph that counts as int8."""
    graph, arrays = small_network()
    scale = affine_of_range(0.0, 20.0).scale[0]
    arrays["scale"] = np.asarray(scale, np.float32)
    around = (
        Node(name="q", op="QuantizeLinear", inputs=("relu", "scale"), outputs=("integers",)),
        Node(name="dq", op="DequantizeLinear", inputs=("integers", "scale"), outputs=("real",)),
    )
    pool = graph.nodes[2].replace(inputs=("real",))
    weights = (*graph.weights, TensorType(name="scale", shape=()))
    return graph.replace(nodes=(*graph.nodes[:2], *around, pool, *graph.nodes[3:]), weights=weights), arrays


def golden_of(graph: Graph, arrays: dict[str, np.ndarray], card: Card = CARD) -> dict[str, object]:
    outputs = run_reference(graph, arrays, {"input": golden_inputs(card.preprocess.steps())})["logits"]
    return make_golden(outputs).to_json()


@pytest.fixture(scope="session")
def write_file() -> Callable[..., Path]:
    """Writes a graph as an ONNX file with the exporter."""

    def write(path: Path, graph: Graph, arrays: dict[str, np.ndarray], card: Card | None = CARD) -> Path:
        tag = None if card is None else Tag(card=card, golden=golden_of(graph, arrays, card))
        path.write_bytes(onnx_bytes(graph, arrays, tag=tag))
        return path

    return write


@pytest.fixture(scope="session")
def float_file(write_file, tmp_path_factory) -> Path:
    return write_file(tmp_path_factory.mktemp("models") / "float.onnx", *small_network())


@pytest.fixture(scope="session")
def int8_file(write_file, tmp_path_factory) -> Path:
    return write_file(tmp_path_factory.mktemp("models") / "int8.onnx", *rounded_network())


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    """40 PNG files of smooth noise, of two sizes."""
    rng = np.random.default_rng(6)
    made = []
    for i in range(40):
        high, wide = (20, 16) if i % 2 else (12, 10)
        coarse = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        made.append(encode_png(np.kron(coarse, np.ones((high // 4, wide // 2, 1), np.uint8))[:high, :wide]))
    return made


@pytest.fixture(scope="session")
def networks() -> dict[str, Callable[[], tuple[Graph, dict[str, np.ndarray]]]]:
    return {"float32": small_network, "int8": rounded_network}


@pytest.fixture(scope="session")
def card() -> Card:
    return CARD
