# SPDX-License-Identifier: Apache-2.0
"""Static 8-bit quantization: ranges from calibration pictures, weights for each output channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fireforge.base.clean import without_idle
from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Node
from fireforge.base.infer import filled
from fireforge.base.model import Model
from fireforge.base.quant import Quantization, QuantPlan, affine_of_range, quantize, symmetric_of_weight
from fireforge.base.record import StageReport
from fireforge.base.regions import Regions, find_regions
from fireforge.base.tensorform import Affine, Dense, TensorForm
from fireforge.compress.clip import METHODS
from fireforge.compress.observe import batch_for, check_pictures, histograms, observe, run_batches
from fireforge.compress.stage import Context, staged
from fireforge.export.onnx_file import onnx_bytes
from fireforge.export.qdq import lower

MOST_BIAS = 2.0**30  # of an int32 bias, so that the products of a layer can still be added to it


def int8(model: Model, ctx: Context) -> tuple[Model, StageReport]:
    """The stage "int8": see `quantized`.

    Args:
      model: float, batch norms folded.
      ctx: calibration, evaluate and deadline are used.

    Returns:
      The model with a QuantPlan and Affine weights, and the report.
    """
    return staged("int8", quantized, model, ctx=ctx)


def quantized(model: Model, ctx: Context) -> tuple[Model, tuple[str, ...]]:
    """The model in 8-bit integers: activations uint8 with one scale a tensor, weights int8 with one a channel.

    Each way of finding ranges makes a candidate; the one whose outputs differ least from the float network's on the
    calibration pictures is taken, then a correction of its biases is tried in the same way.

    Args:
      model: float, without a QuantPlan.
      ctx: calibration and deadline are used; when that is over, the candidates so far must do.

    Returns:
      The quantized model, its graph without Dropout and Identity; and notes on what was chosen and why.

    Raises:
      FireforgeError: BAD_STAGE, if the model is quantized, or has nothing to quantize; BAD_CALIBRATION, if the pictures
        are none, do not fit, or make NaN or infinity; BAD_RANGE, if a weight holds NaN or infinity.

    Source:
      Jacob et al. 2018, sections 2.1 and 3; Krishnamoorthi 2018, section 3 (per channel); Nagel et al. 2019, section
      4.2 (bias correction), with means that are measured.
    """
    if model.quant is not None:
        raise FireforgeError("BAD_STAGE", "int8 of a model that is quantized already", allowed="a float model")
    model = model.replace(graph=without_idle(model.graph))
    check_pictures(model, ctx.calibration)
    regions = find_regions(model.graph)
    if not regions.layers:
        raise FireforgeError("BAD_STAGE", "no convolution or matrix product with float32 weights to quantize")
    bench = _Bench(model, regions, ctx)
    best = bench.try_ranges()
    notes: tuple[str, ...] = (
        f"ranges by {best.method}: output error {best.error:.3g} of the float network's variance",
        *(f"{name} gave {error:.3g}" for name, error in bench.errors.items() if name != best.method),
    )
    corrected = bench.corrected(best)
    if corrected is not None:
        taken = corrected.error < best.error
        head = "bias correction" if taken else "no bias correction"
        notes += (f"{head}: {best.error:.3g} to {corrected.error:.3g}",)
        best = corrected if taken else best
    if regions.float_nodes:
        notes += (f"in float: {', '.join(regions.float_nodes)}",)
    return best.model, notes


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A quantized model and its mean squared output error, as a share of the float outputs' variance."""

    method: str
    model: Model
    error: float


class _Bench:
    """The float network's answers, and candidates that are held against them."""

    def __init__(self, model: Model, regions: Regions, ctx: Context) -> None:
        self.model, self.regions, self.ctx = model, regions, ctx
        self.pictures = ctx.calibration
        self.ends = observe(model, self.pictures, regions.tensors(), deadline=ctx.deadline)
        self.batch = batch_for(model, tuple(name for node in model.graph.nodes for name in node.outputs))
        self.answers = self._answers(model)
        self.errors: dict[str, float] = {}

    def try_ranges(self) -> _Candidate:
        """The candidate of least output error among all METHODS."""
        spans = self._spans()
        counts = self._counts(spans)
        found: list[_Candidate] = []
        for method, choose in METHODS.items():
            if found and self.ctx.deadline.over():
                break
            activations: dict[str, Quantization] = {}
            for group, count, (low, high) in zip(self.regions.groups, counts, spans):
                activations.update(dict.fromkeys(group, affine_of_range(*choose(count, low, high))))
            found.append(self._candidate(method, self._quantized(activations, method)))
            self.errors[method] = found[-1].error
        return min(found, key=lambda candidate: candidate.error)

    def corrected(self, best: _Candidate) -> _Candidate | None:
        """The candidate with the mean shift of each channel, which rounding the weights makes, taken off its bias."""
        forms = dict(best.model.weights)
        users = [name for node in self.model.graph.nodes for name in node.inputs]
        changed = False
        for node in self.regions.layers:
            bias = node.inputs[2] if len(node.inputs) > 2 else ""
            own = bias in forms and users.count(bias) == 1 and node.inputs[0] in self.ends
            if not own or node.op not in ("Conv", "Gemm") or filled(node).get("transA", 0):
                continue
            rounding = forms[node.inputs[1]].array().astype(np.float64) - self.model.weights[node.inputs[1]].array()
            shift = _mean_shift(node, rounding, self.ends[node.inputs[0]].means)
            old = self.model.weights[bias].array()
            if old.shape == shift.shape and filled(node).get("beta", 1.0) == 1:
                forms[bias] = Dense(values=(old - shift).astype(np.float32))
                changed = True
        if not changed or self.ctx.deadline.over():
            return None
        return self._candidate(best.method, best.model.replace(weights=forms))

    def _spans(self) -> list[tuple[float, float]]:
        parts = [[self.ends[name] for name in names] for names in self.regions.sources]
        return [(min(e.low for e in found), max(e.high for e in found)) for found in parts]

    def _counts(self, spans: list[tuple[float, float]]) -> list[np.ndarray]:
        ends = {name: span for names, span in zip(self.regions.sources, spans) for name in names}
        counts = histograms(self.model, self.pictures, ends, deadline=self.ctx.deadline)
        return [np.sum([counts[name] for name in names], axis=0) for names in self.regions.sources]

    def _quantized(self, activations: dict[str, Quantization], method: str) -> Model:
        return rounded(self.model, self.regions, activations, method=f"{method} of {len(self.pictures)} pictures")

    def _candidate(self, method: str, model: Model) -> _Candidate:
        answers = self._answers(model)
        spread = float(np.var(self.answers)) or 1.0
        error = float(np.mean(np.square(answers - self.answers))) / spread
        return _Candidate(method=method, model=model, error=error)

    def _answers(self, model: Model) -> np.ndarray:
        """All outputs of all pictures, float64 (N, ...)."""
        graph, arrays = lower(model)
        outputs = model.graph.outputs
        rows = run_batches(onnx_bytes(graph, arrays), self.pictures, outputs, batch=self.batch)
        flat = [np.concatenate([row[name].reshape(len(row[name]), -1) for name in outputs], axis=1) for row in rows]
        return np.concatenate(flat).astype(np.float64)


def rounded(model: Model, regions: Regions, activations: Mapping[str, Quantization], *, method: str) -> Model:
    """The model with the weights of its layers in integers and a plan.

    Args:
      model: its weights are real numbers; a plan that it has is replaced.
      regions: layers with weights to round.
      activations: tensor name to Quantization.
      method: how the ranges were found, for the plan.

    Returns:
      Weights as Affine, symmetric for each channel; biases and all else as they are.

    Raises:
      FireforgeError: BAD_RANGE, if a weight holds NaN or infinity.
    """
    weights = weight_quantizations(model.weights, regions.layers, activations)
    forms: dict[str, TensorForm] = dict(model.weights)
    for name, quantization in weights.items():
        forms[name] = Affine(q=quantize(forms[name].array(), quantization), quantization=quantization)
    plan = QuantPlan(activations=dict(activations), weights=weights, float_nodes=regions.float_nodes, method=method)
    return model.replace(weights=forms, quant=plan)


def weight_quantizations(
    forms: Mapping[str, TensorForm], layers: tuple[Node, ...], activations: Mapping[str, Quantization]
) -> dict[str, Quantization]:
    """The symmetric quantization of each layer's weight.

    A channel whose weights are so small that its bias would not fit into int32 gets a wider scale: it is a channel
    whose weights do not matter.

    Args:
      forms: of the weights and biases, float.
      layers: nodes with a weight of their own as second input.
      activations: of the layers' inputs.

    Returns:
      Weight name to Quantization, per output channel where the layer allows it.

    Raises:
      FireforgeError: BAD_RANGE, if a weight holds NaN or infinity.
    """
    found = {}
    for node in layers:
        name, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else ""
        weight = forms[name].array()
        try:
            found[name] = _symmetric(weight, _axis(node, weight.ndim))
        except FireforgeError as error:
            raise FireforgeError(error.code, error.what, where=name) from None
        if bias in forms and node.inputs[0] in activations:
            found[name] = _widened(found[name], forms[bias].array(), activations[node.inputs[0]].scale[0])
    return found


def _axis(node: Node, rank: int) -> int | None:
    """The axis of a weight's output channels; None where one scale must do."""
    attrs: Any = filled(node)
    if node.op == "Conv":
        return 0
    if node.op == "Gemm":
        return 0 if attrs["transB"] else 1
    # ONNX Runtime 1.31 fails on a transposed convolution with scales per channel (x64quantprecision)
    return 1 if node.op == "MatMul" and rank == 2 else None


def _symmetric(weight: np.ndarray, axis: int | None) -> Quantization:
    if axis is not None:
        return symmetric_of_weight(weight, axis)
    return symmetric_of_weight(weight.reshape(1, -1), 0).replace(axis=None)


def _widened(quantization: Quantization, bias: np.ndarray, source: float) -> Quantization:
    least = np.abs(bias.reshape(-1).astype(np.float64)) / (source * MOST_BIAS)
    scale = np.asarray(quantization.scale)
    if len(scale) == 1:
        least = least.max(keepdims=True)
    if least.size not in (1, len(scale)) or (least <= scale).all():
        return quantization
    return quantization.replace(scale=tuple(float(s) for s in np.maximum(scale, least).astype(np.float32)))


def _mean_shift(node: Node, rounding: np.ndarray, means: np.ndarray) -> np.ndarray:
    """What the rounding of a weight adds to the mean of each output channel, float64 (K,); the border is left out."""
    attrs: Any = filled(node)
    if node.op == "Gemm":
        return np.asarray((rounding if attrs["transB"] else rounding.T) @ means * attrs["alpha"])
    taps = rounding.sum(axis=tuple(range(2, rounding.ndim)))  # (K, C / group)
    groups = means.reshape(attrs["group"], -1)  # (G, C / group)
    rows = taps.reshape(attrs["group"], -1, taps.shape[1])  # (G, K / G, C / group)
    return np.asarray(np.einsum("gkc,gc->gk", rows, groups).reshape(-1))
