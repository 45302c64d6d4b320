# SPDX-License-Identifier: Apache-2.0
"""Networks with random numbers, and a context that measures nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.model import Card, Model, dense
from fireforge.base.postprocess import Postprocess
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.record import Facts
from fireforge.base.spec import NetSpec
from fireforge.compress.stage import Context
from fireforge.nets.families import NETWORKS, build_graph

Layers = Callable[..., Model]


def card(shape: tuple[int, ...], classes: int) -> Card:
    channels = shape[0] if len(shape) == 3 and shape[0] in (1, 3) else 1
    order = "L" if channels == 1 else "RGB"
    steps = ImageSteps(
        channels=channels,
        resize=None,
        crop=(shape[-1], shape[-1]),
        order=order,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    return Card(
        preprocess=Preprocess(image=steps),
        postprocess=Postprocess(),
        labels=tuple(f"c{i}" for i in range(classes)),
        licence="CC0-1.0",
    )


def random_arrays(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng(seed)
    arrays = {}
    for tensor in graph.weights:
        shape = tuple(int(size) for size in tensor.shape)
        array = r.normal(size=shape) * (np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.2)
        if tensor.name.endswith("running_var"):
            array = r.uniform(0.5, 2, shape)
        elif "norm" in tensor.name and tensor.name.endswith("weight"):
            array = array + 1
        arrays[tensor.name] = array.astype(np.float32)
    return arrays


@pytest.fixture
def network() -> Callable[..., Model]:
    """A preset with random weights."""

    def make(name: str, *, seed: int = 0, **params: object) -> Model:
        spec = NETWORKS[name](10, input_shape=(3, 16, 16), params=params)
        assert isinstance(spec, NetSpec)
        graph = build_graph(spec)
        return Model(graph=graph, weights=dense(random_arrays(graph, seed)), card=card((3, 16, 16), 10))

    return make


@pytest.fixture
def layers() -> Layers:
    """A model of nodes written by hand; its output is what the last node makes."""

    def make(
        *nodes: tuple[str, str, tuple[str, ...], str, dict[str, object]],
        arrays: dict[str, np.ndarray],
        shape: tuple[int, ...],
        outputs: tuple[str, ...] = (),
    ) -> Model:
        made = tuple(
            Node(name=name, op=op, inputs=inputs, outputs=(output,), attrs=attrs)  # type: ignore[arg-type]
            for name, op, inputs, output, attrs in nodes
        )
        graph = Graph(
            inputs=(TensorType(name="x", shape=("N", *shape)),),
            outputs=outputs or made[-1].outputs,
            weights=tuple(
                TensorType(name=name, dtype=str(array.dtype), shape=array.shape) for name, array in arrays.items()
            ),
            nodes=made,
        )
        return Model(graph=graph, weights=dense(arrays), card=card(shape, 2))

    return make


@pytest.fixture
def context() -> Callable[[np.ndarray], Context]:
    """A context with these pictures; every model measures as nothing."""
    return lambda pictures: Context(calibration=pictures, evaluate=lambda model: Facts())
