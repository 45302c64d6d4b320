# SPDX-License-Identifier: Apache-2.0
"""Temperature against SciPy's minimiser and hand values; thresholds against a naive search; figures against metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from fireforge.base import metrics
from fireforge.base.calibration import (
    Calibration,
    at_threshold,
    calibrate,
    fit_temperature,
    fit_threshold,
    likelihood,
)
from fireforge.base.errors import FireforgeError
from fireforge.base.postprocess import softmax


def drawn(count: int, classes: int, *, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes drawn by their softmax at a temperature."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(count, classes)) * 3
    shares = softmax(logits, temperature=temperature)
    return logits, (shares.cumsum(axis=1) < draw.random(count)[:, None]).sum(axis=1)


@pytest.mark.parametrize("prior", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("scale", [0.2, 1.0, 40.0])
def test_temperature_against_scipy(prior: float, scale: float) -> None:
    """Brent's bounded method on the same sum; it stops at about 1e-8 of its argument, the least is flat: 1e-5."""
    logits, truth = drawn(300, 7, temperature=1.6)
    logits = logits * scale

    def loss(b: float) -> float:
        return len(truth) * likelihood(logits, truth, temperature=1 / b) + prior * (b - math.log(b))

    best = minimize_scalar(loss, bounds=(0.01, 100), method="bounded", options={"xatol": 1e-10}).x
    assert 1 / fit_temperature(logits, truth, prior=prior) == pytest.approx(best, rel=1e-5)


def test_temperature_of_two_classes_by_hand() -> None:
    """Margin 2, three of four right: the sigmoid of 2 / T is 3 / 4 at T = 2 / log 3."""
    logits = np.array([[2.0, 0.0]] * 4)
    assert fit_temperature(logits, np.array([0, 0, 0, 1]), prior=0) == pytest.approx(2 / math.log(3), rel=1e-9)


def test_temperature_that_the_classes_were_drawn_by_is_found() -> None:
    """20,000 draws; the fit's own standard error is about 1 %, so 4 % is four of them."""
    for temperature in (0.6, 1.0, 2.5):
        assert fit_temperature(*drawn(20_000, 10, temperature=temperature)) == pytest.approx(temperature, rel=0.04)


def test_a_network_without_mistakes_is_not_told_to_be_as_sure_as_can_be() -> None:
    """50 of margin 2: the least is where 50 * 2 * (1 - sigmoid(2 b)) = 1 - 1 / b; without prior it is nowhere."""
    logits, truth = np.array([[2.0, 0.0]] * 50), np.zeros(50, int)
    b = 1 / fit_temperature(logits, truth)
    assert 50 * 2 / (1 + math.exp(2 * b)) == pytest.approx(1 - 1 / b, rel=1e-8)
    assert 1.5 < b < 3
    assert 0.01 <= fit_temperature(logits, truth, prior=0) < 0.05  # as far as float64 tells slopes from zero


def test_temperature_of_extremes_stays_within_its_bounds() -> None:
    _, truth = drawn(50, 4, temperature=1)
    huge = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32) * 1e30
    assert 0.01 <= fit_temperature(huge, truth) <= 100.0001
    assert fit_temperature(np.zeros((50, 4)), truth) == pytest.approx(1)


def test_likelihood_by_hand_and_without_a_logarithm_of_zero() -> None:
    logits = np.array([[0.0, math.log(3)], [0.0, 1e5]])
    assert likelihood(logits[:1], np.array([1])) == pytest.approx(math.log(4 / 3), rel=1e-12)
    assert likelihood(logits[1:], np.array([0])) == pytest.approx(1e5)
    assert likelihood(logits[1:], np.array([0]), temperature=100) == pytest.approx(1e3)


def test_threshold_by_hand() -> None:
    """20 right answers of 0.05, 0.1 ... 1: one of them may go, so it is the second; wrong ones do not count."""
    sure = np.concatenate([np.arange(1, 21) / 20, [0.01, 0.5]])
    right = np.array([True] * 20 + [False] * 2)
    assert fit_threshold(right, sure, keep=0.95) == 0.1
    assert fit_threshold(right, sure, keep=0.951) == 0.05
    assert fit_threshold(right, sure, keep=1.0) == 0.05
    assert fit_threshold(np.zeros(22, bool), sure) == 0
    assert at_threshold(right, sure, 0.1).to_json() == {
        "threshold": 0.1,
        "coverage": 20 / 22,
        "accuracy": 19 / 20,
        "kept_right": 19 / 20,
    }


@pytest.mark.parametrize("seed", range(20))
def test_threshold_against_a_naive_search(seed: int) -> None:
    """All thresholds of four decimals, from 1 down: the first that keeps enough."""
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 60))
    sure, right = draw.random(count) ** 0.3, draw.random(count) < 0.8
    naive = next(
        (t / 10_000 for t in range(10_000, -1, -1) if (sure[right] >= t / 10_000).sum() >= 0.95 * right.sum()), 0.0
    )
    assert fit_threshold(right, sure) == pytest.approx(naive if right.any() else 0.0, abs=1e-12)


def test_calibration_tells_what_metrics_tell() -> None:
    logits, truth = drawn(500, 6, temperature=2)
    other = np.random.default_rng(5).normal(size=(40, 6))
    found = calibrate(logits.astype(np.float32), truth, others={"noise": other})
    logits = logits.astype(np.float32)
    before, after = softmax(logits), softmax(logits, temperature=found.temperature)
    sure, right = after.max(axis=1), after.argmax(axis=1) == truth
    assert (found.n, found.keep, found.accuracy) == (500, 0.95, right.mean())
    assert found.temperature == round(fit_temperature(logits, truth), 4)
    assert found.threshold == fit_threshold(right, sure)
    assert (found.nll_before, found.nll_after) == (
        likelihood(logits, truth),
        likelihood(logits, truth, temperature=found.temperature),
    )
    for name, score in (
        ("ece", metrics.expected_calibration_error),
        ("adaptive", metrics.adaptive_calibration_error),
        ("brier", metrics.brier),
    ):
        assert getattr(found, f"{name}_before") == score(truth, before), name
        assert getattr(found, f"{name}_after") == score(truth, after), name
    assert found.ece_after < found.ece_before / 2
    assert found.nll_after < found.nll_before
    assert found.kept_right >= 0.95
    assert found.coverage == (sure >= found.threshold).mean()
    assert found.accuracy_accepted == right[sure >= found.threshold].mean() > found.accuracy
    assert found.aurc == metrics.area_under_risk_coverage(right, sure)
    least = softmax(other, temperature=found.temperature).max(axis=1)
    assert found.refused == {"noise": (least < found.threshold).mean()}
    assert sum(row.n for row in found.reliability_before) == sum(row.n for row in found.reliability_after) == 500
    assert Calibration.from_json(found.to_json()) == found


def test_the_curve_runs_from_all_answers_to_the_surest() -> None:
    found = calibrate(*drawn(1000, 5, temperature=1))
    coverage = [point.coverage for point in found.curve]
    assert coverage[0] == 1
    assert found.curve[0].accuracy == found.accuracy
    assert coverage == sorted(coverage, reverse=True)
    assert coverage == pytest.approx(np.arange(20, 0, -1) / 20, abs=0.005)  # levels rounded down to four decimals
    assert found.curve[-1].accuracy > found.accuracy


def test_one_picture_and_equal_scores_are_enough() -> None:
    one = calibrate(np.array([[1.0, 0.0]]), np.array([0]))
    assert (one.n, one.kept_right, one.coverage, len(one.curve)) == (1, 1, 1, 1)
    wrong = calibrate(np.zeros((4, 3)), np.array([1, 2, 1, 2]))
    assert (wrong.accuracy, wrong.threshold, wrong.kept_right, wrong.accuracy_accepted) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("logits", "truth"),
    [
        (np.zeros((0, 3)), np.zeros(0, int)),
        (np.zeros(3), np.zeros(3, int)),
        (np.zeros((2, 3)), np.zeros(3, int)),
        (np.zeros((2, 3)), np.array([0, 3])),
        (np.zeros((2, 3)), np.array([-1, 0])),
        (np.array([[np.nan, 0.0]]), np.zeros(1, int)),
        (np.array([[np.inf, 0.0]]), np.zeros(1, int)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(logits: np.ndarray, truth: np.ndarray) -> None:
    with pytest.raises(FireforgeError, match="BAD_CALIBRATION"):
        calibrate(logits, truth)
