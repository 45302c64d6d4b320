# SPDX-License-Identifier: Apache-2.0
"""How good answers are: counts, shares, intervals; numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution
BINS = 15  # of scores, for calibration (Guo et al. 2017)


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Share of right answers.

    Args:
      truth: int (N,).
      predicted: int (N,).

    Returns:
      In [0, 1]; 0 where N is 0.
    """
    return float(np.mean(truth == predicted)) if len(truth) else 0.0


def top_k_accuracy(truth: np.ndarray, scores: np.ndarray, k: int) -> float:
    """Share of rows whose true class is among the k greatest scores.

    Args:
      truth: int (N,).
      scores: float (N, K).
      k: 1 to K; equal scores count in the order of classes.

    Returns:
      In [0, 1].
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float(np.mean((order == truth[:, None]).any(axis=1))) if len(truth) else 0.0


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts by true class (rows) and predicted class (columns).

    Args:
      truth: int (N,).
      predicted: int (N,).
      classes: K.

    Returns:
      int64 (K, K), sum N.
    """
    flat = truth.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def per_class(table: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and support of each class; 0 where a class was never predicted or never present.

    Args:
      table: int (K, K) of `confusion`.

    Returns:
      "precision", "recall", "f1" float (K,) and "support" int (K,).
    """
    right = np.diag(table).astype(np.float64)
    predicted, present = table.sum(axis=0), table.sum(axis=1)
    precision = np.divide(right, predicted, out=np.zeros_like(right), where=predicted > 0)
    recall = np.divide(right, present, out=np.zeros_like(right), where=present > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(right), where=both > 0)
    return {"precision": precision, "recall": recall, "f1": f1, "support": present}


def wilson(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share.

    Args:
      right: successes.
      total: trials, positive.

    Returns:
      Lower and upper bound in [0, 1].

    Source:
      Wilson 1927; it stays inside [0, 1] and is honest near 1, where the normal interval is not.
    """
    share = right / total
    middle = share + Z95**2 / (2 * total)
    half = Z95 * math.sqrt(share * (1 - share) / total + Z95**2 / (4 * total**2))
    scale = 1 + Z95**2 / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def paired_loss(before: np.ndarray, after: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Accuracy lost between two models on the same pictures, with its 95 % interval.

    Args:
      before: bool (N,), the first model was right.
      after: bool (N,), the second model was right.

    Returns:
      Loss (positive is worse) and interval, by the normal approximation on paired differences.
    """
    difference = before.astype(np.float64) - after.astype(np.float64)
    loss = float(difference.mean())
    half = Z95 * float(difference.std()) / math.sqrt(len(difference))
    return loss, (loss - half, loss + half)


def bin_of(sure: np.ndarray, *, bins: int = BINS) -> np.ndarray:
    """The bin of equal width that each score falls into.

    Args:
      sure: scores (N,) in [0, 1].
      bins: number of bins over (0, 1]; an upper edge belongs to its bin.

    Returns:
      int64 (N,), 0 to bins - 1.
    """
    return np.asarray(np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1))


def expected_calibration_error(truth: np.ndarray, scores: np.ndarray, *, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over bins of equal width.

    Args:
      truth: int (N,).
      scores: probabilities (N, K).
      bins: number of bins over (0, 1].

    Returns:
      In [0, 1].

    Source:
      Guo et al. 2017, equation 3.
    """
    sure = scores.max(axis=1)
    right = scores.argmax(axis=1) == truth
    which = bin_of(sure, bins=bins)
    return _mean_gap(right, sure, [which == index for index in range(bins)])


def adaptive_calibration_error(truth: np.ndarray, scores: np.ndarray, *, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over bins of as nearly equal numbers as can be.

    Where nearly all scores are close to 1, bins of equal width hold next to nothing; these do not.

    Args:
      truth: int (N,).
      scores: probabilities (N, K).
      bins: number of bins; equal scores keep the order of the rows.

    Returns:
      In [0, 1].

    Source:
      Nguyen and O'Connor 2015, section 4.2 (bins by quantiles), on the best score alone.
    """
    sure = scores.max(axis=1)
    right = scores.argmax(axis=1) == truth
    return _mean_gap(right, sure, np.array_split(np.argsort(sure, kind="stable"), bins))


def brier(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean over pictures of the squared distance between the scores and the truth, summed over all classes.

    Args:
      truth: int (N,), N at least 1.
      scores: probabilities (N, K).

    Returns:
      In [0, 2].

    Source:
      Brier 1950, equation 2.
    """
    wanted = np.eye(scores.shape[1])[truth]
    return float(((scores - wanted) ** 2).sum(axis=1).mean())


def area_under_risk_coverage(right: np.ndarray, sure: np.ndarray) -> float:
    """Mean share of wrong answers among the i surest, over i = 1 to N; answers of one score count as their mean.

    Args:
      right: bool (N,), the answer is right; N at least 1.
      sure: float (N,), its score.

    Returns:
      In [0, 1]; least where every wrong answer is less sure than every right one.

    Source:
      Geifman, Uziel and El-Yaniv 2019, equation 3.
    """
    _, group = np.unique(-sure, return_inverse=True)
    wrong = np.bincount(group, weights=~right) / np.bincount(group)
    risks = np.cumsum(wrong[np.sort(group)]) / np.arange(1, len(right) + 1)
    return float(risks.mean())


def _mean_gap(right: np.ndarray, sure: np.ndarray, rows: Sequence[np.ndarray]) -> float:
    """Gap of each group of answers, weighted by its size; a group is a mask or a list of indices."""
    groups = [(right[row], sure[row]) for row in rows]
    gaps = [len(r) * abs(float(r.mean()) - float(s.mean())) for r, s in groups if len(r)]
    return sum(gaps) / len(right) if len(right) else 0.0
