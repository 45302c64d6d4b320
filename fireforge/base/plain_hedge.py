# SPDX-License-Identifier: Apache-2.0
"""Answers along a tree written a second time, plainly, so that the gate can hold `fireforge.base.hedge` to them."""

from __future__ import annotations

import math

import numpy as np

from fireforge.base.hedge import LEAST_OUTSIDE, Hedge

TIE = 1e-9  # of what a worth is summed of: sums in another order differ by less


def plain_answers(scores: np.ndarray, hedge: Hedge, *, slack: float = 0.0) -> list[dict[str, float]]:
    """For each row the answers that are worth most, nearly always one.

    Args:
      scores: float (N, K), each row sums to 1.
      hedge: of K classes.
      slack: by how much probabilities may be wrong; answers that it could make best are told as well.

    Returns:
      A dict for each row: name of a group, or "" for the best class alone, to its probability.

    Source:
      Deng et al. 2012: (information gain + bonus) * probability. What is the same for every answer is left out here.
    """
    members = _members(hedge)
    total = hedge.tree.classes
    every = set(range(total))
    groups = [(name, sorted(inside), sorted(every - inside)) for name, inside in members.items()]
    found = []
    for row in scores.tolist():
        top = max(range(total), key=lambda k: row[k])
        answers = [("", [top], [k for k in range(total) if k != top]), *groups]
        rows = [_worth(row, inside, outside, hedge.bonus) for _, inside, outside in answers]
        best, known, _ = max(rows)
        wrong = known + 2 * slack * (math.log2(total) + hedge.bonus)
        found.append({name: p for (name, _, _), (worth, own, p) in zip(answers, rows) if worth + own + wrong >= best})
    return found


def _members(hedge: Hedge) -> dict[str, set[int]]:
    """All classes of each group, those of the groups in it as well."""
    found: dict[str, set[int]] = {name: set() for name in hedge.tree.parents}
    for name, spans in hedge.tree.members.items():
        while name:
            for first, last in spans:
                found[name].update(range(first, last + 1))
            name = hedge.tree.parents[name]
    return found


def _worth(row: list[float], inside: list[int], outside: list[int], bonus: float) -> tuple[float, float, float]:
    """What an answer is worth in bits less the bonus, by how much sums in another order may differ, its probability."""
    p = math.fsum(row[k] for k in inside)
    gained = math.log2((len(inside) + len(outside)) / len(inside)) * p
    lost = bonus * max(math.fsum(row[k] for k in outside), LEAST_OUTSIDE) if outside else 0.0
    return gained - lost, TIE * (gained + lost), p
