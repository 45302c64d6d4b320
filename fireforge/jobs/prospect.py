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
from fireforge.space.survey import Draws, survey

DRAWS = 600  # networks that a build counts
COUNTED = 200  # that are counted to tell how tight a limit is
HOPELESS = 0.5  # a limit below this share of the smallest of so many is below every network of the spaces


@dataclass(frozen=True, kw_only=True)
class Prospect(Value):
    """What became of a few networks of one space.

    Args:
      space: name of the space.
      counted: networks.
      possible: of these, such as can be built for the pictures.
      passing: of these, such as keep the limit of the file's size.
      least_bytes: predicted size of the smallest file; 0 where none is possible.
      median_macs: of those that keep the limit; likewise.
    """

    space: str
    counted: int
    possible: int
    passing: int
    least_bytes: int
    median_macs: float


def prospects(
    classes: int, inputs: Sequence[tuple[int, int, int]], budget: Budget, *, seed: int
) -> tuple[Prospect, ...]:
    """Count a few networks of each space.

    Args:
      classes: outputs.
      inputs: (C, H, W) that are tried.
      budget: its file size is used.
      seed: of the draws.

    Returns:
      One a space.
    """
    draws = Draws(number=COUNTED // len(SPACES), seed=seed)
    found = []
    for name, space in SPACES.items():
        seen = survey({name: space}, inputs, classes=classes, budget=budget, draws=draws)
        possible = seen.counted - seen.rejected.get("impossible", 0)
        found.append(
            Prospect(
                space=name,
                counted=seen.counted,
                possible=possible,
                passing=possible - seen.rejected.get("max_bytes", 0),
                least_bytes=seen.nearest.bytes if seen.nearest else 0,
                median_macs=statistics.median(kept.cost.macs for kept in seen.kept) if seen.kept else 0.0,
            )
        )
    return tuple(found)


def hopeless(scene: Scene, budget: Budget, *, seed: int) -> bool:
    """Whether no network can keep the limit of the file's size.

    Args:
      scene: the data.
      budget: the limits.
      seed: of the draws.

    Returns:
      True where the limit is below half of the smallest of the networks that were counted.
    """
    if budget.max_bytes is None:
        return False
    inputs = [(scene.steps.channels, *size) for size in scene.sizes]
    found = prospects(len(scene.dataset.labels), inputs, budget, seed=seed)
    least = [prospect.least_bytes for prospect in found if prospect.possible]
    return bool(least) and budget.max_bytes < HOPELESS * min(least)
