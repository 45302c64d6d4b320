# SPDX-License-Identifier: Apache-2.0
"""The memory of predicting, counted as ONNX Runtime holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fireforge.base.graph import Graph
from fireforge.base.value import Value
from fireforge.cost.arena import MAPPED, Arena, Pattern
from fireforge.cost.count import BYTES, size
from fireforge.cost.places import Written, last_uses, places, written

LIBRARY_BYTES = 11_000_000  # observed: what ONNX Runtime 1.31 takes for its first session, whatever the network
HELD_COPIES = 2  # of the weights: what was parsed and what runs
# observed: resident copies of weights after a file is loaded: its bytes, what was parsed, the layout of the kernels,
# what runs; glibc keeps what is freed. Between 3.4 and 4.7 by how the tensors fit into each other's places
LOAD_COPIES = 4
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
      run: activations that are resident after two runs or more, those in places that the loading left free among them.
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
    """Peak memory of loading a network and predicting twice or more, counted.

    The kernels are those of `fireforge.cost.kernels`. A tensor takes the place of one that its kernel reads and may
    write over, or of one of the same shape that nothing reads any more, otherwise a new one; a place is kept from its
    first tensor to the last reader of its last one. In the first run each place is a piece of the arena. From the
    second run on they lie in one block, as large as the first run's tensors need when they are packed; the arena gives
    it beside what it has, or in it where a free piece is large enough. Small regions of the arena lie where the loading
    has left memory free.

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
    arena, pattern, alive = Arena(), Pattern(), _Alive()
    for each in (arena, pattern, alive):
        _run(tensors, each)
    arena.take(pattern.size)
    sizes = [size(weight.shape) * BYTES[weight.dtype] for weight in graph.weights]
    great = sum(each for each in sizes if each >= MAPPED)
    rest = sum(sizes) - great
    load = LIBRARY_BYTES + PEAK_COPIES * great + LOAD_COPIES * rest
    held = LIBRARY_BYTES + HELD_COPIES * great + LOAD_COPIES * rest
    given = sum(size(tensor.shape) * BYTES[tensor.dtype] for tensor in graph.inputs) * batch
    small, large = arena.resident()
    left = (LOAD_COPIES - HELD_COPIES) * rest
    return InferenceMemory(
        weights=sum(sizes),
        load=load,
        held=held,
        batch=given,
        alive=alive.peak,
        run=small + large,
        peak=max(load, held + given + large + max(0, small - left)),
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


def _run(tensors: Sequence[Written], memory: Arena | Pattern | _Alive) -> None:
    """Take and give the places of a run in its order."""
    taken = places(tensors)
    first = {place: i for i, place in reversed(list(enumerate(taken)))}
    last = last_uses(tensors, taken)
    handles: dict[int, int] = {}
    for i, (tensor, place) in enumerate(zip(tensors, taken)):
        if first[place] == i:
            handles[place] = memory.take(tensor.size)
        for done in [each for each in handles if last[each] == i]:
            memory.give(handles.pop(done))
