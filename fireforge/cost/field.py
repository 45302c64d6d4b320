# SPDX-License-Identifier: Apache-2.0
"""Receptive fields: which pixels of the picture each node's output sees, and how far apart two neighbours look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fireforge.base.graph import Graph, Node, Shape
from fireforge.base.infer import filled, infer
from fireforge.base.ops.rules import axis_of
from fireforge.base.value import Value

GLOBAL = ("GlobalAveragePool", "GlobalMaxPool")
WINDOWS = ("Conv", "MaxPool", "AveragePool")
STATISTICS = ("Softmax", "LogSoftmax", "LayerNormalization")
SUMS = ("Add", "Sub", "Mul", "Div")
PARTS = ("Slice", "Split", "Gather")
AXES = 2  # height and width
FLAT = -1  # in place of an axis: numbers of all places stand one behind the other


@dataclass(frozen=True, kw_only=True)
class Axis(Value):
    """What one output number sees along one axis of the picture, in pixels of the input.

    Args:
      size: extent of the field; the part that hangs over the picture's edge counts.
      jump: distance between the fields of two neighbours; below 1 where maps are larger than the picture, 0 where all
        numbers see the same.
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


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What a tensor's numbers see along one axis of the picture.

    Args:
      axis: of one number; of all numbers together where place is none of the tensor's axes.
      place: the tensor's axis along which the fields move; FLAT; None where all numbers see the same.
      length: of that axis, else 1.
    """

    axis: Axis
    place: int | None
    length: int = 1

    def whole(self, place: int | None = None) -> _Seen:
        """What all its numbers see together."""
        size = self.axis.size + (self.length - 1) * self.axis.jump
        jump = 0.0 if place is None else self.axis.jump * self.length
        return _Seen(axis=Axis(size=size, jump=jump, start=self.axis.start), place=place)


def fields(graph: Graph) -> dict[str, Field]:
    """Receptive fields of what the nodes make.

    A window of extent k and stride s over a tensor of field r and jump j has field r + (k - 1) j and jump s j. Where
    tensors meet (a sum, a concatenation) the field spans all of theirs. A matrix product and a mean of the whole map
    see what any of the map's numbers sees; a flattened map is told as a whole.

    Args:
      graph: its first input is (N, C, H, W).

    Returns:
      Tensor name to Field, for the tensors that depend on the first input; none where it is no picture. A tensor is not
      among them where the places of its numbers cannot be followed: maps joined or picked along their height or width,
      folded into other axes, windows over turned maps. Neither is what is made of it.

    Source:
      Araujo, Norris, Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
    """
    shapes = {name: tensor.shape for name, tensor in infer(graph).items()}
    source = graph.inputs[0].name
    if len(shapes[source]) != 2 + AXES:
        return {}
    found: dict[str, Field] = {}
    seen: list[dict[str, _Seen | None]] = []
    for i in range(AXES):
        length = shapes[source][2 + i]
        known = None if isinstance(length, str) else _Seen(axis=Axis(), place=2 + i, length=length)
        seen.append({source: known})
        for node in graph.nodes:
            if any(name in seen[i] for name in node.inputs):
                seen[i].update({output: _made(node, k, i, seen[i], shapes) for k, output in enumerate(node.outputs)})
    for name in seen[0]:
        high, wide = seen[0][name], seen[1][name]
        if name != source and high is not None and wide is not None:
            found[name] = Field(height=high.axis, width=wide.axis)
    return found


def _made(node: Node, k: int, i: int, seen: Mapping[str, _Seen | None], shapes: Mapping[str, Shape]) -> _Seen | None:
    """What the k-th output of a node sees along one axis of the picture; None where that cannot be followed."""
    names = [name for name in dict.fromkeys(node.inputs) if name in seen]
    parts = [part for name in names if (part := seen[name]) is not None]
    if len(parts) < len(names):
        return None
    before, after = shapes[names[0]], shapes[node.outputs[k]]
    a: Any = filled(node)
    if node.op == "Concat":
        return None if axis_of(a["axis"], rank=len(after)) in _places(parts) else _union(parts)
    if len(names) > 1:
        ranks = {len(shapes[name]) for name in names} | {len(after)}
        return (
            None if node.op in ("Conv", "ConvTranspose", "Gemm", "MatMul", *PARTS) or len(ranks) > 1 else _union(parts)
        )
    if node.inputs[0] != names[0] and node.op not in (*SUMS, "Gemm", "MatMul"):
        return None  # a weight that is made from the picture
    part = parts[0]
    if node.op in (*WINDOWS, *GLOBAL, "ConvTranspose", "Resize"):
        made = _mapped(node, i, part, before, after) if part.place == 2 + i or part.place is None else None
    elif node.op in ("Gemm", "MatMul"):
        made = _product(node, part, before, after, names[0])
    elif node.op in ("Flatten", "Reshape"):
        made = _reshaped(part, before, after)
    elif node.op == "Transpose":
        made = _placed(part, a["perm"])
    elif node.op in PARTS:
        made = _cut(node, k, part, before, after)
    elif node.op == "Pad":
        made = _padded(node, part, len(before))
    elif node.op == "ReduceMean" or node.op in STATISTICS:
        made = _averaged(node, part, before, after)
    else:
        made = part if len(before) == len(after) else None
    return _measured(made, part.length, after)


def _measured(part: _Seen | None, before: int, shape: Shape) -> _Seen | None:
    """The part with the length that its axis has now; one number that was spread over an axis is the same all along."""
    if part is None or part.place is None or part.place == FLAT:
        return part
    length = shape[part.place]
    if isinstance(length, str):
        return None
    alike = before == 1 and length > 1
    return _Seen(axis=part.axis, place=None if alike else part.place, length=1 if alike else length)


def _places(parts: Sequence[_Seen]) -> set[int]:
    return {part.place for part in parts if part.place is not None}


def _union(parts: Sequence[_Seen]) -> _Seen | None:
    """What is seen by numbers that meet; where one of them is spread over a map, all see what any of the map's sees."""
    if len(_places(parts)) > 1:
        return None
    most = max(part.length for part in parts)
    spread = most > 1 and any(part.length < most for part in parts)
    parts = [part.whole() for part in parts] if spread else parts
    start, end = min(part.axis.start for part in parts), max(part.axis.end for part in parts)
    jump = max(part.axis.jump for part in parts)
    place = None if spread else next(iter(_places(parts)), None)
    return _Seen(axis=Axis(size=end - start, jump=jump, start=start), place=place, length=1 if spread else most)


def _mapped(node: Node, i: int, part: _Seen, before: Shape, after: Shape) -> _Seen:
    """Operators on the height and width of maps."""
    if part.place is None:
        return part
    if node.op in GLOBAL:
        return part.whole(part.place)
    a: Any = filled(node)
    axis = part.axis
    if node.op == "Resize":
        old, new = part.length, after[2 + i]
        if isinstance(new, str):
            return part
        linear = a["mode"] == "linear" and old != new
        reach = axis.jump if linear else 0
        first = (
            math.floor((old / new - 1) / 2) * axis.jump if linear else 0
        )  # of two that the first output lies between
        made = Axis(size=axis.size + reach, jump=axis.jump * old / new, start=axis.start + first)
    else:
        extent = (a["kernel_shape"][i] - 1) * (a.get("dilations") or (1, 1))[i] + 1
        stride, pad = a["strides"][i], a["pads"][i]
        reach = (-(-extent // stride) if node.op == "ConvTranspose" else extent) - 1
        if node.op == "ConvTranspose":
            start = axis.start - reach * axis.jump + pad * axis.jump / stride
            made = Axis(size=axis.size + reach * axis.jump, jump=axis.jump / stride, start=start)
        else:
            start = axis.start - pad * axis.jump
            made = Axis(size=axis.size + reach * axis.jump, jump=axis.jump * stride, start=start)
    return _Seen(axis=made, place=part.place)


def _product(node: Node, part: _Seen, before: Shape, after: Shape, name: str) -> _Seen | None:
    """The axis that is summed over is seen as a whole."""
    if part.place is None:
        return part
    left = node.inputs[0] == name
    if node.op == "Gemm":
        summed = int(left != bool(filled(node)["transA" if left else "transB"]))
    else:
        summed = len(before) - 1 if left or len(before) == 1 else len(before) - 2
    if part.place == FLAT:
        return part.whole() if len(before) == 2 and summed == 1 else None
    if part.place == summed:
        return part.whole()
    return part if len(before) == len(after) and left and summed > part.place else None


def _reshaped(part: _Seen, before: Shape, after: Shape) -> _Seen | None:
    """The axis stays one where as many numbers stand behind it as before; else the map is flat, or it is lost."""
    if part.place is None or part.length == 1:
        return part.whole()
    if part.place == FLAT:
        return part if len(after) == 2 else None
    behind = _volume(before[part.place + 1 :])
    for place, length in enumerate(after):
        if length == part.length and behind is not None and _volume(after[place + 1 :]) == behind:
            return _Seen(axis=part.axis, place=place)
    return part.whole(FLAT) if len(after) == 2 else None


def _volume(sizes: Shape) -> int | None:
    numbers = [size for size in sizes if not isinstance(size, str)]
    return math.prod(numbers) if len(numbers) == len(sizes) else None


def _placed(part: _Seen, perm: Sequence[int]) -> _Seen | None:
    if part.place is None:
        return part
    return None if part.place == FLAT else _Seen(axis=part.axis, place=list(perm).index(part.place))


def _cut(node: Node, k: int, part: _Seen, before: Shape, after: Shape) -> _Seen | None:
    """Parts along another axis see the same; along this one they begin later."""
    if part.place is None:
        return part
    a: Any = filled(node)
    if part.place == FLAT:
        return None
    if node.op == "Slice":
        cuts = {axis_of(axis, rank=len(before)): j for j, axis in enumerate(a["axes"])}
        if part.place not in cuts:
            return part
        j = cuts[part.place]
        first, step = range(part.length)[slice(a["starts"][j], None, a["steps"][j])].start, a["steps"][j]
        return None if step < 1 else _Seen(axis=_later(part.axis, first, step), place=part.place)
    axis = axis_of(a["axis"], rank=len(before))
    if node.op == "Split":
        return _Seen(axis=_later(part.axis, sum(a["split"][:k]), 1), place=part.place) if axis == part.place else part
    if axis == part.place:
        return None
    shift = len(after) - len(before) if axis < part.place else 0
    return _Seen(axis=part.axis, place=part.place + shift)


def _padded(node: Node, part: _Seen, rank: int) -> _Seen | None:
    pads: Any = filled(node)["pads"]
    if part.place is None:
        return part
    if part.place == FLAT:
        return None if any(pads) else part
    begin, end = pads[part.place], pads[part.place + rank]
    if part.length == 1 and (begin > 0 or end > 0):
        return None
    return _Seen(axis=_later(part.axis, -begin, 1), place=part.place)


def _later(axis: Axis, steps: int, stride: int) -> Axis:
    return Axis(size=axis.size, jump=axis.jump * stride, start=axis.start + steps * axis.jump)


def _averaged(node: Node, part: _Seen, before: Shape, after: Shape) -> _Seen | None:
    """What is summed along an axis sees all of it."""
    if part.place is None:
        return part
    a: Any = filled(node)
    rank = len(before)
    if node.op == "ReduceMean":
        axes = {axis_of(axis, rank=rank) for axis in a["axes"]} or set(range(rank))
    else:
        first = axis_of(a["axis"], rank=rank)
        axes = set(range(first, rank)) if node.op == "LayerNormalization" else {first}
    if part.place == FLAT:
        return part.whole() if rank == 2 and 1 in axes else None
    if part.place in axes:
        return part.whole(part.place if len(after) == rank and node.op == "ReduceMean" else None)
    gone = sum(axis < part.place for axis in axes) if len(after) < rank else 0
    return _Seen(axis=part.axis, place=part.place - gone)
