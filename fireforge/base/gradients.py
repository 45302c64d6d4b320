# SPDX-License-Identifier: Apache-2.0
"""Sizes of a training's gradients by depth, and the rule that says whether they explode, vanish or stay alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fireforge.base.value import Value

EXPLODING, VANISHING, IDEAL = "exploding", "vanishing", "ideal"
LIMIT = 1_000  # times that the first layer's gradients may be larger or smaller than the last one's
FEWEST = 3  # layers before the last one that make a line

Sizes = tuple[float | None, ...]  # one a layer; None where a number was not finite


@dataclass(frozen=True, kw_only=True)
class Look(Value):
    """Sizes of one step's gradients; each is a root mean square.

    Args:
      epoch: epochs behind the step.
      outputs: of the loss by each layer's output, one number a layer: what comes back to that depth.
      weights: of the loss by each layer's weights.
      relative: the latter, over the root mean square of the weights.
    """

    epoch: float
    outputs: Sizes
    weights: Sizes
    relative: Sizes


@dataclass(frozen=True, kw_only=True)
class Gradients(Value):
    """Looks at the gradients of a training.

    Args:
      layers: convolutions and matrix products, in the order in which a picture passes them.
      looks: in the order of the steps.
    """

    layers: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()


def growth(sizes: Sequence[float | None]) -> float | None:
    """How many times larger gradients are at the first layer than at the last one but one, by a line through all.

    The line goes through the logarithms by Theil and Sen (the median of the slopes of all pairs), so that single layers
    that stand apart, such as an auxiliary head, do not bend it. The last layer is left out: the loss sets its gradient,
    and a pooling lies before it.

    Args:
      sizes: of the gradients by the layers' outputs, by depth.

    Returns:
      The ratio; infinity where a number is not finite, 0 where nothing arrives at the first layer, None for fewer than
      FEWEST layers before the last one.
    """
    before = sizes[:-1]
    if len(before) < FEWEST:
        return None
    if any(size is None for size in before):
        return math.inf
    points = [(place, math.log10(size)) for place, size in enumerate(before) if size]
    if not before[0] or len(points) < FEWEST:
        return 0.0
    slope = statistics.median(
        (high - low) / (right - left) for i, (left, low) in enumerate(points) for right, high in points[i + 1 :]
    )
    return float(10 ** min(-slope * (len(before) - 1), 300.0))


def verdict(sizes: Sequence[float | None]) -> str:
    """Whether gradients explode or vanish on their way back through the layers.

    Args:
      sizes: of the gradients by the layers' outputs, by depth.

    Returns:
      EXPLODING where `growth` is above LIMIT, VANISHING where it is below 1 / LIMIT, otherwise IDEAL; "" where there
      are too few layers to tell.

    Source:
      Glorot and Bengio 2010, section 4.2: gradients by the layers' outputs are what is compared by depth; those by the
      weights are of one size in all layers even where the former vanish (their equation 14), for what comes from below
      grows as what comes from above shrinks. He et al. 2015 (Delving Deep into Rectifiers), section 2.2: with weights
      that shrink them by the root of 2 a layer, 22 layers (2,048 times) learn later and 30 layers (32,768 times) not at
      all. He et al. 2015 (Deep Residual Learning), section 4.1, call the gradients of 34 plain layers with batch norms
      healthy, which grow by about 1.2 a layer (Yang et al. 2019), 400 times. LIMIT lies between.
    """
    ratio = growth(sizes)
    if ratio is None:
        return ""
    return EXPLODING if ratio > LIMIT else VANISHING if ratio < 1 / LIMIT else IDEAL


def ratio_words(ratio: float) -> str:
    """A growth as "12 times", "0.08 times" or "1/1,200"."""
    if not math.isfinite(ratio):
        return "not finite"
    if ratio == 0:
        return "nothing"
    return f"{_short(ratio)} times" if ratio >= 0.01 else f"1/{_short(1 / ratio)}"


def _short(number: float) -> str:
    return f"{number:.1e}" if number >= 1e6 else f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
