# SPDX-License-Identifier: Apache-2.0
"""Numbers for a network that nobody trained: right for its time and its memory, and for nothing else."""

from __future__ import annotations

import math

import numpy as np

from fireforge.base.graph import Graph, TensorType
from fireforge.base.rng import rng

BLOCK = 1 << 20  # fresh random numbers of a tensor; a greater one repeats them
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
UNITS = {"BatchNormalization": (1, 4), "LayerNormalization": (1,)}  # inputs that start at 1; shift and mean at 0


def blank_arrays(graph: Graph, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Fresh numbers for every weight of a graph, in a second even for a hundred million.

    Weights of convolutions and matrix products are normal with variance 2 / fan-in, so that no tensor dies out or
    overflows (which would change the time); normalizations are the identity, biases 0, other floats 1, integers 0.
    Fixed numbers are what the graph says.

    Args:
      graph: a valid graph.
      seed: of the numbers.

    Returns:
      Weight name to array of the graph's shape and dtype.
    """
    roles = {name: (node.op, i) for node in reversed(graph.nodes) for i, name in enumerate(node.inputs)}
    random = rng(seed)
    return {weight.name: _numbers(weight, *roles.get(weight.name, ("", 0)), random) for weight in graph.weights}


def _numbers(weight: TensorType, op: str, place: int, random: np.random.Generator) -> np.ndarray:
    """Numbers of one weight, for the operator that reads it first, and for its place among the inputs."""
    shape = tuple(int(size) for size in weight.shape)
    if weight.fixed:
        return np.array(weight.fixed, weight.dtype).reshape(shape)
    if np.dtype(weight.dtype).kind != "f":
        return np.zeros(shape, weight.dtype)
    if op in PRODUCTS and place == 1 and len(shape) >= 2:
        count = math.prod(shape)
        block = random.standard_normal(min(count, BLOCK), dtype=np.float32) * math.sqrt(2 * shape[0] / count)
        return np.resize(block, shape).astype(weight.dtype, copy=False)
    if op in UNITS or op in PRODUCTS:
        return np.full(shape, float(place in UNITS.get(op, ())), weight.dtype)
    return np.ones(shape, weight.dtype)
