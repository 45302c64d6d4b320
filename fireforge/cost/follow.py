# SPDX-License-Identifier: Apache-2.0
"""Weights that follow when what comes into a layer has another shape."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, Shape, TensorType
from fireforge.base.infer import filled, infer
from fireforge.base.ops.operator import Typed
from fireforge.base.ops.table import OPERATORS
from fireforge.base.validate import MOST_SIZE

SUMS = ("Add", "Sub", "Mul", "Div")


class Follower:
    """Walks a graph in its order and gives each node weights that fit what comes into it.

    Args:
      graph: as it was.
      inputs: what comes into it now; None for its own.
    """

    def __init__(self, graph: Graph, inputs: tuple[TensorType, ...] | None = None) -> None:
        self._before = {name: tensor.shape for name, tensor in infer(graph).items()}
        graph = graph if inputs is None else graph.replace(inputs=inputs)
        self._graph = graph
        self._nodes = {node.name: node for node in graph.nodes}
        self._regrouped: set[str] = set()  # nodes of which another group was asked for
        self._read: set[str] = set()  # what the nodes before read
        self._weights = {weight.name: weight for weight in graph.weights}
        self._typed: dict[str, Typed | None] = {"": None}
        for tensor in (*graph.inputs, *graph.weights):
            self._typed[tensor.name] = (tensor.dtype, tensor.shape)

    def edit(self, node: Node, shapes: dict[str, Shape]) -> None:
        """Take another version of a node and other shapes of its weights; call it before `take`.

        Args:
          node: of the same name.
          shapes: weight name to shape.

        Raises:
          FireforgeError: BAD_CHANGE, if a weight is fixed or belongs to a node before, too.
        """
        if node.attrs.get("group") != self._nodes[node.name].attrs.get("group"):
            self._regrouped.add(node.name)
        self._nodes[node.name] = node
        for name, shape in shapes.items():
            self._reshape(node, name, shape)

    def take(self, name: str) -> None:
        """Fit the weights of the next node and find what it makes.

        Args:
          name: of the node; those before it were taken.

        Raises:
          FireforgeError: BAD_CHANGE, if the node cannot take what comes.
        """
        node = self._nodes[name]
        self._fit(node)
        node = self._nodes[name]
        self._check_sum(node)
        try:
            made = OPERATORS[node.op].infer([self._typed[given] for given in node.inputs], filled(node))
        except FireforgeError as error:
            _refuse(node, f"{node.op} cannot take what now comes: {error.what}")
        for output, typed in zip(node.outputs, made):
            self._typed[output] = typed
        if len(made) != len(node.outputs):
            _refuse(node, f"{node.op} would make {len(made)} tensors")
        self._read.update(node.inputs)

    def graph(self) -> Graph:
        """The graph with all weights fitted."""
        nodes = tuple(self._nodes[node.name] for node in self._graph.nodes)
        return self._graph.replace(nodes=nodes, weights=tuple(self._weights.values()))

    def _shape(self, name: str) -> Any:
        typed = self._typed[name]
        assert typed is not None
        return typed[1]

    def _reshape(self, node: Node, name: str, shape: Shape) -> None:
        weight = self._weights[name]
        if weight.shape == shape:
            return
        if weight.fixed:
            _refuse(node, f"the numbers of {name} are fixed, it cannot become {shape}")
        if name in self._read:
            _refuse(node, f"{name} belongs to another layer, too, and cannot become {shape} here alone")
        if any(isinstance(size, int) and size > MOST_SIZE for size in shape):
            _refuse(node, f"{name} would become {shape}")
        self._weights[name] = weight.replace(shape=shape)
        self._typed[name] = (weight.dtype, shape)

    def _fit(self, node: Node) -> None:
        if node.op == "Reshape":
            self._fit_reshape(node)
        if node.op in SUMS:
            self._fit_factors(node)
        if node.op == "Gather":
            self._check_table(node)
        held = [name for name in node.inputs[1:] if name in self._weights]
        if not held or not node.inputs[0]:
            return
        if node.op in ("Conv", "ConvTranspose"):
            self._fit_conv(node)
        elif node.op == "BatchNormalization":
            for name in held:
                self._reshape(node, name, (self._shape(node.inputs[0])[1],))
        elif node.op == "LayerNormalization":
            axis: Any = filled(node)["axis"]
            for name in held:
                self._reshape(node, name, tuple(self._shape(node.inputs[0])[axis:]))
        elif node.op in ("Gemm", "MatMul"):
            self._fit_product(node)

    def _fit_conv(self, node: Node) -> None:
        a: Any = filled(node)
        channels, weight = self._shape(node.inputs[0])[1], self._shape(node.inputs[1])
        if node.op == "ConvTranspose":
            self._reshape(node, node.inputs[1], (channels, *weight[1:]))
            return
        group = a["group"]
        depthwise = weight[1] == 1 and group > 1 and self._before[node.inputs[0]][1] == group
        if depthwise and node.name not in self._regrouped and channels != group:
            filters = weight[0] // group * channels
            self._nodes[node.name] = node.replace(attrs={**node.attrs, "group": channels})
            self._reshape(node, node.inputs[1], (filters, *weight[1:]))
            for name in node.inputs[2:]:
                self._reshape(node, name, (filters,))
            return
        if channels % group or weight[0] % group:
            _refuse(node, f"{channels} channels and {weight[0]} filters do not go into {group} groups")
        self._reshape(node, node.inputs[1], (weight[0], channels // group, *weight[2:]))

    def _fit_product(self, node: Node) -> None:
        if node.inputs[1] not in self._weights:
            return
        weight, rows = self._shape(node.inputs[1]), self._shape(node.inputs[0])[-1]
        a: Any = filled(node)
        if node.op == "Gemm" and a["transB"]:
            self._reshape(node, node.inputs[1], (weight[0], rows))
        else:
            self._reshape(node, node.inputs[1], (*weight[:-2], rows, weight[-1]))

    def _fit_reshape(self, node: Node) -> None:
        """Maps that keep their last two sizes keep the new ones; channels that were parted are parted as before."""
        before, now = self._before.get(node.inputs[0], ()), self._shape(node.inputs[0])
        wanted: Any = filled(node)["shape"]
        if len(before) < 4 or len(wanted) < 4 or before == now or tuple(wanted[-2:]) != tuple(before[-2:]):
            return
        old, new = math.prod(before[1:-2]), math.prod(now[1:-2])
        middle = list(wanted[1:-2])
        grown = 0 if len(before) > len(wanted) else len(middle) - 1  # where the channels of a group stand
        if math.prod(middle) == old and middle[grown] * new % old == 0:
            middle[grown] = middle[grown] * new // old
            self._nodes[node.name] = node.replace(attrs={**node.attrs, "shape": (wanted[0], *middle, *now[-2:])})

    def _fit_factors(self, node: Node) -> None:
        """A weight beside one tensor follows the sizes that it shares with it; where one of them is 1, it stays."""
        tensors = [name for name in node.inputs if name not in self._weights]
        if len(tensors) != 1:
            return
        before, now = self._before[tensors[0]], self._shape(tensors[0])
        for name in node.inputs:
            if name in self._weights and len(self._shape(name)) <= len(now) == len(before):
                weight = self._shape(name)
                behind = len(now) - len(weight)
                sizes = zip(weight, before[behind:], now[behind:])
                self._reshape(node, name, tuple(new if own == old != 1 else own for own, old, new in sizes))

    def _check_table(self, node: Node) -> None:
        """A table picks from as many as it was made for."""
        if node.inputs[0] in self._weights or node.inputs[1] not in self._weights:
            return
        axis: Any = filled(node)["axis"]
        before, now = self._before[node.inputs[0]][axis], self._shape(node.inputs[0])[axis]
        if before != now:
            _refuse(node, f"its table {node.inputs[1]} picks from {before}, and there are now {now}")

    def _check_sum(self, node: Node) -> None:
        """Two tensors that had one shape still have one: no size is stretched that was not."""
        names = [name for name in node.inputs if name and name not in self._weights]
        if node.op not in SUMS or len(names) < 2:
            return
        same = len({self._before[name] for name in names}) == 1
        shapes = [self._shape(name) for name in names]
        if same and len(set(shapes)) > 1:
            told = " and ".join(" x ".join(map(str, shape)) for shape in shapes)
            _refuse(node, f"{node.op} needs two tensors of one shape, and they are now {told}")


def _refuse(node: Node, what: str) -> NoReturn:
    raise FireforgeError("BAD_CHANGE", what, where=node.name, do="change the other branch alike, or another layer")
