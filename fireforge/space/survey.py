# SPDX-License-Identifier: Apache-2.0
"""Counting many candidates and rejecting those over a limit, before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fireforge.base.budget import Budget
from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError
from fireforge.base.rng import rng
from fireforge.base.spec import NetSpec
from fireforge.base.trunk import trunk
from fireforge.cost.count import count
from fireforge.cost.energy import energy
from fireforge.cost.filesize import onnx_bytes
from fireforge.nets.families import build_graph
from fireforge.space.spaces import SpaceFn

COUNTED_LIMITS = ("max_bytes", "max_energy_mj")  # of Budget: what a network is held against before it is trained


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network that was counted.

    Args:
      spec: what it is.
      cost: counted.
      bytes: predicted size of its int8 file.
      energy_mj: estimated for one prediction in int8, at least.
    """

    spec: NetSpec
    cost: Cost
    bytes: int
    energy_mj: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How a space is drawn from.

    Args:
      number: of draws.
      seed: of all of them.
      card_bytes: of the card in each file; None to guess.
    """

    number: int
    seed: int
    card_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What became of everything that was drawn.

    Args:
      counted: networks drawn and counted.
      rejected: reason to number; "impossible" for specifications that cannot be built.
      kept: candidates within the limits, each once, by rising predicted bytes.
      nearest: the candidate that is least over the limits, then the smallest, for the answer "infeasible".
    """

    counted: int
    rejected: dict[str, int]
    kept: tuple[Candidate, ...]
    nearest: Candidate | None


def survey(
    spaces: Mapping[str, SpaceFn],
    inputs: Sequence[tuple[int, int, int]],
    *,
    classes: int,
    budget: Budget,
    draws: Draws,
) -> Survey:
    """Draw, count, reject.

    Args:
      spaces: what is drawn from, in turn.
      inputs: (C, H, W) that are tried, each as often in each space.
      classes: outputs.
      budget: max_bytes is held against the predicted int8 file, max_energy_mj against the estimate.
      draws: how many, of which seed.

    Returns:
      The survey; counted = kept + rejected.
    """
    kept: dict[str, Candidate] = {}
    rejected: dict[str, int] = {}
    nearest: Candidate | None = None
    pairs = [(space, shape) for space in spaces.values() for shape in inputs]
    for index in range(draws.number):
        space, shape = pairs[index % len(pairs)]
        candidate = counted(space(classes, shape, rng(draws.seed, 0, index)), card_bytes=draws.card_bytes)
        if candidate is None:
            rejected["impossible"] = rejected.get("impossible", 0) + 1
            continue
        over = excess(candidate, budget)
        if nearest is None or _distance(candidate, budget) < _distance(nearest, budget):
            nearest = candidate
        if over:
            first = next(iter(over))
            rejected[first] = rejected.get(first, 0) + 1
        elif candidate.spec.digest() in kept:
            rejected["repeated"] = rejected.get("repeated", 0) + 1
        else:
            kept[candidate.spec.digest()] = candidate
    ordered = tuple(sorted(kept.values(), key=lambda c: (c.bytes, c.spec.digest())))
    return Survey(counted=draws.number, rejected=rejected, kept=ordered, nearest=nearest)


def excess(candidate: Candidate, budget: Budget) -> dict[str, float]:
    """The limits of counted cost that a candidate is over.

    Args:
      candidate: counted.
      budget: its COUNTED_LIMITS are used.

    Returns:
      Name of the limit to the share that the candidate is over it, such as 0.5 for one and a half times as much.
    """
    limits = {name: getattr(budget, name) for name in COUNTED_LIMITS}
    shares = {name: figure(candidate, name) / limit - 1 for name, limit in limits.items() if limit is not None}
    return {name: share for name, share in shares.items() if share > 0}


def figure(candidate: Candidate, limit: str) -> float:
    """What is held against a limit of COUNTED_LIMITS."""
    return candidate.bytes if limit == "max_bytes" else candidate.energy_mj


def _distance(candidate: Candidate, budget: Budget) -> tuple[float, int]:
    return sum(excess(candidate, budget).values()), candidate.bytes


def spread(kept: Sequence[Candidate], number: int) -> tuple[Candidate, ...]:
    """A few candidates that cover families and costs, more of them near the upper end, where accuracy usually is.

    The families take turns. Within one, the candidates by rising MACs are taken at the square roots of evenly spaced
    shares.

    Args:
      kept: any order.
      number: how many are wanted.

    Returns:
      At most that many, by rising MACs.
    """
    families: dict[str, list[Candidate]] = {}
    for candidate in sorted(kept, key=lambda c: (c.cost.macs, c.bytes, c.spec.digest())):
        families.setdefault(candidate.spec.family, []).append(candidate)
    taken: list[Candidate] = []
    rest = number
    for place, family in enumerate(sorted(families.values(), key=len)):
        share = -(-rest // (len(families) - place))
        chosen = _along(family, min(share, len(family)))
        taken += chosen
        rest -= len(chosen)
    return tuple(sorted(taken, key=lambda c: (c.cost.macs, c.bytes, c.spec.digest())))


def _along(family: Sequence[Candidate], number: int) -> list[Candidate]:
    if len(family) <= number:
        return list(family)
    places = {round((len(family) - 1) * ((i + 1) / number) ** 0.5) for i in range(number)}
    return [family[place] for place in sorted(places)]


def counted(spec: NetSpec, *, card_bytes: int | None = None) -> Candidate | None:
    """A specification as a candidate.

    Args:
      spec: of a network.
      card_bytes: of the card in its file; None to guess.

    Returns:
      The candidate, or None where the specification makes no network. Heads that serve training alone count in its
      cost, not in its bytes and energy.
    """
    try:
        graph = build_graph(spec)
    except FireforgeError as error:
        if error.code != "BAD_SPEC":
            raise
        return None
    return Candidate(
        spec=spec,
        cost=count(graph),
        bytes=onnx_bytes(trunk(graph), form="int8", card_bytes=card_bytes),
        energy_mj=energy(trunk(graph), form="int8").total_mj,
    )
