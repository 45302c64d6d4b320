# SPDX-License-Identifier: Apache-2.0
"""How tight a limit is, by counting a few networks; nothing is trained."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fireforge.base.budget import Budget
from fireforge.base.value import Value
from fireforge.jobs.scene import Scene
from fireforge.space.spaces import SPACES
from fireforge.space.survey import Draws, excess, survey

DRAWS = 600  # networks that a build counts
COUNTED = 200  # that are counted to tell how tight a limit is
HOPELESS = 0.5  # a limit below this share of the smallest of so many is below every network of the spaces


@dataclass(frozen=True, kw_only=True)
class Prospect(Value):
    """What became of a few networks of one space.

    Args:
      space: name of the space.
      counted: networks.
      possible: different ones of these that can be built for the pictures.
      passing: of these, such as keep the limits of the file's size and of energy.
      least_bytes: predicted size of the smallest file; 0 where none is possible.
      least_mj: estimated energy of the most frugal one; likewise.
      median_macs: of those that keep the limits; likewise.
    """

    space: str
    counted: int
    possible: int
    passing: int
    least_bytes: int
    least_mj: float
    median_macs: float


def prospects(
    classes: int, inputs: Sequence[tuple[int, int, int]], budget: Budget, *, seed: int
) -> tuple[Prospect, ...]:
    """Count a few networks of each space.

    Args:
      classes: outputs.
      inputs: (C, H, W) that are tried.
      budget: its limits of counted cost are used, see `fireforge.space.survey.excess`.
      seed: of the draws.

    Returns:
      One a space.
    """
    draws = Draws(number=COUNTED // len(SPACES), seed=seed)
    found = []
    for name, space in SPACES.items():
        seen = survey({name: space}, inputs, classes=classes, budget=Budget(), draws=draws).kept
        passing = [candidate for candidate in seen if not excess(candidate, budget)]
        found.append(
            Prospect(
                space=name,
                counted=draws.number,
                possible=len(seen),
                passing=len(passing),
                least_bytes=min((candidate.bytes for candidate in seen), default=0),
                least_mj=min((candidate.energy_mj for candidate in seen), default=0.0),
                median_macs=statistics.median(kept.cost.macs for kept in passing) if passing else 0.0,
            )
        )
    return tuple(found)


def hopeless(scene: Scene, budget: Budget, *, seed: int) -> str:
    """The limit of counted cost that no network can keep.

    Args:
      scene: the data.
      budget: the limits.
      seed: of the draws.

    Returns:
      A limit's name in Budget that is below half of the least of the networks that were counted; "" for none.
    """
    if budget.max_bytes is None and budget.max_energy_mj is None:
        return ""
    inputs = [(scene.steps.channels, *size) for size in scene.sizes]
    found = [p for p in prospects(len(scene.dataset.labels), inputs, budget, seed=seed) if p.possible]
    if not found:
        return ""
    least = {"max_bytes": min(p.least_bytes for p in found), "max_energy_mj": min(p.least_mj for p in found)}
    limits = {name: getattr(budget, name) for name in least}
    return next((name for name, limit in limits.items() if limit is not None and limit < HOPELESS * least[name]), "")
