# SPDX-License-Identifier: Apache-2.0
"""The memory of predicting, counted as ONNX Runtime holds it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from fireforge.base.graph import Graph
from fireforge.base.value import Value
from fireforge.cost.arena import MAPPED, Arena, Pattern
from fireforge.cost.count import BYTES, size
from fireforge.cost.places import Written, last_uses, places, written

LIBRARY_BYTES = 11_000_000  # observed: what ONNX Runtime 1.31 takes for its first session, whatever the network
HELD_COPIES = 2  # of the weights: what was parsed and what runs
# observed: resident copies of a convolution's weights after a file is loaded: its bytes, what was parsed, the layout of
# the kernels, what runs; glibc keeps what is freed. Between 3.3 and 4.7 by how the tensors fit into each other's places
LOAD_COPIES = 4
PLAIN_COPIES = 3  # of other weights, which have no other layout
PEAK_COPIES = 3  # while a file is loaded, of a tensor so great that glibc gives it back when it is freed
BLOCK = 16  # channels of AVX-512 kernels


@dataclass(frozen=True, kw_only=True)
class InferenceMemory(Value):
    """Bytes of predicting with ONNX Runtime on a CPU.

    Args:
      weights: of the graph, once.
      load: resident at most while a file is loaded, LIBRARY_BYTES among them.
      held: resident after it is loaded.
      batch: pictures that the caller holds, float32.
      alive: most bytes of activations in use at once, places that wait for a tensor of their shape among them.
      run: activations that are resident after three runs or more, and what kernels took beside them; those in
        places that the loading left free are among them.
      peak: all that is resident at most.
    """

    weights: int
    load: int
    held: int
    batch: int
    alive: int
    run: int
    peak: int


def inference_memory(graph: Graph, *, batch: int = 1, block: int = BLOCK) -> InferenceMemory:
    """Peak memory of loading a network and predicting again and again with one batch, counted.

    The kernels are those of `fireforge.cost.kernels`. A tensor takes the place of one that its kernel reads and may
    write over, or of one of the same shape that nothing reads any more, otherwise a new one; a place is kept from its
    first tensor to the last reader of its last one, that of an output by the caller. In the first run each place is a
    piece of the arena. From the second run on all but the outputs lie in one block, as large as the first run's tensors
    need when they are packed; the arena gives it beside what it has, or in it where a free piece is large enough. The
    outputs may then need a new region, into which the third run's block may go: runs are counted until the arena takes
    no more. Loading frees a copy of each weight, and a region of the arena that fits into one lies there.

    A process that runs three times or more takes within 10 % of the count where most of it are activations. Where most
    of it is the loading, as with one picture, the count is 0.85 to 1.23 of what was measured.

    Args:
      graph: float32; batch norms behind convolutions count as folded, Dropout as gone, as files are delivered.
      batch: pictures at once.
      block: channels in a block; see `fireforge.cost.places.written`.

    Returns:
      The bytes.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if the graph holds quantized tensors.
    """
    tensors = written(graph, batch=batch, block=block)
    alive = _Alive()
    _run(tensors, alive)
    regions = _runs(tensors).resident()
    run = sum(touched for _, touched in regions)
    sizes = {weight.name: size(weight.shape) * BYTES[weight.dtype] for weight in graph.weights}
    filters = {name for node in graph.nodes if node.op == "Conv" for name in node.inputs[1:2]}
    great = sum(each for each in sizes.values() if each >= MAPPED)
    small = {name: each for name, each in sizes.items() if each < MAPPED}
    rest = sum((LOAD_COPIES if name in filters else PLAIN_COPIES) * each for name, each in small.items())
    load = LIBRARY_BYTES + PEAK_COPIES * great + rest
    held = LIBRARY_BYTES + HELD_COPIES * great + rest
    given = sum(size(tensor.shape) * BYTES[tensor.dtype] for tensor in graph.inputs) * batch
    return InferenceMemory(
        weights=sum(sizes.values()),
        load=load,
        held=held,
        batch=given,
        alive=alive.peak,
        run=run,
        peak=max(load, held + given + run - _refilled(regions, list(small.values()))),
    )


class _Alive:
    """Tensors without any waste."""

    def __init__(self) -> None:
        self.peak = 0
        self._sizes: list[int] = []
        self._now = 0

    def take(self, size: int) -> int:
        """One more tensor."""
        self._sizes.append(size)
        self._now += size
        self.peak = max(self.peak, self._now)
        return len(self._sizes) - 1

    def give(self, handle: int) -> None:
        """One less."""
        self._now -= self._sizes[handle]


def _refilled(regions: Sequence[tuple[int, int]], holes: Sequence[int]) -> int:
    """Bytes of regions, of (size, touched), that lie where something was freed: each in the least hole for it."""
    free, total = sorted(holes), 0
    for region, touched in regions:
        hole = next((hole for hole in free if hole >= region), None)
        if hole is not None:
            free.remove(hole)
            insort(free, hole - region)
            total += touched
    return total


def _runs(tensors: Sequence[Written]) -> Arena:
    """The arena after so many runs that it takes no more; between two runs all its pieces are free."""
    arena, pattern = Arena(), Pattern()
    read = {name for tensor in tensors for name in tensor.reads}
    outputs = {tensor.name for tensor in tensors if tensor.name not in read}
    _run(tensors, arena)
    _run([replace(tensor, scratch=()) for tensor in tensors], pattern, skipped=outputs)
    beside = [tensor for tensor in tensors if tensor.name in outputs or tensor.scratch]
    regions = 0
    while regions != arena.regions:
        regions = arena.regions
        held = [arena.take(pattern.size)]
        for tensor in beside:
            if tensor.name in outputs:
                held.append(arena.take(tensor.size))
            _scratch(tensor, arena)
        for handle in held:
            arena.give(handle)
    return arena


def _run(tensors: Sequence[Written], memory: Arena | Pattern | _Alive, *, skipped: Set[str] = frozenset()) -> None:
    """Take and give the places of a run in its order."""
    taken = places(tensors)
    first = {place: i for i, place in reversed(list(enumerate(taken)))}
    last = last_uses(tensors, taken)
    handles: dict[int, int] = {}
    for i, (tensor, place) in enumerate(zip(tensors, taken)):
        if first[place] == i and tensor.name not in skipped:
            handles[place] = memory.take(tensor.size)
        _scratch(tensor, memory)
        for done in [each for each in handles if last[each] <= i]:
            memory.give(handles.pop(done))
    for handle in handles.values():
        memory.give(handle)


def _scratch(tensor: Written, memory: Arena | Pattern | _Alive) -> None:
    """Take what a tensor's kernel needs while it runs, and give it back."""
    for handle in [memory.take(each) for each in tensor.scratch]:
        memory.give(handle)
