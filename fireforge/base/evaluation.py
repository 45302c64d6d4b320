# SPDX-License-Identifier: Apache-2.0
"""How good a file's answers are on labelled pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.metrics import bin_of
from fireforge.base.value import Value


@dataclass(frozen=True, kw_only=True)
class PerClass(Value):
    """Figures of each class, in the order of the labels; see `fireforge.base.metrics.per_class`.

    Args:
      precision: in [0, 1].
      recall: in [0, 1].
      f1: in [0, 1].
      support: pictures of the class, a whole number.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int | float, ...]


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin(Value):
    """Answers with about the same score.

    Args:
      confidence: their mean score.
      accuracy: share of them that is right.
      n: their number, at least one.
    """

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Mistake(Value):
    """A wrong answer.

    Args:
      name: of the picture.
      truth: its class.
      answer: what was answered.
      score: of the answer, in [0, 1].
      png: the picture as a small PNG file in base64.
    """

    name: str
    truth: str
    answer: str
    score: float
    png: str


@dataclass(frozen=True, kw_only=True)
class AlongTree(Value):
    """Answers that may be groups of classes, where the file's card has a hedge.

    Args:
      accuracy: share of answers that hold the true class.
      interval: 95 % interval of it, by Wilson.
      bits: mean information gain of the answers, those that are wrong counted as 0.
      most_bits: log2 of the classes: what right answers gain that are all a class.
      exact: share of answers that are a class and no group.
      bonus: of the hedge, in bits.
      refused: answers whose best class scores below the threshold; the accuracy counts them all the same.
    """

    accuracy: float
    interval: tuple[float, float]
    bits: float
    most_bits: float
    exact: float
    bonus: float
    refused: int = 0


@dataclass(frozen=True, kw_only=True)
class Evaluation(Value):
    """Answers of a file, held against the truth.

    Args:
      model: the file, as the caller names it.
      part: which pictures: "test", or "all".
      n: their number.
      accuracy: share of right answers.
      interval: 95 % interval of the accuracy, by Wilson.
      top_k: k to the share of pictures whose class is among the k best answers.
      ece: expected calibration error (Guo et al. 2017).
      confusion: counts by true class (rows) and answer (columns), K x K.
      labels: K class names.
      per_class: figures of each class.
      reliability: bins of answers by their score, those without answers left out.
      worst: wrong answers, the surest first.
      val_accuracy: of the same file on the validation part, for comparison with baselines; None where unknown.
      threshold: the file's: an answer with a lower score is "none of these".
      refused: answers below the threshold; the accuracy above counts them by their best label all the same.
      accuracy_accepted: share of right answers among the others; None where there are none, or in an older record.
      skipped: found pictures that were not used, by code.
      along_tree: the same answers as the file's hedge makes them; None where it has none. All else is of best classes.
    """

    model: str
    part: str
    n: int
    accuracy: float
    interval: tuple[float, float]
    top_k: dict[str, float]
    ece: float
    confusion: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    per_class: PerClass
    reliability: tuple[ReliabilityBin, ...]
    worst: tuple[Mistake, ...]
    val_accuracy: float | None = None
    threshold: float = 0.0
    refused: int = 0
    accuracy_accepted: float | None = None
    skipped: dict[str, int] = field(default_factory=dict)
    along_tree: AlongTree | None = None

    def __post_init__(self) -> None:
        """Refuse tables whose size is not the number of labels."""
        figures = self.per_class
        sizes = [len(self.confusion), *map(len, self.confusion)]
        sizes += map(len, (figures.precision, figures.recall, figures.f1, figures.support))
        if set(sizes) != {len(self.labels)}:
            what = f"a table of {min(sizes)} to {max(sizes)} rows or columns for {len(self.labels)} classes"
            raise FireforgeError("BAD_RECORD", what, where="Evaluation")


def reliability_bins(right: np.ndarray, sure: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """Answers in 15 bins of equal width by their score, those without answers left out.

    Args:
      right: bool (N,), the answer is right.
      sure: float (N,), its score in [0, 1].

    Returns:
      The bins, lowest scores first.
    """
    which = bin_of(sure)
    rows = [which == index for index in np.unique(which)]
    return tuple(
        ReliabilityBin(confidence=float(sure[row].mean()), accuracy=float(right[row].mean()), n=int(row.sum()))
        for row in rows
    )
