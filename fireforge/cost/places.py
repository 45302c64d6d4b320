# SPDX-License-Identifier: Apache-2.0
"""The tensors that ONNX Runtime writes in a run of a float graph, in its order, and which of them share a place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import Graph
from fireforge.base.infer import filled
from fireforge.cost.blocked import FUSED, BlockedWalk
from fireforge.cost.count import BYTES
from fireforge.cost.walk import SILENT, Step, as_delivered

RENAMED = ("flatten", "Reshape")  # kernels that leave the numbers where they are
IN_PLACE = (*FUSED, "Softmax", "LogSoftmax")  # kernels that write over what they read, where nothing else needs it


@dataclass(frozen=True, kw_only=True)
class Written:
    """A tensor that a kernel of a run writes.

    Args:
      name: of the tensor.
      reads: tensors that the kernel reads.
      shape: as it lies in memory, the batch in place of symbols.
      size: bytes.
      over: what it reads whose place the tensor may take, if nothing reads that afterwards.
      scratch: bytes of what the kernel takes beside it and gives back when it is done, each piece.
    """

    name: str
    reads: tuple[str, ...]
    shape: tuple[int, ...]
    size: int
    over: tuple[str, ...] = ()
    scratch: tuple[int, ...] = ()


def written(graph: Graph, *, batch: int, block: int) -> list[Written]:
    """What is written in a run, by the kernels of `fireforge.cost.blocked.BlockedWalk`.

    Args:
      graph: float32; batch norms behind products count as folded, Dropout as gone, as files are delivered.
      batch: what the symbols of the shapes count as.
      block: channels in a block: 16 with AVX-512, 8 with AVX2, 0 or 1 for a processor without such kernels.

    Returns:
      The tensors in the order in which they are written; one that only has another shape than the one before is not
      among them.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if the graph holds quantized tensors, whose memory is not described here.
    """
    for node in graph.nodes:
        if node.op in SILENT:
            raise FireforgeError("UNKNOWN_OPERATOR", f"memory of {node.op} is not described", where=node.name)
    walk = BlockedWalk(as_delivered(graph), block)
    steps = depth_first(walk.steps())
    windows: dict[str, Any] = {node.outputs[0]: filled(node)["size"] for node in graph.nodes if node.op == "LRN"}
    same: dict[str, str] = {}
    found: list[Written] = []
    for step in steps:
        reads = tuple(same.get(name, name) for name in step.reads)
        if step.kernel.kind in RENAMED:
            same[step.writes[0]] = reads[0]
            continue
        over = _over(step, reads, whole=step.writes[0] in walk.blocked)
        for name in step.writes:
            shape = _shape(walk, name, batch)
            size = math.prod(shape) * BYTES[walk.types[name].dtype]
            scratch = _response(shape, windows[name]) if name in windows else ()
            found.append(Written(name=name, reads=reads, shape=shape, size=size, over=over, scratch=scratch))
    return found


def depth_first(steps: Sequence[Step]) -> list[Step]:
    """The steps in the order of ONNX Runtime: before a step all that its last tensor needs, then its last but one.

    Where several branches are put back into the plain layout, ONNX Runtime itself takes them in an order that changes
    from file to file.

    Args:
      steps: of a walk; a step may stand before one that it reads from.

    Returns:
      The same, each behind those that it reads from.
    """
    makers = {name: step for step in steps for name in step.writes}
    read = {name for step in steps for name in step.reads}
    stack = [(step, False) for step in reversed(steps) if read.isdisjoint(step.writes)]
    order: list[Step] = []
    seen: set[str] = set()
    while stack:
        step, ready = stack.pop()
        if ready:
            order.append(step)
        elif step.writes[0] not in seen:
            seen.add(step.writes[0])
            stack.append((step, True))
            stack += [(makers[name], False) for name in step.reads if name in makers]
    return order


def places(tensors: Sequence[Written]) -> list[int]:
    """Where each tensor lies: over one that is read, in the place of a dead one of the same shape, or in a new place.

    Args:
      tensors: as `written` gives them.

    Returns:
      The number of each one's place; those that a caller gives have none.
    """
    left = Counter(name for tensor in tensors for name in tensor.reads)
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    place: dict[str, int] = {}
    free: list[tuple[tuple[int, ...], int]] = []
    found: list[int] = []
    for tensor in tensors:
        done = [name for name in dict.fromkeys(tensor.reads) if left[name] == tensor.reads.count(name)]
        own = tensor.name not in left  # an output, which is the caller's
        over = None if own else next((name for name in tensor.over if name in done and name in place), None)
        dead = None if own else next((entry for entry in free if entry[0] == tensor.shape), None)
        if over is not None:
            place[tensor.name] = place.pop(over)
        elif dead is not None:
            free.remove(dead)
            place[tensor.name] = dead[1]
        else:
            place[tensor.name] = max(found, default=-1) + 1
        found.append(place[tensor.name])
        left.subtract(tensor.reads)
        free[:0] = [(shapes[name], place.pop(name)) for name in done if name in place]
    return found


def last_uses(tensors: Sequence[Written], taken: Sequence[int]) -> dict[int, int]:
    """When each place is free.

    Args:
      tensors: as `written` gives them.
      taken: as `places` gives it for them.

    Returns:
      Place to the number of the tensor behind which nothing needs it any more; for results, that of tensors.
    """
    owner = {tensor.name: place for tensor, place in zip(tensors, taken)}
    read = {name for tensor in tensors for name in tensor.reads}
    last: dict[int, int] = {}
    for i, (tensor, place) in enumerate(zip(tensors, taken)):
        for each in (place, *(owner[name] for name in tensor.reads if name in owner)):
            last[each] = max(last.get(each, 0), i)
    for tensor, place in zip(tensors, taken):
        if tensor.name not in read:
            last[place] = len(tensors)
    return last


def _over(step: Step, reads: tuple[str, ...], *, whole: bool) -> tuple[str, ...]:
    """What a kernel may write over; products and sums of plain tensors take a place of their own.

    Observed in the log of ONNX Runtime 1.31, which names the bytes that it takes for the tensors of a run.
    """
    kind = step.kernel.kind
    if "conv" in kind:
        return reads[1:]  # the other part of its sum
    return reads if kind in IN_PLACE or (kind == "add" and whole) else ()


def _response(shape: tuple[int, ...], window: int) -> tuple[int, ...]:
    """What local response normalization takes: a scale a number, and one picture's squares with its channels padded.

    Source: ONNX Runtime, core/providers/cpu/nn/lrn.cc.
    """
    _, channels, height, width = shape
    return BYTES["float32"] * math.prod(shape), BYTES["float32"] * (channels + window - 1) * height * width


def _shape(walk: BlockedWalk, name: str, batch: int) -> tuple[int, ...]:
    """Of a tensor as it lies in memory."""
    dims = [batch if isinstance(dim, str) else dim for dim in walk.types[name].shape]
    if name in walk.blocked:
        dims[1] = walk.lies(name)[0]
    return tuple(dims)
