# SPDX-License-Identifier: Apache-2.0
"""Answers against hand values, torch's softmax and NumPy's order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fireforge.base.errors import FireforgeError
from fireforge.base.postprocess import Classification, Postprocess, classify, softmax

LOGITS = np.array([[0.0, np.log(3.0), -100.0]], np.float32)


def test_softmax_by_hand_and_against_torch() -> None:
    assert softmax(LOGITS)[0] == pytest.approx([0.25, 0.75, 0], abs=1e-7)  # log 3 in float32
    logits = np.random.default_rng(0).normal(size=(5, 9)) * 300
    want = torch.softmax(torch.from_numpy(logits / 2.5), -1).numpy()
    np.testing.assert_allclose(softmax(logits, temperature=2.5), want, rtol=1e-12, atol=1e-300)  # both float64


def test_softmax_of_great_numbers_is_finite() -> None:
    assert softmax(np.array([3e38, 3e38], np.float32)).tolist() == [0.5, 0.5]


def test_classify_by_hand() -> None:
    answers = classify({"logits": LOGITS}, Postprocess(), ("a", "b", "c"), top=2)
    assert answers == [Classification(labels=("b", "a"), scores=answers[0].scores)]
    assert answers[0].scores == pytest.approx((0.75, 0.25), abs=1e-7)
    assert (answers[0].label, answers[0].score) == ("b", answers[0].scores[0])


def test_equal_scores_keep_the_order_of_classes() -> None:
    answers = classify({"logits": np.zeros((1, 3), np.float32)}, Postprocess(), ("a", "b", "c"), top=9)
    assert answers[0].labels == ("a", "b", "c")


def test_temperature_changes_scores_and_not_the_label() -> None:
    cold, warm = (classify({"logits": LOGITS}, Postprocess(temperature=t), ("a", "b", "c"))[0] for t in (0.5, 4.0))
    assert cold.label == warm.label == "b"
    assert cold.score == pytest.approx(0.9, abs=1e-7)  # 3^2 against 1
    assert warm.score < cold.score


@pytest.mark.parametrize(
    "outputs",
    [
        {"logits": np.zeros((1, 2), np.float32)},
        {"logits": np.zeros((1, 3, 1, 1), np.float32)},
        {"logits": np.array([[np.nan, 0, 0]], np.float32)},
        {"logits": np.array([[np.inf, 0, 0]], np.float32)},
        {"other": LOGITS},
    ],
)
def test_outputs_that_do_not_fit_are_refused(outputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(FireforgeError, match="BAD_OUTPUT"):
        classify(outputs, Postprocess(), ("a", "b", "c"))


def test_an_answer_below_the_threshold_is_not_accepted_and_keeps_its_labels() -> None:
    """The best score is 3/4, at temperature 1/2 it is 9/10; a score on the threshold is accepted."""
    best = classify({"logits": LOGITS}, Postprocess(), ("a", "b", "c"))[0]
    for post, accepted in (
        (Postprocess(), True),
        (Postprocess(threshold=best.score), True),
        (Postprocess(threshold=0.7501), False),
        (Postprocess(threshold=0.85, temperature=0.5), True),
        (Postprocess(threshold=0.95, temperature=0.5), False),
    ):
        answer = classify({"logits": LOGITS}, post, ("a", "b", "c"), top=2)[0]
        assert (answer.accepted, answer.labels) == (accepted, ("b", "a")), post


def test_a_card_of_before_has_no_threshold_and_accepts_everything() -> None:
    assert Postprocess.from_json({"temperature": 2.0}) == Postprocess(temperature=2.0, threshold=0.0)
    assert Classification.from_json({"labels": ["a"], "scores": [0.1]}).accepted


@pytest.mark.parametrize(
    "fields", [{"temperature": 0.0}, {"temperature": -1.0}, {"threshold": -0.1}, {"threshold": 1.1}]
)
def test_numbers_that_no_score_can_be_computed_with_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(FireforgeError, match="BAD_POSTPROCESS"):
        Postprocess.from_json(fields)


def test_no_answer_at_all_cannot_be_asked_for() -> None:
    with pytest.raises(FireforgeError, match="BAD_TOP: 0 answers"):
        classify({"logits": LOGITS}, Postprocess(), ("a", "b", "c"), top=0)
