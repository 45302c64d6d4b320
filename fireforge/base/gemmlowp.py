# SPDX-License-Identifier: Apache-2.0
"""A quantized graph run in integers: sums in 32 bits, brought to the next scale by a multiplication in fixed point.

A second meaning of a graph with QuantizeLinear and DequantizeLinear, beside `fireforge.base.reference`, which rounds
products of floats. Where a Conv or Gemm has integers on both sides and goes to integers at once (at most a Relu lies
between), no float is used at all; every other node runs as in the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fireforge.base.graph import Graph, Node
from fireforge.base.infer import filled
from fireforge.base.ops.table import OPERATORS

SUMS = ("Conv", "Gemm")
LARGEST = 2**31 - 1


def run_integers(
    graph: Graph, weights: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], *, twice: bool = False
) -> dict[str, np.ndarray]:
    """Execute a quantized graph.

    Args:
      graph: as it stands in a file; one without quantization gives what `run_reference` gives.
      weights: weight name to array.
      inputs: input name to array.
      twice: round as gemmlowp does, see `scaled`.

    Returns:
      Output name to array.

    Source:
      Jacob et al. 2018, section 2.2; google/gemmlowp, doc/quantization.md: q3 = Z3 + M (sum of (q1 - Z1) q2 + bias),
      with M = S1 S2 / S3 = 2**-n M0, M0 in [0.5, 1) as a 32-bit fixed-point number.
    """
    made = {name: node for node in graph.nodes for name in node.outputs}
    summed = {node.name: found for node in graph.nodes if node.op in SUMS and (found := _operands(node, made))}
    last: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        behind = [name for operand in summed.get(node.name, ()) for name in operand.inputs]
        last.update((name, i) for name in (*node.inputs, *node.outputs, *behind))
    values: dict[str, np.ndarray] = {**weights, **inputs}
    sums: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # tensor -> int64 sums, and the scale of each (1, K, 1...)
    for i, node in enumerate(graph.nodes):
        held = sums.get(node.inputs[0]) if node.inputs else None
        given = [values[name] if name else None for name in node.inputs]
        if node.name in summed:
            sums[node.outputs[0]] = _sum(node, summed[node.name], values)
        elif node.op == "Relu" and held is not None:
            sums[node.outputs[0]] = np.maximum(held[0], 0), held[1]
        if node.op == "QuantizeLinear" and held is not None and given[1] is not None and given[1].size == 1:
            values[node.outputs[0]] = _requantized(held, given, twice)
        elif node.outputs[0] in sums:
            acc, scale = sums[node.outputs[0]]
            values[node.outputs[0]] = (acc * scale.astype(np.float64)).astype(np.float32)
        else:
            values.update(zip(node.outputs, map(np.asarray, OPERATORS[node.op].run(given, filled(node)))))
        for name in [name for name in values if last.get(name) == i and name not in graph.outputs]:
            values.pop(name)
            sums.pop(name, None)
    return {name: values[name] for name in graph.outputs}


def multiplier(real: float) -> tuple[int, int]:
    """A positive real number as M0 * 2 ** (shift - 31).

    Args:
      real: positive.

    Returns:
      M0 in [2 ** 30, 2 ** 31), and shift, negative for small numbers.
    """
    share, shift = np.frexp(real)
    whole = round(float(share) * 2**31)
    return (whole // 2, int(shift) + 1) if whole > LARGEST else (whole, int(shift))


def scaled(sums: np.ndarray, real: float, *, twice: bool = False) -> np.ndarray:
    """Integers times a real number in fixed point.

    Args:
      sums: int64 that fit 32 bits.
      real: positive, below 2 ** 31.
      twice: gemmlowp's own: a rounding doubling high multiplication, then a rounding right shift, halves away from 0.
        It turns up to a quarter of all results by a step where `real` is near 1/2. False: rounded once, halves up.

    Returns:
      int64.
    """
    factor, shift = multiplier(real)
    if 31 - shift > 62:
        return np.zeros_like(sums)
    if not twice:
        return np.asarray((sums * factor + (1 << (30 - shift))) >> (31 - shift))
    product = np.clip(sums << max(shift, 0), -LARGEST - 1, LARGEST) * factor
    high = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(high >= 0, high >> 31, -(-high >> 31))  # a division that drops what is behind the point
    right = max(-shift, 0)
    mask = (1 << right) - 1
    return np.asarray((high >> right) + ((high & mask) > (mask >> 1) + (high < 0)))


def _operands(node: Node, made: Mapping[str, Node]) -> list[Node] | None:
    """The DequantizeLinear in front of every input, None where the node does not compute with integers alone."""
    found = [made.get(name) for name in node.inputs if name]
    held = [other for other in found if other is not None and other.op == "DequantizeLinear"]
    attrs = filled(node)
    plain = attrs.get("alpha", 1) == 1 and attrs.get("beta", 1) == 1 and attrs.get("transA", 0) == 0
    return held if plain and len(held) == len(found) >= 2 and attrs.get("transB", 1) == 1 else None


def _sum(node: Node, operands: list[Node], values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sums of products of integers, and their scale; exact, for no sum reaches the last whole number of its dtype."""
    source, weight, *bias = (_whole(operand, values) for operand in operands)
    most = 256 * np.abs(weight).reshape(len(weight), -1).sum(axis=1).max() + sum(np.abs(b).max() for b in bias)
    kind = np.float32 if most < 2**24 and node.op == "Conv" else np.float64
    given = [array.astype(kind) for array in (source, weight, *bias)]
    acc = np.rint(OPERATORS[node.op].run(given, filled(node))[0]).astype(np.int64)
    first, second = (values[operand.inputs[1]].astype(np.float64).reshape(-1) for operand in operands[:2])
    return acc, _along(first * second, acc.ndim, 1)


def _whole(operand: Node, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Integers less their zero point of what a DequantizeLinear reads, as int64."""
    whole = values[operand.inputs[0]].astype(np.int64)
    zero = values[operand.inputs[2]].astype(np.int64) if len(operand.inputs) > 2 else np.zeros((), np.int64)
    axis: Any = filled(operand)["axis"]
    return np.asarray(whole - (zero.reshape(()) if zero.size == 1 else _along(zero, whole.ndim, axis)))


def _along(array: np.ndarray, rank: int, axis: int) -> np.ndarray:
    shape = [1] * rank
    shape[axis] = -1
    return array.reshape(shape)


def _requantized(held: tuple[np.ndarray, np.ndarray], given: list[np.ndarray | None], twice: bool) -> np.ndarray:
    """q3 of the sums, clamped to its type, which is what a Relu at the end of the range does."""
    acc, scale = held
    step: Any = given[1]
    zero = given[2] if len(given) > 2 and given[2] is not None else np.zeros((), np.uint8)
    out = np.empty_like(acc)
    real = np.broadcast_to((scale / float(step.reshape(-1)[0])).reshape(-1), (acc.shape[1],))
    for channel, factor in enumerate(real):
        out[:, channel] = scaled(acc[:, channel], float(factor), twice=twice)
    ends = np.iinfo(zero.dtype)
    return np.asarray(np.clip(out + int(zero.reshape(-1)[0]), ends.min, ends.max), zero.dtype)
