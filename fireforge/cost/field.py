# SPDX-License-Identifier: Apache-2.0
"""Receptive fields: which pixels of the picture each node's output sees, and how far apart two neighbours look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fireforge.base.graph import Graph, Node, TensorType
from fireforge.base.infer import filled, infer
from fireforge.base.value import Value

WHOLE = frozenset(("GlobalAveragePool", "GlobalMaxPool"))
WINDOWS = frozenset(("Conv", "MaxPool", "AveragePool"))
AXES = 2  # height and width


@dataclass(frozen=True, kw_only=True)
class Axis(Value):
    """What one output number sees along one axis of the picture, in pixels of the input.

    Args:
      size: extent of the field; the part that hangs over the picture's edge counts.
      jump: distance between the fields of two neighbours; below 1 where maps are larger than the picture.
      start: where the first output's field begins; negative where it begins in the padding.
    """

    size: float = 1
    jump: float = 1
    start: float = 0

    @property
    def end(self) -> float:
        """Behind the first output's field."""
        return self.start + self.size


@dataclass(frozen=True, kw_only=True)
class Field(Value):
    """What a node's output sees of the picture.

    Args:
      height: along the rows.
      width: along the columns.
    """

    height: Axis
    width: Axis


def fields(graph: Graph) -> dict[str, Field]:
    """Receptive fields of what the nodes make.

    A window of extent k and stride s over a tensor of field r and jump j has field r + (k - 1) j and jump s j. Where
    tensors meet (a sum, a concatenation) the field spans all of theirs. A matrix product and a mean of the whole map
    see what any of the map's numbers sees.

    Args:
      graph: its first input is (N, C, H, W).

    Returns:
      Tensor name to Field, for the tensors that depend on the first input; none where it is no picture.

    Source:
      Araujo, Norris, Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
    """
    types = infer(graph)
    if len(graph.inputs[0].shape) != 2 + AXES:
        return {}
    found: dict[str, Field] = {graph.inputs[0].name: Field(height=Axis(), width=Axis())}
    for node in graph.nodes:
        seen = [name for name in node.inputs if name in found]
        if seen:
            axes = [_axis(node, i, seen, found, types) for i in range(AXES)]
            found.update(dict.fromkeys(node.outputs, Field(height=axes[0], width=axes[1])))
    del found[graph.inputs[0].name]
    return found


def _axis(node: Node, i: int, seen: Sequence[str], found: Mapping[str, Field], types: Mapping[str, TensorType]) -> Axis:
    parts = [(found[name].height, found[name].width)[i] for name in seen]
    flat = len(types[node.outputs[0]].shape) != 2 + AXES
    if node.op in WHOLE or flat or (node.op == "ReduceMean" and _shrinks(node, i, types)):
        return _union([_whole(part, types[name], i) for part, name in zip(parts, seen)])
    joined = _union(parts)
    if node.op in WINDOWS:
        a: Any = filled(node)
        extent = (a["kernel_shape"][i] - 1) * (a.get("dilations") or (1, 1))[i] + 1
        return _window(joined, extent, a["strides"][i], a["pads"][i])
    if node.op == "ConvTranspose":
        a = filled(node)
        extent, stride = (a["kernel_shape"][i] - 1) * a["dilations"][i] + 1, a["strides"][i]
        reach = -(-extent // stride)
        start = joined.start - (reach - 1) * joined.jump + a["pads"][i] * joined.jump / stride
        return Axis(size=joined.size + (reach - 1) * joined.jump, jump=joined.jump / stride, start=start)
    if node.op == "Resize":
        return _resized(node, i, joined, types)
    return joined


def _window(part: Axis, extent: int, stride: int, pad: int) -> Axis:
    return Axis(size=part.size + (extent - 1) * part.jump, jump=part.jump * stride, start=part.start - pad * part.jump)


def _resized(node: Node, i: int, part: Axis, types: Mapping[str, TensorType]) -> Axis:
    before, after = (types[name].shape[2 + i] for name in (node.inputs[0], node.outputs[0]))
    if isinstance(before, str) or isinstance(after, str):
        return part
    reach = part.jump if filled(node)["mode"] == "linear" and before != after else 0
    return Axis(size=part.size + reach, jump=part.jump * before / after, start=part.start)


def _whole(part: Axis, tensor: TensorType, i: int) -> Axis:
    """The field of all numbers of a map together."""
    length = tensor.shape[2 + i] if len(tensor.shape) == 2 + AXES else 1
    steps = 0 if isinstance(length, str) else length - 1
    return Axis(size=part.size + steps * part.jump, jump=part.jump * (steps + 1), start=part.start)


def _union(parts: Sequence[Axis]) -> Axis:
    start, end = min(part.start for part in parts), max(part.end for part in parts)
    return Axis(size=end - start, jump=max(part.jump for part in parts), start=start)


def _shrinks(node: Node, i: int, types: Mapping[str, TensorType]) -> bool:
    return types[node.outputs[0]].shape[2 + i] != types[node.inputs[0]].shape[2 + i]
