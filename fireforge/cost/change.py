# SPDX-License-Identifier: Apache-2.0
"""One change of a network, and what it does to weights, activations and multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph, Node, Shape, TensorType
from fireforge.base.infer import filled, infer
from fireforge.base.value import Value
from fireforge.cost.count import count
from fireforge.cost.follow import Follower
from fireforge.cost.parallel import volumes

ALLOWED = "LAYER.filters, LAYER.kernel, LAYER.stride, LAYER.pad, LAYER.group, classes or input, = and a number"
FILTERED = ("Conv", "Gemm")
MOST_FILTERS, MOST_PIXELS = 10**6, 2**16  # what any layer, and any picture, has less than
SHOWN = 80  # characters of a change that cannot be read
DIGITS = 12  # of a number that is read at all
TUPLES = {"kernel": "kernel_shape", "stride": "strides", "pad": "pads"}


@dataclass(frozen=True, kw_only=True)
class Changed(Value):
    """A network as it is, or with one change, in the three quantities that a step of training depends on.

    Args:
      change: what was asked for; "" for the network as it is.
      kind: "local" where all maps keep their sizes: the layer itself and those that read it change; "global" where
        maps change their sizes, which those of all later layers do; "" for the network as it is.
      params: |W|, trained numbers.
      data_bytes: |D|, inputs of all convolutions and matrix products for one picture, float32.
      macs: multiply-adds for one picture.
      ratios: of these three to the network as it is, in this order.
    """

    change: str
    kind: str
    params: int
    data_bytes: int
    macs: int
    ratios: tuple[float, float, float] = (1.0, 1.0, 1.0)


def changes(graph: Graph, texts: list[str] | tuple[str, ...]) -> tuple[Changed, ...]:
    """A network as it is and with each of some changes, one at a time.

    Args:
      graph: a valid graph.
      texts: what `changed` takes.

    Returns:
      The network as it is, then a row for each change.

    Raises:
      FireforgeError: as `changed`.

    Source:
      Iandola, Exploring the Design Space of Deep Convolutional Neural Networks at Large Scale, 2016: local and global
      changes. A matrix product behind a Flatten breaks the rule that a global change leaves |W| as it is.
    """
    base = _counted(graph, "", "")
    rows = [base]
    for text in texts:
        new = changed(graph, text)
        row = _counted(new, text, "global" if _resizes(graph, new) else "local")
        pairs = zip((row.params, row.data_bytes, row.macs), (base.params, base.data_bytes, base.macs))
        first, second, third = (mine / other if other else 1.0 for mine, other in pairs)
        rows.append(row.replace(ratios=(first, second, third)))
    return tuple(rows)


def changed(graph: Graph, text: str) -> Graph:
    """A network with one change; weights downstream follow.

    The inputs of later convolutions and matrix products, batch norms and depthwise groups take what now comes. Padding
    stays, so another kernel changes the size of the maps.

    Args:
      graph: a valid graph.
      text: "conv1.filters=384", "conv1.kernel=5", "pool1.stride=3", "conv1.pad=2", "conv2.group=2" with a layer's name;
        "classes=10000": filters of the layers that make the outputs; "input=448" or "input=448x320": height and width.

    Returns:
      Another graph.

    Raises:
      FireforgeError: BAD_CHANGE, if the text is none, the number is 0 (but for a pad) or beyond MOST_FILTERS or
        MOST_PIXELS, there is no such layer, or a layer downstream cannot take what comes: a sum of tensors of different
        shapes, a Concat of maps of different sizes, a Reshape, a Split or a table of fixed sizes; `where` names the
        node.
    """
    what, _, value = text.partition("=")
    what, text = what.strip(), shorten(" ".join(text.split()), SHOWN, placeholder=" ...")
    layer, _, part = what.rpartition(".")
    if what == "input":
        return _resized(graph, _sizes(value, text), text)
    number = _number(value, text, part.strip())
    if what == "classes":
        return _follow(graph, {name: {"filters": number} for name in _last_layers(graph, text)}, text)
    node = next((node for node in graph.nodes if node.name == layer), None)
    if node is None:
        known = ", ".join(node.name for node in graph.nodes if node.op in (*FILTERED, "MaxPool", "AveragePool"))
        raise FireforgeError("BAD_CHANGE", f"no layer called {layer!r}", where=text, allowed=known or ALLOWED)
    return _follow(graph, {node.name: {part: number}}, text)


def _follow(
    graph: Graph,
    edits: Mapping[str, Mapping[str, int]],
    text: str,
    *,
    inputs: tuple[TensorType, ...] | None = None,
) -> Graph:
    follower = Follower(graph, inputs)
    for node in graph.nodes:
        for part, number in edits.get(node.name, {}).items():
            follower.edit(*_edited(graph, node, part, number, text))
        follower.take(node.name)
    return follower.graph()


def _edited(graph: Graph, node: Node, part: str, number: int, text: str) -> tuple[Node, dict[str, Shape]]:
    """The node with another attribute, and the shapes of its weights."""
    a: Any = filled(node)
    held = {weight.name: weight.shape for weight in graph.weights}
    weight: Any = held.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if part == "filters" and node.op in FILTERED and weight is not None:
        across = node.op == "Gemm" and not a["transB"]
        shapes: dict[str, Shape] = {node.inputs[1]: (weight[0], number) if across else (number, *weight[1:])}
        shapes.update({name: (number,) for name in node.inputs[2:] if name in held})
        return node, shapes
    if part == "group" and node.op == "Conv" and weight is not None:
        return node.replace(attrs={**node.attrs, "group": number}), {}
    if part in TUPLES and "kernel_shape" in a:
        rank = len(a["kernel_shape"])
        new = (number,) * (2 * rank if part == "pad" else rank)
        shapes = {node.inputs[1]: (*weight[:2], *new)} if part == "kernel" and weight is not None else {}
        return node.replace(attrs={**node.attrs, TUPLES[part]: new}), shapes
    made = len(node.inputs) > 1 and weight is None and node.op in FILTERED
    what = f"the weight of {node.name} is made by another node" if made else f"{node.op} has no {part!r} to change"
    raise FireforgeError("BAD_CHANGE", what, where=text, allowed=ALLOWED)


def _resized(graph: Graph, sizes: tuple[int, int], text: str) -> Graph:
    first = graph.inputs[0]
    if len(first.shape) != 4:
        raise FireforgeError("BAD_CHANGE", f"the input is {first.shape}", where=text, allowed="(N, C, H, W)")
    wider = first.replace(shape=(*first.shape[:2], *sizes))
    return _follow(graph, {}, text, inputs=(wider, *graph.inputs[1:]))


def _last_layers(graph: Graph, text: str) -> list[str]:
    """Layers with filters that no other such layer stands behind."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    found = []
    for output in graph.outputs:
        node = makers.get(output)
        while node is not None and node.op not in FILTERED:
            node = makers.get(node.inputs[0])
        if node is None:
            raise FireforgeError("BAD_CHANGE", f"no layer makes the classes of {output}", where=text)
        found.append(node.name)
    return found


def _resizes(graph: Graph, new: Graph) -> bool:
    before, after = infer(graph), infer(new)
    names = {name for node in graph.nodes for name in node.outputs} | {tensor.name for tensor in graph.inputs}
    return any(_spatial(before[name]) != _spatial(after[name]) for name in names)


def _spatial(tensor: TensorType) -> Shape:
    return tensor.shape[2:] if len(tensor.shape) > 2 else ()


def _counted(graph: Graph, change: str, kind: str) -> Changed:
    cost = count(graph)
    data = volumes(graph).data_bytes
    return Changed(change=change, kind=kind, params=cost.params, data_bytes=data, macs=cost.macs)


def _number(text: str, where: str, part: str) -> int:
    """A whole number within the bounds of what it is for."""
    digits = text.strip()
    if not digits:
        raise FireforgeError("BAD_CHANGE", "no number behind an =", where=where, allowed=ALLOWED)
    least = 0 if part == "pad" else 1
    most = MOST_FILTERS if part in ("filters", "classes", "group") else MOST_PIXELS
    if not (digits.isascii() and digits.isdecimal()):
        raise FireforgeError("BAD_CHANGE", f"{digits!r} is no whole number", where=where, allowed=ALLOWED)
    if len(digits) > DIGITS or not least <= int(digits) <= most:
        raise FireforgeError("BAD_CHANGE", f"{digits[:DIGITS]} {part}", where=where, allowed=f"{least} to {most:,}")
    return int(digits)


def _sizes(text: str, where: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) > 2:
        raise FireforgeError("BAD_CHANGE", f"{text!r}", where=where, allowed="input=448 or input=448x320 (H x W)")
    sizes = [_number(part, where, "input") for part in parts]
    return sizes[0], sizes[-1]
