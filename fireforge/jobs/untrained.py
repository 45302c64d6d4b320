# SPDX-License-Identifier: Apache-2.0
"""Limits that can only be measured, held against files of untrained networks: weights do not change the time."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fireforge.base.budget import Budget
from fireforge.base.deadline import Deadline
from fireforge.base.files import write_bytes
from fireforge.base.model import Model, dense
from fireforge.base.trunk import trunk
from fireforge.export.targets import pack
from fireforge.jobs.deliver import card_of
from fireforge.jobs.scene import Scene, encoded
from fireforge.nets.families import build_graph
from fireforge.nets.module import GraphModule, arrays_of, initialise
from fireforge.runtime.measure import measure_fresh
from fireforge.runtime.predictor import load
from fireforge.space.survey import Candidate, spread

MARGIN = 0.9  # of a limit that an untrained float file may use
WARM, TIMED = 5, 30  # predictions
PATIENCE = 3.0  # times the clock's seconds, while no candidate has kept the limits
ROUNDS = 3  # times as many candidates are measured as are wanted


def quick_enough(
    scene: Scene,
    candidates: Sequence[Candidate],
    budget: Budget,
    *,
    number: int,
    clock: Deadline,
    spare: Sequence[Candidate] = (),
) -> tuple[Candidate, ...]:
    """A spread of the candidates whose untrained files keep the limits of latency and memory.

    Where none of a spread does, the lighter half is tried, and the lightest of all first.

    Args:
      scene: its pictures are predicted.
      candidates: that passed all counted limits, at least one.
      budget: max_latency_ms and max_memory_bytes are used.
      number: how many are wanted.
      clock: no further candidate is measured when it is over; while none has kept the limits, when it is long over.
      spare: more candidates, such as would not be chosen otherwise, for that second try.

    Returns:
      At most so many; where none keeps the limits, the one that was nearest.
    """
    if budget.max_latency_ms is None and budget.max_memory_bytes is None:
        return spread(candidates, number)
    kept: list[Candidate] = []
    nearest: tuple[float, Candidate] | None = None
    first = _interleaved(spread(candidates, number * ROUNDS))
    for place, candidate in enumerate([*first, *_lighter([*candidates, *spare], first, number * ROUNDS)]):
        if place == len(first) and kept:
            break
        excess = _excess(scene, candidate, budget)
        if nearest is None or excess < nearest[0]:
            nearest = (excess, candidate)
        if excess <= MARGIN:
            kept.append(candidate)
        if clock.over() and (kept or clock.stopped() or clock.used() > PATIENCE * clock.seconds):
            break
    assert nearest is not None  # there is at least one candidate
    return spread(kept, number) if kept else (nearest[1],)


def _lighter(candidates: Sequence[Candidate], tried: Sequence[Candidate], number: int) -> list[Candidate]:
    """The lightest of the candidates, then a spread of their lighter half, without those that were tried."""
    known = {candidate.spec.digest() for candidate in tried}
    rest = {c.spec.digest(): c for c in sorted(candidates, key=lambda c: c.cost.macs) if c.spec.digest() not in known}
    half = list(rest.values())[: -(-len(rest) // 2)]
    return [*half[:1], *(c for c in reversed(spread(half, number)) if c is not half[0])]


def within(scene: Scene, candidate: Candidate, budget: Budget) -> bool:
    """Whether one network, such as that of an earlier run, keeps the counted limits, and untrained the others."""
    if budget.max_bytes is not None and candidate.bytes > budget.max_bytes:
        return False
    if budget.max_energy_mj is not None and candidate.energy_mj > budget.max_energy_mj:
        return False
    measured = budget.max_latency_ms is not None or budget.max_memory_bytes is not None
    return not measured or _excess(scene, candidate, budget) <= MARGIN


def _interleaved(candidates: Sequence[Candidate]) -> list[Candidate]:
    """From light to heavy in several sweeps, so that a clock that runs out leaves a spread."""
    return [candidate for first in range(4) for candidate in candidates[first::4]]


def _excess(scene: Scene, candidate: Candidate, budget: Budget) -> float:
    """The greatest share of a limit that the untrained network's float file uses."""
    own = scene.at(candidate.spec.input_shape[1:])
    graph = trunk(build_graph(candidate.spec))
    module = GraphModule(graph)
    initialise(module, 0)
    model = Model(graph=graph, weights=dense(arrays_of(module)), card=card_of(own))
    pictures = [encoded(scene.dataset, int(i)) for i in scene.part("val")[:TIMED]]
    shares = [0.0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "untrained.onnx"
        write_bytes(path, pack(model))
        if budget.max_latency_ms is not None:
            shares.append(_latency_ms(path, pictures) / budget.max_latency_ms)
        if budget.max_memory_bytes is not None:
            used = measure_fresh(path, runs=WARM).memory_bytes
            shares.append(np.inf if used is None else used / budget.max_memory_bytes)
    return float(max(shares))


def _latency_ms(path: Path, pictures: Sequence[bytes]) -> float:
    """Median time of one prediction in this process, from the picture's bytes to the label."""
    predictor = load(path)
    times = []
    for turn in range(WARM + TIMED):
        start = time.perf_counter()
        predictor.predict(pictures[turn % len(pictures)])
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM:]) * 1e3
