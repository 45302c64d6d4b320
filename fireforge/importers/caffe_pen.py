# SPDX-License-Identifier: Apache-2.0
"""A Graph as it grows out of Caffe's layers: blobs to tensors, weights that the layers want, types of all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Attr, Graph, Node, Shape, TensorType
from fireforge.base.infer import filled
from fireforge.base.ops.operator import Typed
from fireforge.base.ops.table import OPERATORS
from fireforge.base.validate import MOST_LETTERS, MOST_NODES
from fireforge.importers.drawing import MOST_NUMBERS, MOST_TOLD

INPUT, OUTPUT = "input", "logits"
FEED = "feed:"  # before the names of blobs that come from outside


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer whose bottoms are known tensors.

    Args:
      proto: a LayerParameter.
      bottoms: tensors that it reads.
      sole: whether nobody else reads the first of them.
    """

    proto: Any
    bottoms: tuple[str, ...]
    sole: bool = False

    @property
    def name(self) -> str:
        """The layer's name in the file."""
        return str(self.proto.name)

    @property
    def tops(self) -> int:
        """How many blobs it makes."""
        return len(self.proto.top)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One blob of a layer in the file and the weight that it becomes.

    Args:
      name: of the weight; "" for a batch norm's factor, which its statistics are divided by.
      shape: of the blob.
      norm: of a batch norm's statistics.
    """

    name: str
    shape: tuple[int, ...]
    norm: bool = False


def shortest(value: float) -> float:
    """The shortest decimal number that is this float32: 1e-4 where protobuf gives 9.999999747e-05."""
    return float(str(np.float32(value)))


class Pen:
    """Nodes, weights and notes of one network.

    Args:
      where: file, for errors.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.nodes: list[Node] = []
        self.weights: dict[str, TensorType] = {}
        self.wanted: dict[str, list[Wanted]] = {}  # layer to its blobs, in the file's order
        self.made: dict[str, float] = {}  # weights that the file does not hold: all numbers are this one
        self.plain_norms: dict[str, str] = {}  # tensor of a batch norm without scale and shift to its name
        self.blobs: dict[str, str] = {}
        self.notes: list[str] = []
        self.typed: dict[str, Typed] = {}
        self._names = {INPUT, OUTPUT}

    def feed(self, blob: str, shape: tuple[int, ...]) -> None:
        """A blob that comes from outside.

        Args:
          blob: its name.
          shape: without the batch.

        Raises:
          FireforgeError: BAD_MODEL_FILE, if a size is impossible.
        """
        if len(shape) > 4 or not all(0 < size < 2**31 for size in shape):
            what = f"input {blob[:80]!r} of shape {shape[:5]}"
            raise FireforgeError("BAD_MODEL_FILE", what, where=self.where, allowed="at most 4 sizes of 1 or more")
        if math.prod(shape) > MOST_NUMBERS:
            what = f"input {blob[:80]!r} of shape {shape}"
            raise FireforgeError("BAD_MODEL_FILE", what, where=self.where, allowed=f"at most {MOST_NUMBERS} numbers")
        self.typed[FEED + blob] = ("float32", ("N", *shape))
        self.blobs[blob] = FEED + blob

    def fresh(self, name: str) -> str:
        """The name, lengthened where a node or tensor has it already.

        Args:
          name: of a layer, or made of one.

        Returns:
          A name that is taken from now on.

        Raises:
          FireforgeError: BAD_GRAPH, if that would be too long.
        """
        name = name or "layer"
        while name in self._names and len(name) <= MOST_LETTERS:
            name += "_"
        if len(name) > MOST_LETTERS:
            what = f"{name[:80]!r}: a name too long, or that of too many layers"
            raise FireforgeError("BAD_GRAPH", what, where=self.where, allowed=f"at most {MOST_LETTERS} letters")
        self._names.add(name)
        return name

    def shape(self, x: str) -> Shape:
        """Shape of a tensor, batch first as "N"."""
        return self.typed[x][1]

    def channels(self, x: str, layer: Layer) -> int:
        """Size of the second axis of a tensor.

        Args:
          x: tensor.
          layer: who asks.

        Returns:
          The number.

        Raises:
          FireforgeError: BAD_SHAPE, if it has none.
        """
        shape = self.shape(x)
        if len(shape) < 2 or not isinstance(shape[1], int):
            raise FireforgeError("BAD_SHAPE", f"{layer.proto.type} of a tensor {shape}", where=layer.name[:80])
        return shape[1]

    def weight(self, layer: Layer, part: str, shape: tuple[int, ...], *, stored: tuple[int, ...] = ()) -> str:
        """A weight that the next blob of a layer fills.

        Args:
          layer: whose blob it is.
          part: "weight" or "bias".
          shape: in the graph.
          stored: the blob's shape, where it is another one.

        Returns:
          Name of the weight.
        """
        name = self.hold(f"{layer.name}.{part}", shape)
        self.want(layer, Wanted(name=name, shape=stored or shape))
        return name

    def want(self, layer: Layer, *blobs: Wanted) -> None:
        """Note which blobs of the file a layer needs, after those that it needs already."""
        self.wanted.setdefault(layer.name, []).extend(blobs)

    def hold(self, name: str, shape: tuple[int, ...], *, value: float | None = None) -> str:
        """A weight of the graph that no blob is noted for.

        Args:
          name: of the weight.
          shape: of its numbers.
          value: what all of them are, where the file does not say it.

        Returns:
          The name.

        Raises:
          FireforgeError: BAD_GRAPH, if there is one of that name.
        """
        if name in self.weights or name in self._names:
            raise FireforgeError("BAD_GRAPH", f"two layers make {name[:80]!r}", where=self.where)
        self._names.add(name)
        self.weights[name] = TensorType(name=name, shape=shape)
        self.typed[name] = ("float32", shape)
        if value is not None:
            self.made[name] = value
        return name

    def constant(self, name: str, value: float) -> str:
        """A number of the network's definition, of shape ()."""
        name, value = self.fresh(name), shortest(value)
        self.weights[name] = TensorType(name=name, shape=(), fixed=(value,))
        self.typed[name] = ("float32", ())
        self.made[name] = value
        return name

    def node(self, op: str, inputs: tuple[str, ...], name: str, attrs: dict[str, Attr] | None = None) -> str:
        """An operator with one output, which gets the node's name."""
        return self.parts(op, inputs, name, attrs or {}, 1)[0]

    def parts(self, op: str, inputs: tuple[str, ...], name: str, attrs: dict[str, Attr], count: int) -> tuple[str, ...]:
        """An operator of the closed list.

        Args:
          op: a name of OPERATORS.
          inputs: tensors.
          name: of the node, before it is made fresh.
          attrs: the operator's attributes.
          count: outputs.

        Returns:
          The tensors that it makes.

        Raises:
          FireforgeError: BAD_SHAPE or BAD_GRAPH, naming the layer.
        """
        if len(self.nodes) >= MOST_NODES:
            raise FireforgeError("BAD_GRAPH", f"more than {MOST_NODES} nodes", where=self.where)
        attrs = {key: shortest(value) if isinstance(value, float) else value for key, value in attrs.items()}
        name = self.fresh(name)
        outputs = (name,) if count == 1 else tuple(self.fresh(f"{name}.{i}") for i in range(count))
        node = Node(name=name, op=op, inputs=inputs, outputs=outputs, attrs=attrs)
        try:
            made = OPERATORS[op].infer([self.typed[item] for item in inputs], filled(node))
        except FireforgeError as error:
            what = f"{op}: {error.what[:MOST_TOLD]}"
            raise FireforgeError(error.code, what, where=name[:80], allowed=error.allowed) from None
        for _, shape in made:
            if math.prod(size for size in shape if isinstance(size, int)) > MOST_NUMBERS:
                raise FireforgeError("BAD_GRAPH", f"{op} makes {shape}", where=name[:80], allowed="2^28 numbers")
        self.typed.update(zip(outputs, made, strict=True))
        self.nodes.append(node)
        return outputs

    def graph(self, output: str) -> Graph:
        """The part of the network that one tensor depends on: "input" to "logits".

        Args:
          output: a tensor that a node makes.

        Returns:
          The Graph, not validated yet.

        Raises:
          FireforgeError: BAD_GRAPH, if it does not depend on exactly one picture.
        """
        used, kept = {output}, []
        for node in reversed(self.nodes):
            if not used.isdisjoint(node.outputs):
                kept.append(node)
                used.update(node.inputs)
        feeds = [name for name in used if name.startswith(FEED)]
        shapes = {name.removeprefix(FEED)[:80]: self.shape(name)[1:] for name in feeds}
        if len(feeds) != 1 or len(self.shape(feeds[0])) != 4:
            raise FireforgeError("BAD_GRAPH", f"inputs {shapes}", where=self.where, allowed="one picture (C, H, W)")
        names = {feeds[0]: INPUT, output: OUTPUT}
        nodes = tuple(
            node.replace(
                inputs=tuple(names.get(item, item) for item in node.inputs),
                outputs=tuple(names.get(item, item) for item in node.outputs),
            )
            for node in reversed(kept)
        )
        source = TensorType(name=INPUT, shape=self.shape(feeds[0]))
        weights = tuple(weight for name, weight in self.weights.items() if name in used)
        return Graph(inputs=(source,), outputs=(OUTPUT,), weights=weights, nodes=nodes)


Rule = Callable[[Pen, Layer], tuple[str, ...]]  # a layer to the tensors of its tops
