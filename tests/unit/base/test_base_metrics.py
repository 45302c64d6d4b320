# SPDX-License-Identifier: Apache-2.0
"""Metrics against scikit-learn, and against values worked by hand or published."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn import metrics as reference

from fireforge.base import metrics

R = np.random.default_rng(0)
TRUTH = R.integers(0, 7, 500)
GUESS = np.where(R.random(500) < 0.6, TRUTH, R.integers(0, 5, 500))  # classes 5 and 6 seldom predicted
SCORES = R.random((500, 7))


def test_accuracy_against_scikit_learn() -> None:
    assert metrics.accuracy(TRUTH, GUESS) == pytest.approx(reference.accuracy_score(TRUTH, GUESS), abs=1e-15)
    assert metrics.accuracy(TRUTH[:0], GUESS[:0]) == 0


def test_confusion_against_scikit_learn() -> None:
    want = reference.confusion_matrix(TRUTH, GUESS, labels=range(8))
    got = metrics.confusion(TRUTH, GUESS, 8)
    assert np.array_equal(got, want)
    assert got.dtype == np.int64


def test_confusion_of_bytes_does_not_overflow() -> None:
    truth = np.array([200, 3], np.uint8)
    assert metrics.confusion(truth, truth, 201)[200, 200] == 1


def test_per_class_against_scikit_learn_with_absent_classes() -> None:
    guess = np.where(GUESS == 2, 3, GUESS)  # 2 is never predicted, 7 is neither present nor predicted
    got = metrics.per_class(metrics.confusion(TRUTH, guess, 8))
    want = reference.precision_recall_fscore_support(TRUTH, guess, labels=range(8), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), want):
        np.testing.assert_allclose(got[name], values, rtol=0, atol=1e-15, err_msg=name)  # same few roundings


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_top_k_against_scikit_learn(k: int) -> None:
    want = reference.top_k_accuracy_score(TRUTH, SCORES, k=min(k, 6), labels=range(7))
    assert metrics.top_k_accuracy(TRUTH, SCORES, k) == (pytest.approx(want, abs=1e-15) if k < 7 else 1)


def test_top_k_of_equal_scores_goes_by_the_order_of_classes() -> None:
    assert metrics.top_k_accuracy(np.array([1]), np.zeros((1, 3)), 1) == 0
    assert metrics.top_k_accuracy(np.array([1]), np.zeros((1, 3)), 2) == 1


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_against_newcombe_1998_table_1(right: int, total: int, low: float, high: float) -> None:
    """Method 3 of the paper's Table I, printed to four places."""
    assert metrics.wilson(right, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_stays_in_the_unit_interval() -> None:
    assert metrics.wilson(0, 1)[0] == pytest.approx(0, abs=1e-16)  # exact in real numbers, one rounding here
    assert metrics.wilson(9, 9)[1] == pytest.approx(1, abs=1e-15)
    assert metrics.wilson(9, 9)[1] <= 1


def test_paired_loss_by_hand() -> None:
    before = np.array([1, 1, 1, 0], bool)
    after = np.array([1, 0, 1, 0], bool)
    loss, (low, high) = metrics.paired_loss(before, after)
    # differences 0 1 0 0: mean 1/4, variance 3/16, half width 1.96 * sqrt(3/16/4)
    half = 1.959963984540054 * (3 / 64) ** 0.5
    assert (loss, low, high) == pytest.approx((0.25, 0.25 - half, 0.25 + half), abs=1e-15)


def test_calibration_error_by_hand() -> None:
    # bins of width 1/2 over (0, 1]: confidences .5 .5 fall into the first, .9 .7 into the second
    scores = np.array([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9], [0.7, 0.3]])
    truth = np.array([0, 0, 1, 1])
    # first: accuracy 1, confidence .5; second: accuracy 1/2, confidence .8; gaps .5 and .3 on half of the samples each
    assert metrics.expected_calibration_error(truth, scores, bins=2) == pytest.approx(0.4, abs=1e-15)
    assert metrics.expected_calibration_error(truth, np.eye(2)[truth]) == 0


def test_bins_hold_their_upper_edge() -> None:
    sure = np.array([0.0, 1e-9, 0.5, 0.5000001, 1.0])
    assert metrics.bin_of(sure, bins=2).tolist() == [0, 0, 0, 1, 1]


def softmaxed(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits)
    return power / power.sum(axis=1, keepdims=True)


def test_calibration_errors_against_naive_loops() -> None:
    scores = softmaxed(SCORES * 4)
    sure, right = scores.max(axis=1), scores.argmax(axis=1) == TRUTH
    wide = 0.0
    for low in range(15):
        rows = [i for i in range(500) if low / 15 < sure[i] <= (low + 1) / 15]
        wide += abs(sum(right[i] for i in rows) - sum(sure[i] for i in rows)) / 500
    assert metrics.expected_calibration_error(TRUTH, scores) == pytest.approx(wide, abs=1e-14)
    order = sorted(range(500), key=lambda i: sure[i])
    starts = [0, *np.cumsum([34] * 5 + [33] * 10)]  # 500 = 5 * 34 + 10 * 33
    equal = 0.0
    for start, end in itertools.pairwise(starts):
        rows = order[start:end]
        equal += abs(sum(right[i] for i in rows) - sum(sure[i] for i in rows)) / 500
    assert metrics.adaptive_calibration_error(TRUTH, scores) == pytest.approx(equal, abs=1e-14)


def test_adaptive_bins_of_fewer_pictures_than_bins() -> None:
    scores = np.array([[0.9, 0.1], [0.6, 0.4]])
    assert metrics.adaptive_calibration_error(np.array([0, 1]), scores) == pytest.approx((0.1 + 0.6) / 2, abs=1e-15)


def test_brier_against_scikit_learn() -> None:
    scores = softmaxed(SCORES)
    want = reference.brier_score_loss(TRUTH, scores, labels=range(7), scale_by_half=False)
    assert metrics.brier(TRUTH, scores) == pytest.approx(want, abs=1e-14)
    assert metrics.brier(np.array([1]), np.array([[1.0, 0.0]])) == 2


def test_area_under_risk_coverage_by_hand() -> None:
    """Surest first: right, wrong, right; risks 0, 1/2, 1/3."""
    right, sure = np.array([True, False, True]), np.array([0.9, 0.8, 0.3])
    assert metrics.area_under_risk_coverage(right, sure) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3, abs=1e-15)


def test_area_under_risk_coverage_against_the_mean_over_orders_of_equal_scores() -> None:
    right, sure = np.array([True, False, True, False]), np.array([0.7, 0.7, 0.7, 0.9])
    naive = []
    for order in itertools.permutations(range(4)):
        if order[0] == 3:  # the surest comes first, the others in any order
            wrong = np.cumsum(~right[list(order)])
            naive.append(np.mean(wrong / np.arange(1, 5)))
    assert metrics.area_under_risk_coverage(right, sure) == pytest.approx(np.mean(naive), abs=1e-15)
    mixed = np.array([2, 0, 3, 1])
    assert metrics.area_under_risk_coverage(right[mixed], sure[mixed]) == pytest.approx(np.mean(naive), abs=1e-15)
