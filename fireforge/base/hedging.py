# SPDX-License-Identifier: Apache-2.0
"""What hedging a file's answers along a tree does to them: accuracy against specificity."""

from __future__ import annotations

from dataclasses import dataclass

from fireforge.base.exported import Exported
from fireforge.base.hedge import HedgePoint
from fireforge.base.metrics import wilson
from fireforge.base.parity import ParityReport
from fireforge.base.value import Value

CAUTIONS = {
    "run": "the validation part of the file's own run, which chose the network and fitted its temperature on it",
    "val": "the data's own validation part or one split by seed 0; the file does not say what it was trained on, so "
    "these may be training pictures",
}


@dataclass(frozen=True, kw_only=True)
class HedgedPicture(Value):
    """A picture with its answer along the tree.

    Args:
      name: of the picture.
      truth: its class.
      best: the best class.
      best_score: its probability.
      answer: a group, or the best class.
      score: the answer's probability.
      exact: the answer is a class.
      right: the answer holds the true class.
      png: the picture as a small PNG file in base64.
    """

    name: str
    truth: str
    best: str
    best_score: float
    answer: str
    score: float
    exact: bool
    right: bool
    png: str


@dataclass(frozen=True, kw_only=True)
class Hedging(Value):
    """A file whose answers were hedged. Every point is measured on pictures that no bonus was fitted on.

    Args:
      exported: the file that was written.
      parity: that it answers as its card says, groups included.
      source: the file that it was made of.
      tree: "imagenet", the tree's file, or "the file's own".
      data: the dataset.
      part: which of its pictures: "run", the validation part of the run that made the file; "val", the data's own
        validation part or one that was split off with seed 0; or "all".
      groups: of the tree.
      most_bits: log2 of the classes.
      wanted: accuracy that the bonus was chosen for; 0 where the bonus was given.
      fitted: pictures that bonuses were fitted on.
      kept: accuracy of the chosen bonus on them.
      judged: other pictures, that everything below is measured on.
      chosen: what the file does.
      plain: the best class, whatever its score.
      free: bonus 0, where the expected information gain alone decides.
      curve: for rising wanted accuracies; of those with one bonus, the greatest alone.
      shown: some of the judged pictures.
    """

    exported: Exported
    parity: ParityReport
    source: str
    tree: str
    data: str
    part: str
    groups: int
    most_bits: float
    wanted: float
    fitted: int
    kept: float
    judged: int
    chosen: HedgePoint
    plain: HedgePoint
    free: HedgePoint
    curve: tuple[HedgePoint, ...]
    shown: tuple[HedgedPicture, ...]

    @property
    def caution(self) -> str:
        """What may make figures on these pictures better than on others, in words."""
        return CAUTIONS.get(self.part, "")

    @property
    def missed(self) -> bool:
        """Whether other pictures show that the wanted accuracy is not kept: it lies above the interval."""
        return self.wanted > self.interval(self.chosen)[1]

    def interval(self, point: HedgePoint) -> tuple[float, float]:
        """95 % interval of a point's accuracy, by Wilson."""
        return wilson(round(point.accuracy * self.judged), self.judged)
