# SPDX-License-Identifier: Apache-2.0
"""How good answers are: counts, shares, intervals; numpy only."""

from __future__ import annotations

import math

import numpy as np

Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


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


def expected_calibration_error(truth: np.ndarray, scores: np.ndarray, *, bins: int = 15) -> float:
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
    which = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gap = 0.0
    for index in range(bins):
        inside = which == index
        if inside.any():
            gap += float(inside.mean()) * abs(float(right[inside].mean()) - float(sure[inside].mean()))
    return gap
