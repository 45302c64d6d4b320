# SPDX-License-Identifier: Apache-2.0
"""What networks that were trained from nothing have reached on known data, by others; an expectation, no promise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fireforge.base.value import Value

SHOWN = 3
FARTHER = 1.0  # than the nearest, in natural logarithms of ratios, a result may be and is shown all the same


@dataclass(frozen=True, kw_only=True)
class Usual(Value):
    """A published result.

    Args:
      data: name of the dataset.
      gray: whether its pictures have no colour.
      side_px: of its pictures.
      classes: of it.
      per_class: training pictures a class, about.
      low: accuracy of a simple way or a short training, as a share.
      high: accuracy of a good small network or a long training.
      what: the two in words.
      source: who published them.
    """

    data: str
    gray: bool
    side_px: int
    classes: int
    per_class: int
    low: float
    high: float
    what: str
    source: str


USUAL = (
    Usual(
        data="MNIST",
        gray=True,
        side_px=28,
        classes=10,
        per_class=6000,
        low=0.95,
        high=0.9905,
        what="nearest neighbours; LeNet-5 of 60,000 parameters",
        source="LeCun et al. 1998, figure 9",
    ),
    Usual(
        data="Fashion-MNIST",
        gray=True,
        side_px=28,
        classes=10,
        per_class=6000,
        low=0.897,
        high=0.925,
        what="support vectors; networks of two or three convolutions",
        source="Xiao et al. 2017, table 3, and the authors' page",
    ),
    Usual(
        data="scikit-learn's digits",
        gray=True,
        side_px=8,
        classes=10,
        per_class=140,
        low=0.97,
        high=0.99,
        what="support vectors, trained on the first half in order; on four fifths of the shuffled pictures",
        source="scikit-learn's example; the second with its settings",
    ),
    Usual(
        data="CIFAR-10",
        gray=False,
        side_px=32,
        classes=10,
        per_class=5000,
        low=0.906,
        high=0.9125,
        what="Maxout; ResNet-20 of 270,000 parameters, 64,000 steps",
        source="He et al. 2015, table 6",
    ),
    Usual(
        data="4,000 pictures of CIFAR-10",
        gray=False,
        side_px=32,
        classes=10,
        per_class=400,
        low=0.797,
        high=0.797,
        what="Wide ResNet 28-2, tuned",
        source="Oliver et al. 2018, table 1",
    ),
    Usual(
        data="STL-10, its labelled part",
        gray=False,
        side_px=96,
        classes=10,
        per_class=500,
        low=0.765,
        high=0.873,
        what="Wide ResNet without, and with augmentation and cutout; 1,000 epochs",
        source="DeVries and Taylor 2017, table 2",
    ),
    Usual(
        data="Imagenette",
        gray=False,
        side_px=128,
        classes=10,
        per_class=950,
        low=0.85,
        high=0.94,
        what="5 epochs; 80 epochs, on a GPU",
        source="the data's leaderboard",
    ),
    Usual(
        data="cats and dogs",
        gray=False,
        side_px=150,
        classes=2,
        per_class=1000,
        low=0.71,
        high=0.82,
        what="four convolutions without, and with augmentation",
        source="Chollet 2017, section 5.2",
    ),
    Usual(
        data="ImageNet",
        gray=False,
        side_px=224,
        classes=1000,
        per_class=1280,
        low=0.572,
        high=0.575,
        what="AlexNet; SqueezeNet of 1.2 million parameters, days on GPUs",
        source="Iandola et al. 2016, table 2",
    ),
)


def usual_for(*, gray: bool, side_px: int, classes: int, per_class: float) -> tuple[Usual, ...]:
    """The known results that are most like some data.

    Args:
      gray: whether the pictures have no colour.
      side_px: their shorter side.
      classes: how many.
      per_class: training pictures of a class, on average.

    Returns:
      At most three, the nearest first: by side, by pictures a class and by classes, each as a ratio.
    """

    def distance(row: Usual) -> float:
        far = 2 * abs(math.log(row.side_px / max(1, side_px)))
        return far + abs(math.log(row.per_class / max(1.0, per_class))) + abs(math.log(row.classes / max(1, classes)))

    rows = sorted((row for row in USUAL if row.gray == gray), key=distance)
    return tuple(row for row in rows[:SHOWN] if distance(row) <= distance(rows[0]) + FARTHER)
