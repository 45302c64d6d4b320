# SPDX-License-Identifier: Apache-2.0
"""Counting many candidates and rejecting those over a limit, before any training."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.budget import Budget
from fireforge.base.cost import Cost
from fireforge.base.errors import FireforgeError
from fireforge.base.rng import rng
from fireforge.base.spec import NetSpec
from fireforge.cost.count import count
from fireforge.cost.filesize import onnx_bytes
from fireforge.nets.families import build_graph
from fireforge.space.spaces import SpaceFn


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network that was counted.

    Args:
      spec: what it is.
      cost: counted.
      bytes: predicted size of its int8 file.
    """

    spec: NetSpec
    cost: Cost
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What became of everything that was drawn.

    Args:
      counted: networks drawn and counted.
      rejected: reason to number; "impossible" for specifications that cannot be built.
      kept: candidates within the limits, each once, by rising predicted bytes.
      nearest: the smallest candidate of all, for the answer "infeasible".
    """

    counted: int
    rejected: dict[str, int]
    kept: tuple[Candidate, ...]
    nearest: Candidate | None


def survey(
    space: SpaceFn,
    *,
    classes: int,
    input_shape: tuple[int, int, int],
    budget: Budget,
    draws: int,
    seed: int,
    card_bytes: int | None = None,
) -> Survey:
    """Draw, count, reject.

    Args:
      space: what is drawn from.
      classes: outputs.
      input_shape: (C, H, W).
      budget: max_bytes is held against the predicted int8 file.
      draws: how many are drawn.
      seed: of the draws.
      card_bytes: of the card in each file; None to guess.

    Returns:
      The survey; found = kept + rejected + repeated.
    """
    kept: dict[str, Candidate] = {}
    rejected: dict[str, int] = {}
    nearest: Candidate | None = None
    for index in range(draws):
        spec = space(classes, input_shape, rng(seed, 0, index))
        candidate = _counted(spec, card_bytes)
        if candidate is None:
            rejected["impossible"] = rejected.get("impossible", 0) + 1
            continue
        if nearest is None or candidate.bytes < nearest.bytes:
            nearest = candidate
        if budget.max_bytes is not None and candidate.bytes > budget.max_bytes:
            rejected["max_bytes"] = rejected.get("max_bytes", 0) + 1
        elif spec.digest() in kept:
            rejected["repeated"] = rejected.get("repeated", 0) + 1
        else:
            kept[spec.digest()] = candidate
    ordered = tuple(sorted(kept.values(), key=lambda c: (c.bytes, c.spec.digest())))
    return Survey(counted=draws, rejected=rejected, kept=ordered, nearest=nearest)


def spread(kept: tuple[Candidate, ...], number: int) -> tuple[Candidate, ...]:
    """A few candidates that cover the sizes, more of them near the limit, where accuracy usually is.

    Args:
      kept: by rising size.
      number: how many are wanted.

    Returns:
      At most that many, by rising size: those at the square roots of evenly spaced shares.
    """
    if len(kept) <= number:
        return kept
    places = {round((len(kept) - 1) * ((i + 1) / number) ** 0.5) for i in range(number)}
    return tuple(kept[place] for place in sorted(places))


def _counted(spec: NetSpec, card_bytes: int | None) -> Candidate | None:
    try:
        graph = build_graph(spec)
    except FireforgeError as error:
        if error.code != "BAD_SPEC":
            raise
        return None
    return Candidate(spec=spec, cost=count(graph), bytes=onnx_bytes(graph, form="int8", card_bytes=card_bytes))
