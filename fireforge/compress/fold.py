# SPDX-License-Identifier: Apache-2.0
"""Batch norms folded into the layers before them; Dropout and Identity removed."""

from __future__ import annotations

from typing import Any

import numpy as np

from fireforge.base.clean import without_idle
from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr, Graph, Node, TensorType
from fireforge.base.infer import filled
from fireforge.base.model import Model
from fireforge.base.record import StageReport
from fireforge.base.tensorform import Dense, Masked, TensorForm
from fireforge.base.validate import validate
from fireforge.compress.stage import Context, staged

NORM = "BatchNormalization"
HOSTS = ("Conv", "Gemm", "ConvTranspose")


def fold(model: Model, ctx: Context) -> tuple[Model, StageReport]:
    """The stage "fold": see `folded`.

    Args:
      model: float, without a QuantPlan.
      ctx: only evaluate is used.

    Returns:
      The model with the same function and fewer nodes, and the report.
    """
    return staged("fold", lambda given, _: folded(given), model, ctx=ctx)


def folded(model: Model) -> tuple[Model, tuple[str, ...]]:
    """Batch norms multiplied into the layers before them.

    w' = w g / sqrt(var + eps) for each output channel, b' = beta + (b - mean) g / sqrt(var + eps), in float64. Only
    where the layer's output feeds the norm alone, and its weight and bias are its own. The layer keeps its name and
    its weights' names, a bias is added where there was none, and the norm's output keeps its name.

    Args:
      model: float, without a QuantPlan.

    Returns:
      The model, the same object where there was nothing to do; and notes on what was done and what was left.

    Raises:
      FireforgeError: BAD_STAGE, if the model is quantized; BAD_WEIGHTS, if a norm's statistics give no finite numbers.

    Source:
      Jacob et al. 2018, section 3.2, equation 14.
    """
    if model.quant is not None:
        raise FireforgeError("BAD_STAGE", "fold after quantization", do="fold first, then int8")
    graph = without_idle(model.graph)
    work = _Folding(graph, dict(model.weights))
    for node in graph.nodes:
        work.add(node)
    removed = len(model.graph.nodes) - len(graph.nodes)
    if not removed and not work.done:
        return model, ("no batch norm, Dropout or Identity to fold", *work.left)
    result = work.finish()
    validate(result)
    forms = {tensor.name: work.forms[tensor.name] for tensor in result.weights}
    notes = (f"{work.done} batch norms folded, {removed} idle nodes removed", *work.left)
    return model.replace(graph=result, weights=forms), notes


class _Folding:
    """Nodes and forms as they change."""

    def __init__(self, graph: Graph, forms: dict[str, TensorForm]) -> None:
        self.graph, self.forms = graph, forms
        self.nodes: list[Node] = []
        self.types = {tensor.name: tensor for tensor in graph.weights}
        self.made: dict[str, int] = {}  # tensor -> place of its node in self.nodes
        self.users: dict[str, int] = {}
        for name in (*graph.outputs, *(name for node in graph.nodes for name in node.inputs)):
            self.users[name] = self.users.get(name, 0) + 1
        self.taken = {name for node in graph.nodes for name in (*node.inputs, *node.outputs)}
        self.done = 0
        self.left: tuple[str, ...] = ()

    def add(self, node: Node) -> None:
        place = self.made.get(node.inputs[0], -1) if node.op == NORM else -1
        if place >= 0 and self._fits(self.nodes[place], node):
            self.nodes[place] = self._folded(self.nodes[place], node)
            self.done += 1
        else:
            if node.op == NORM:
                self.left += (f"{node.name} stays: no layer before it that feeds it alone",)
            place = len(self.nodes)
            self.nodes.append(node)
        self.made.update(dict.fromkeys(node.outputs, place))

    def finish(self) -> Graph:
        """The new graph; a new bias stands behind its layer's weight."""
        used = {name for node in self.nodes for name in node.inputs}
        old = {tensor.name for tensor in self.graph.weights}
        biases = {node.inputs[1]: node.inputs[2] for node in self.nodes if node.op in HOSTS and len(node.inputs) > 2}
        weights: list[TensorType] = []
        for tensor in self.graph.weights:
            if tensor.name in used:
                weights.append(self.types[tensor.name])
            bias = biases.get(tensor.name, "")
            if bias in self.types and bias not in old:
                weights.append(self.types[bias])
        return self.graph.replace(nodes=tuple(self.nodes), weights=tuple(weights))

    def _fits(self, host: Node, norm: Node) -> bool:
        if host.op not in HOSTS or self.users[norm.inputs[0]] != 1:
            return False
        own = [name for name in host.inputs[1:3] if name]
        if any(name not in self.types or self.users[name] != 1 for name in own):
            return False
        if any(name not in self.types for name in norm.inputs[1:]):
            return False
        if not isinstance(self.forms[host.inputs[1]], (Dense, Masked)):
            return False
        filters = self.types[norm.inputs[1]].shape[0]
        return len(own) < 2 or self.forms[own[1]].array().size in (1, filters)

    def _folded(self, host: Node, norm: Node) -> Node:
        gamma, beta, mean, variance = (self.forms[name].array().astype(np.float64) for name in norm.inputs[1:])
        attrs: Any = {**filled(norm), **filled(host)}
        with np.errstate(all="ignore"):
            factor = gamma / np.sqrt(variance + attrs["epsilon"])
        weight, bias = host.inputs[1], host.inputs[2] if len(host.inputs) > 2 else ""
        old = np.zeros(len(gamma))
        if bias:
            old = old + self.forms[bias].array().astype(np.float64).reshape(-1) * attrs.get("beta", 1.0)
        new = beta + (old - mean) * factor
        if not (np.isfinite(factor).all() and np.isfinite(new).all()):
            raise FireforgeError("BAD_WEIGHTS", "the statistics give no finite numbers", where=norm.name)
        self.forms[weight] = _scaled(self.forms[weight], _spread(factor, host, self.types[weight]))
        bias = bias or self._bias_name(weight, host.name)
        dtype = self.types[weight].dtype
        self.forms[bias] = Dense(values=new.astype(dtype))
        self.types[bias] = TensorType(name=bias, dtype=dtype, shape=(len(new),))
        self.users[bias] = 1
        kept: dict[str, Attr] = {**host.attrs, "beta": 1.0} if "beta" in host.attrs else host.attrs
        return host.replace(inputs=(host.inputs[0], weight, bias), outputs=norm.outputs, attrs=kept)

    def _bias_name(self, weight: str, host: str) -> str:
        name = weight.removesuffix(".weight") + ".bias" if weight.endswith(".weight") else f"{host}.bias"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def _spread(factor: np.ndarray, host: Node, weight: TensorType) -> np.ndarray:
    """The factors of the output channels, shaped to be multiplied with the weight."""
    attrs: Any = filled(host)
    rest = (1,) * (len(weight.shape) - 2)
    if host.op == "Conv" or (host.op == "Gemm" and attrs["transB"]):
        return factor.reshape(-1, 1, *rest)
    if host.op == "Gemm":
        return factor.reshape(1, -1)
    rows: Any = weight.shape[0]  # (C, K / group, R, S): the rows of one group share that group's filters
    return np.repeat(factor.reshape(attrs["group"], -1), rows // attrs["group"], axis=0).reshape(rows, -1, *rest)


def _scaled(form: TensorForm, factor: np.ndarray) -> TensorForm:
    if isinstance(form, Masked):
        values = (form.values.astype(np.float64) * factor).astype(form.values.dtype)
        return Masked(values=values, mask=form.mask)
    values = form.array()
    return Dense(values=(values.astype(np.float64) * factor).astype(values.dtype))
