# SPDX-License-Identifier: Apache-2.0
"""How tight a limit is, by counting a few networks; nothing is trained."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fireforge.base.budget import Budget
from fireforge.base.errors import FireforgeError, lookup
from fireforge.base.value import Value
from fireforge.jobs.scene import Scene
from fireforge.nets.families import NETWORKS
from fireforge.space.spaces import SPACES
from fireforge.space.survey import COUNTED_LIMITS, Candidate, Draws, counted, excess, figure, survey

DRAWS = 600  # networks that a build counts
COUNTED = 200  # that are counted to tell how tight a limit is
NAMED_PX = 128  # side of the input of a network that is asked for by name, at most
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


def drawn(classes: int, inputs: Sequence[tuple[int, int, int]], *, seed: int) -> dict[str, tuple[Candidate, ...]]:
    """A few networks of each space, counted.

    Args:
      classes: outputs.
      inputs: (C, H, W) that are tried.
      seed: of the draws.

    Returns:
      Space to its different networks that can be built.
    """
    draws = Draws(number=COUNTED // len(SPACES), seed=seed)
    return {
        name: survey({name: space}, inputs, classes=classes, budget=Budget(), draws=draws).kept
        for name, space in SPACES.items()
    }


def prospects(networks: Mapping[str, Sequence[Candidate]], budget: Budget) -> tuple[Prospect, ...]:
    """What becomes of a few networks of each space under limits of counted cost.

    Args:
      networks: of each space, as `drawn` gives them.
      budget: its COUNTED limits are used.

    Returns:
      One a space.
    """
    found = []
    for name, seen in networks.items():
        passing = [candidate for candidate in seen if not excess(candidate, budget)]
        found.append(
            Prospect(
                space=name,
                counted=COUNTED // len(SPACES),
                possible=len(seen),
                passing=len(passing),
                least_bytes=min((candidate.bytes for candidate in seen), default=0),
                least_mj=min((candidate.energy_mj for candidate in seen), default=0.0),
                median_macs=statistics.median(kept.cost.macs for kept in passing) if passing else 0.0,
            )
        )
    return tuple(found)


def named_network(net: str, *, classes: int, channels: int, sizes: Sequence[tuple[int, int]]) -> Candidate:
    """The one network that was asked for by name, at the greatest of the sizes up to NAMED_PX.

    Args:
      net: a name of `fireforge.nets.families.NETWORKS`.
      classes: outputs.
      channels: of the input.
      sizes: (H, W) that could be tried.

    Returns:
      The network, counted.

    Raises:
      FireforgeError: UNKNOWN_NAME, or BAD_SPEC where it cannot take the pictures.
    """
    size = max((size for size in sizes if min(size) <= NAMED_PX), default=sizes[0])
    found = counted(lookup(NETWORKS, net, "network")(classes, input_shape=(channels, *size)))
    if found is None:
        shape = " x ".join(map(str, (channels, *size)))
        raise FireforgeError("BAD_SPEC", f"{net} cannot take pictures of {shape}", do="a larger --image-size")
    return found


def hopeless(scene: Scene, budget: Budget, *, seed: int) -> str:
    """The limit of counted cost that no network can keep.

    Args:
      scene: the data.
      budget: the limits.
      seed: of the draws.

    Returns:
      A limit's name in Budget that is below half of the least of the networks that were counted; "" for none.
    """
    limits = {name: getattr(budget, name) for name in COUNTED_LIMITS if getattr(budget, name) is not None}
    if not limits:
        return ""
    inputs = [(scene.steps.channels, *size) for size in scene.sizes]
    networks = [one for few in drawn(len(scene.dataset.labels), inputs, seed=seed).values() for one in few]
    least = {name: min((figure(one, name) for one in networks), default=0.0) for name in limits}
    return next((name for name, limit in limits.items() if limit < HOPELESS * least[name]), "")
