# SPDX-License-Identifier: Apache-2.0
"""Bytes that workers exchange in a step of training, by the way in which they share the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fireforge.base.graph import Graph
from fireforge.base.infer import infer
from fireforge.base.value import Value
from fireforge.cost.count import MACS, by_node, count, size

FLOAT = 4  # bytes of a number that is exchanged
QUADRANTS = 4  # of a picture, each with a model of its own


@dataclass(frozen=True, kw_only=True)
class Volumes(Value):
    """What there is to exchange.

    Args:
      weight_bytes: |W|, all parameters in float32, biases among them: the gradient of each step, whatever the batch.
      data_bytes: |D|, the inputs of all convolutions and matrix products in float32, for the batch.
      batch: pictures a step, of all workers together.
    """

    weight_bytes: int
    data_bytes: int
    batch: int

    @property
    def ratio(self) -> float | None:
        """|D| by |W|; above 1 it is better to exchange gradients; None where nothing is trained."""
        return self.data_bytes / self.weight_bytes if self.weight_bytes else None


@dataclass(frozen=True, kw_only=True)
class Way(Value):
    """One way of sharing the work.

    Args:
      name: "data", "model", "pipeline" or "sub-image".
      moved_bytes: exchanged in a step, before the factor of any algorithm (a ring's 2 (p - 1) / p); activations one
        way, their gradients go back as many.
      workers: that have something to do, of those that there are.
      speedup: at most, were communication free.
      macs: multiply-adds of the forward pass for the batch, all workers together.
      why: what speaks for or against it.
    """

    name: str
    moved_bytes: int
    workers: int
    speedup: float
    macs: int
    why: str


def volumes(graph: Graph, *, batch: int = 1) -> Volumes:
    """|W| and |D| of a network.

    Args:
      graph: a valid graph.
      batch: pictures a step.

    Returns:
      The volumes.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if an operator has no count.

    Source:
      Iandola, Ashraf, Moskewicz, Keutzer, FireCaffe, 2016, section 4; its formula for |W| leaves biases out, which is
      below 0.2 % for the networks of its table, and their gradients are sent as well.
    """
    types = infer(graph)
    data = sum(size(types[node.inputs[0]].shape) for node in graph.nodes if node.op in MACS)
    return Volumes(weight_bytes=count(graph).wire_bytes, data_bytes=FLOAT * data * batch, batch=batch)


def ways(graph: Graph, *, batch: int, workers: int) -> tuple[Way, ...]:
    """Four ways of sharing a step of training among workers.

    Data parallel: each worker has some of the pictures, and all gradients are summed. Model parallel: each has some of
    the filters of every layer, and the inputs of all layers are exchanged. Pipeline: each has some consecutive
    layers, cut where the slowest has least to do, in no more stages than that takes, and what crosses the cuts is
    handed on. Sub-image: each of four models sees a quarter of the picture.

    Args:
      graph: a valid graph.
      batch: pictures a step, of all workers together.
      workers: that there are; one alone exchanges nothing.

    Returns:
      The ways, in this order.

    Raises:
      FireforgeError: UNKNOWN_OPERATOR, if an operator has no count.

    Source:
      Iandola et al., FireCaffe, 2016, section 4: data parallel is better where |D| > |W|.
    """
    held = volumes(graph, batch=batch)
    total = count(graph).macs * batch
    layers = [row.macs for row in by_node(graph) if row.macs]
    stages, crossing, slowest = _pipeline(graph, workers)
    largest = FLOAT * batch * _largest(graph)
    return (
        Way(
            name="data",
            moved_bytes=held.weight_bytes if min(workers, batch) > 1 else 0,
            workers=min(workers, batch),
            speedup=float(min(workers, batch)),
            macs=total,
            why=f"the same for every batch; {_better(held)}" if min(workers, batch) > 1 else "one worker has all of it",
        ),
        Way(
            name="model",
            moved_bytes=held.data_bytes if workers > 1 else 0,
            workers=workers,
            speedup=float(workers),
            macs=total,
            why="grows with the batch; each layer waits for all workers",
        ),
        Way(
            name="pipeline",
            moved_bytes=FLOAT * batch * crossing,
            workers=stages,
            speedup=total / batch / slowest if slowest else 1.0,
            macs=total,
            why=f"no more stages than the {len(layers)} layers, and the slowest one sets the pace; the largest tensor, "
            f"{largest:,} bytes a step, may have to cross",
        ),
        Way(
            name="sub-image",
            moved_bytes=QUADRANTS * held.weight_bytes if workers > 1 else 0,
            workers=min(workers, QUADRANTS),
            speedup=1.0,
            macs=QUADRANTS * total,
            why=f"{QUADRANTS} models, each with the whole work of one: {QUADRANTS} times the multiply-adds, no gain",
        ),
    )


def _better(held: Volumes) -> str:
    """The criterion in words."""
    if held.ratio is None:
        return "nothing is trained, so data parallel moves nothing"
    return f"|D| is {held.ratio:.4g} |W|, so {'data' if held.ratio > 1 else 'model'} parallel moves less"


def _largest(graph: Graph) -> int:
    """Numbers of the largest output of a convolution or matrix product, for one picture."""
    return max((row.activations for row in by_node(graph)), default=0)


def _pipeline(graph: Graph, workers: int) -> tuple[int, int, int]:
    """Stages, numbers that cross the cuts for one picture, and multiply-adds of the slowest stage, which are fewest."""
    macs = [row.macs for row in by_node(graph)]
    low, high = max(macs, default=0), sum(macs)
    while low < high:  # the least that stages must be able to do so that there are no more of them than workers
        middle = (low + high) // 2
        low, high = (low, middle) if len(_cuts(macs, middle)) < workers else (middle + 1, high)
    cuts = _cuts(macs, low)
    return len(cuts) + 1, sum(_crossing(graph, cut) for cut in cuts), low


def _cuts(macs: Sequence[int], most: int) -> list[int]:
    """Where nodes begin a new stage, if each does all that it can but no more than so many multiply-adds."""
    cuts, load = [], 0
    for i, each in enumerate(macs):
        if load + each > most:
            cuts.append(i)
            load = 0
        load += each
    return cuts


def _crossing(graph: Graph, cut: int) -> int:
    """Numbers of the tensors that are made before a node and read from it on."""
    types, weights = infer(graph), {weight.name for weight in graph.weights}
    made = {tensor.name for tensor in graph.inputs}.union(*(node.outputs for node in graph.nodes[:cut]))
    read = {name for node in graph.nodes[cut:] for name in node.inputs}.union(graph.outputs)
    return sum(size(types[name].shape) for name in made & read if name not in weights)
