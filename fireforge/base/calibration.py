# SPDX-License-Identifier: Apache-2.0
"""Scores that mean what they say, and a threshold below which an answer is "none of these"; fitted on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.evaluation import ReliabilityBin, reliability_bins
from fireforge.base.metrics import (
    adaptive_calibration_error,
    area_under_risk_coverage,
    brier,
    expected_calibration_error,
)
from fireforge.base.postprocess import softmax
from fireforge.base.value import Value

KEEP = 0.95  # share of right answers that the threshold must let through
PLACES = 4  # decimals of temperature and threshold in a file
PRIOR = 1.0  # pictures that the belief in a temperature of 1 is worth
LEAST, MOST = 0.01, 100.0  # temperatures that are considered
STEPS = 100  # of Newton's method, which takes about ten
POINTS = 20  # of the risk-coverage curve


@dataclass(frozen=True, kw_only=True)
class CurvePoint(Value):
    """What one threshold does.

    Args:
      threshold: the least score that is accepted, in [0, 1].
      coverage: share of all answers that are accepted.
      accuracy: share of right answers among these.
      kept_right: share of the right answers that are accepted.
    """

    threshold: float
    coverage: float
    accuracy: float
    kept_right: float


@dataclass(frozen=True, kw_only=True)
class Calibration(Value):
    """Temperature and threshold of a network, and what they change on the pictures they were fitted on.

    "before" is at temperature 1, "after" at the fitted one; labels are the same. Two numbers were fitted, so the
    figures flatter by little; what other pictures give is in the Evaluation of the test part.

    Args:
      n: pictures that it was fitted on.
      temperature: logits are divided by it.
      nll_before: mean negative log-likelihood in nats.
      nll_after: likewise.
      ece_before: expected calibration error in 15 bins of equal width (Guo et al. 2017).
      ece_after: likewise.
      adaptive_before: the same error in 15 bins of equal numbers.
      adaptive_after: likewise.
      brier_before: Brier score, in [0, 2].
      brier_after: likewise.
      keep: share of right answers that the threshold had to let through.
      threshold: the greatest that does so; an answer with a lower score is "none of these".
      kept_right: share of right answers that it lets through.
      coverage: share of all answers that it lets through.
      accuracy: share of right answers without a threshold.
      accuracy_accepted: share of right answers among those let through.
      aurc: area under the risk-coverage curve, in [0, 1].
      curve: other thresholds, greatest coverage first.
      reliability_before: bins of answers by their score.
      reliability_after: likewise.
      refused: kind of other pictures, which show none of the classes, to the share of them that is refused; only these
        kinds were tried, and others may pass more easily.
    """

    n: int
    temperature: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    adaptive_before: float
    adaptive_after: float
    brier_before: float
    brier_after: float
    keep: float
    threshold: float
    kept_right: float
    coverage: float
    accuracy: float
    accuracy_accepted: float
    aurc: float
    curve: tuple[CurvePoint, ...]
    reliability_before: tuple[ReliabilityBin, ...]
    reliability_after: tuple[ReliabilityBin, ...]
    refused: dict[str, float] = field(default_factory=dict)


def calibrate(
    logits: np.ndarray, truth: np.ndarray, *, keep: float = KEEP, others: Mapping[str, np.ndarray] | None = None
) -> Calibration:
    """Fit temperature and threshold.

    Args:
      logits: float (N, K) of pictures that the network was not trained on.
      truth: int (N,), their classes.
      keep: share of right answers that the threshold lets through at least, in (0, 1].
      others: kind of pictures that show none of the classes to their logits (M, K), for `Calibration.refused`.

    Returns:
      The fit, temperature and threshold rounded to 4 decimals as a file holds them.

    Raises:
      FireforgeError: BAD_CALIBRATION, if there is no picture, the arrays do not fit, or a logit is not finite.
    """
    _check(logits, truth)
    temperature = round(fit_temperature(logits, truth), PLACES)
    before, after = softmax(logits), softmax(logits, temperature=temperature)
    right, sure = after.argmax(axis=1) == truth, after.max(axis=1)
    threshold = fit_threshold(right, sure, keep=keep)
    chosen = at_threshold(right, sure, threshold)
    levels = np.sort(sure)[::-1][np.ceil(np.arange(POINTS, 0, -1) / POINTS * len(sure)).astype(int) - 1]
    thresholds = sorted({_down(float(level)) for level in levels})
    return Calibration(
        n=len(truth),
        temperature=temperature,
        nll_before=likelihood(logits, truth),
        nll_after=likelihood(logits, truth, temperature=temperature),
        ece_before=expected_calibration_error(truth, before),
        ece_after=expected_calibration_error(truth, after),
        adaptive_before=adaptive_calibration_error(truth, before),
        adaptive_after=adaptive_calibration_error(truth, after),
        brier_before=brier(truth, before),
        brier_after=brier(truth, after),
        keep=keep,
        threshold=threshold,
        kept_right=chosen.kept_right,
        coverage=chosen.coverage,
        accuracy=float(right.mean()),
        accuracy_accepted=chosen.accuracy,
        aurc=area_under_risk_coverage(right, sure),
        curve=tuple(at_threshold(right, sure, level) for level in thresholds),
        reliability_before=reliability_bins(right, before.max(axis=1)),
        reliability_after=reliability_bins(right, sure),
        refused={
            kind: float((softmax(rows, temperature=temperature).max(axis=1) < threshold).mean())
            for kind, rows in (others or {}).items()
        },
    )


def fit_temperature(logits: np.ndarray, truth: np.ndarray, *, prior: float = PRIOR) -> float:
    """The temperature with the least negative log-likelihood, held to 1 as if by a picture or so.

    In b = 1 / temperature the sum over pictures of log(sum(exp(b z))) - b z[truth] is convex, and so is the prior,
    prior * (b - log b), whose least is at 1. Without it a network that answers every picture right would be told to be
    as sure as can be.

    Args:
      logits: float (N, K).
      truth: int (N,).
      prior: its weight in pictures; 0 for Guo's own fit.

    Returns:
      In [0.01, 100].

    Source:
      Guo et al. 2017, section 4.2; the prior is ours. Newton's method within a bracket that bisection narrows.
    """
    centred = logits.astype(np.float64)
    centred = centred - centred[np.arange(len(truth)), truth][:, None]
    low, high, b = 1 / MOST, 1 / LEAST, 1.0
    for _ in range(STEPS):
        shares = softmax(centred * b)
        means = (shares * centred).sum(axis=1)
        slope = float(means.sum()) + prior * (1 - 1 / b)
        bend = float(((shares * centred**2).sum(axis=1) - means**2).sum()) + prior / b**2
        low, high = (b, high) if slope < 0 else (low, b)
        step = b - slope / bend if bend > 0 else low
        last, b = b, step if low < step < high else math.sqrt(low * high)
        if abs(b - last) <= 1e-12 * b:
            break
    return 1 / b


def fit_threshold(right: np.ndarray, sure: np.ndarray, *, keep: float = KEEP) -> float:
    """The greatest threshold that lets through the share of right answers that is to be kept.

    Args:
      right: bool (N,), the answer is right.
      sure: float (N,), its score.
      keep: in (0, 1].

    Returns:
      Rounded down to 4 decimals; 0 where no answer is right.
    """
    scores = np.sort(sure[right])
    if not len(scores):
        return 0.0
    return _down(float(scores[len(scores) - math.ceil(keep * len(scores))]))


def at_threshold(right: np.ndarray, sure: np.ndarray, threshold: float) -> CurvePoint:
    """What a threshold does.

    Args:
      right: bool (N,), the answer is right; N at least 1.
      sure: float (N,), its score.
      threshold: the least score that is accepted.

    Returns:
      The point; shares of nothing are 0.
    """
    accepted = sure >= threshold
    kept = int((right & accepted).sum())
    return CurvePoint(
        threshold=threshold,
        coverage=float(accepted.mean()),
        accuracy=kept / max(1, int(accepted.sum())),
        kept_right=kept / max(1, int(right.sum())),
    )


def likelihood(logits: np.ndarray, truth: np.ndarray, *, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the true classes.

    Args:
      logits: float (N, K), N at least 1.
      truth: int (N,).
      temperature: positive.

    Returns:
      In nats, computed without a logarithm of 0.
    """
    rows = logits.astype(np.float64) / temperature
    rows = rows - rows[np.arange(len(truth)), truth][:, None]
    most = rows.max(axis=1)
    return float((most + np.log(np.exp(rows - most[:, None]).sum(axis=1))).mean())


def _check(logits: np.ndarray, truth: np.ndarray) -> None:
    whole = logits.ndim == 2 and logits.shape[1] >= 1 and truth.shape == (len(logits),) and len(truth) > 0
    if not whole or truth.min() < 0 or truth.max() >= logits.shape[1]:
        what = f"logits of shape {logits.shape} with classes of shape {truth.shape}"
        raise FireforgeError("BAD_CALIBRATION", what, allowed="(N, K) and (N,), N at least 1, classes below K")
    if not np.isfinite(logits).all():
        raise FireforgeError("BAD_CALIBRATION", "the network's output holds NaN or infinity")


def _down(score: float) -> float:
    """Rounded down to the decimals of a file, so that what reached it still does."""
    scale: int = 10**PLACES
    return math.floor(score * scale) / scale
