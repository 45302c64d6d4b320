# SPDX-License-Identifier: Apache-2.0
"""Integer arithmetic of quantized graphs, against exact fractions, gemmlowp's definitions and the float reference."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from fireforge.base.gemmlowp import multiplier, run_integers, scaled
from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.reference import run_reference


@pytest.mark.parametrize("real", [1e-6, 0.003, 0.25, 0.4999, 0.5, 0.7, 0.9999999999, 1.0, 3.7])
def test_a_multiplier_is_31_bits_and_a_shift(real: float) -> None:
    """Within half a unit of the last of 31 bits."""
    whole, shift = multiplier(real)
    assert 2**30 <= whole < 2**31
    assert whole * 2.0 ** (shift - 31) == pytest.approx(real, rel=2**-31)


def high_mul(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul of gemmlowp, literally."""
    product = a * b
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    return math.trunc(Fraction(product + nudge, 1 << 31))


def shifted(x: int, exponent: int) -> int:
    """RoundingDivideByPOT: to the nearest, halves away from zero."""
    return int(math.copysign(math.floor(abs(Fraction(x, 1 << exponent)) + Fraction(1, 2)), x))


@pytest.mark.parametrize("real", [0.0003, 0.003, 0.02, 0.3, 0.5, 0.75])
def test_both_roundings_are_as_defined(real: float) -> None:
    """One rounding: the nearest whole number of the product by the multiplier, halves up. Two: gemmlowp's."""
    sums = np.random.default_rng(0).integers(-(2**20), 2**20, 500)
    factor, shift = multiplier(real)
    exact = [math.floor(Fraction(int(x) * factor, 2 ** (31 - shift)) + Fraction(1, 2)) for x in sums]
    assert scaled(sums, real).tolist() == exact
    assert scaled(sums, real, twice=True).tolist() == [shifted(high_mul(int(x), factor), -shift) for x in sums]


def test_a_factor_that_leaves_nothing_gives_zeros() -> None:
    assert not scaled(np.array([2**30, -5]), 1e-12).any()


def quantized_network() -> tuple[Graph, dict[str, np.ndarray]]:
    """uint8 in, int8 weights by channel, int32 bias, Relu, uint8 with a zero point out; then a product."""
    rng = np.random.default_rng(1)
    scale = rng.uniform(0.005, 0.02, 5).astype(np.float32)
    arrays = {
        "s": np.asarray(0.02, np.float32),
        "z": np.asarray(117, np.uint8),
        "w": rng.integers(-127, 128, (5, 3, 3, 3)).astype(np.int8),
        "ws": scale,
        "b": rng.integers(-4000, 4000, 5).astype(np.int32),
        "bs": scale * np.float32(0.02),
        "os": np.asarray(0.31, np.float32),
        "oz": np.asarray(9, np.uint8),
        "v": rng.integers(-127, 128, (4, 5 * 16)).astype(np.int8),
        "vs": np.asarray(0.01, np.float32),
        "fs": np.asarray(2.5, np.float32),
        "fz": np.asarray(-3, np.int8),
    }
    rows = [
        ("QuantizeLinear", "input s z", "q", {}),
        ("DequantizeLinear", "q s z", "x", {}),
        ("DequantizeLinear", "w ws", "wr", {"axis": 0}),
        ("DequantizeLinear", "b bs", "br", {"axis": 0}),
        ("Conv", "x wr br", "conv", {"kernel_shape": (3, 3)}),
        ("Relu", "conv", "relu", {}),
        ("QuantizeLinear", "relu os oz", "rq", {}),
        ("DequantizeLinear", "rq os oz", "rr", {}),
        ("Flatten", "rr", "flat", {}),
        ("QuantizeLinear", "flat os oz", "fq", {}),
        ("DequantizeLinear", "fq os oz", "fr", {}),
        ("DequantizeLinear", "v vs", "vr", {}),
        ("Gemm", "fr vr", "gemm", {"transB": 1}),
        ("QuantizeLinear", "gemm fs fz", "gq", {}),
        ("DequantizeLinear", "gq fs fz", "logits", {}),
    ]
    nodes = tuple(
        Node(name=made, op=op, inputs=tuple(names.split()), outputs=(made,), attrs=attrs)
        for op, names, made, attrs in rows
    )
    graph = Graph(
        inputs=(TensorType(name="input", shape=("N", 3, 6, 6)),),
        outputs=("logits",),
        weights=tuple(TensorType(name=n, dtype=a.dtype.name, shape=a.shape) for n, a in arrays.items()),
        nodes=nodes,
    )
    return graph, arrays


def test_a_graph_in_integers_is_the_reference_but_for_halves() -> None:
    """Reference: float products, rounded. A sum that falls between two steps may go either way: at most a step each."""
    graph, arrays = quantized_network()
    inputs = {"input": np.random.default_rng(2).normal(size=(40, 3, 6, 6)).astype(np.float32)}
    want = run_reference(graph, arrays, inputs)["logits"]
    steps = np.rint((run_integers(graph, arrays, inputs)["logits"] - want) / 2.5)
    assert np.abs(want).max() > 50
    assert np.abs(steps).max() <= 1
    assert (steps != 0).mean() < 0.02
    twice = run_integers(graph, arrays, inputs, twice=True)["logits"]
    assert np.abs(twice - want).max() < 0.1 * np.abs(want).max()


@pytest.mark.parametrize("name", ["z", "oz", "fz", "w", "b"])
def test_every_integer_counts(name: str) -> None:
    """Zero points go where the numbers saturate."""
    graph, arrays = quantized_network()
    inputs = {"input": np.random.default_rng(3).normal(size=(4, 3, 6, 6)).astype(np.float32)}
    want = run_integers(graph, arrays, inputs)["logits"]
    changed = arrays[name] // 2 if arrays[name].ndim else np.asarray(np.iinfo(arrays[name].dtype).max - 3)
    changed = changed.astype(arrays[name].dtype)
    assert not np.array_equal(run_integers(graph, {**arrays, name: changed}, inputs)["logits"], want)


def test_a_float_graph_runs_as_in_the_reference() -> None:
    node = Node(name="y", op="Relu", inputs=("input",), outputs=("y",))
    graph = Graph(inputs=(TensorType(name="input", shape=("N", 3)),), outputs=("y",), weights=(), nodes=(node,))
    inputs = {"input": np.asarray([[-1.0, 0.5, 2.0]], np.float32)}
    np.testing.assert_array_equal(run_integers(graph, {}, inputs)["y"], [[0.0, 0.5, 2.0]])
