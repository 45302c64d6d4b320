# SPDX-License-Identifier: Apache-2.0
"""Evaluations and data cards in JSON; tables of another size than the labels are refused."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.datacard import DataCard
from fireforge.base.errors import FireforgeError
from fireforge.base.evaluation import Evaluation, reliability_bins
from fireforge.base.value import Json


def evaluation() -> Json:
    return {
        "model": "model.onnx",
        "part": "test",
        "n": 4,
        "accuracy": 0.75,
        "interval": [0.3, 0.95],
        "top_k": {"1": 0.75},
        "ece": 0.1,
        "confusion": [[2, 0], [1, 1]],
        "labels": ["a", "b"],
        "per_class": {"precision": [0.6, 1.0], "recall": [1.0, 0.5], "f1": [0.8, 0.6], "support": [2, 2]},
        "reliability": [{"confidence": 0.9, "accuracy": 0.75, "n": 4}],
        "worst": [{"name": "x.png", "truth": "b", "answer": "a", "score": 0.9, "png": ""}],
    }


def test_an_entry_goes_through_unchanged() -> None:
    """Whole numbers stay whole; what was not kept then is None now."""
    found = Evaluation.from_json(evaluation())
    absent = {
        "val_accuracy": None,
        "threshold": 0.0,
        "refused": 0,
        "accuracy_accepted": None,
        "skipped": {},
        "along_tree": None,
    }
    assert found.to_json() == {**evaluation(), **absent}
    assert [type(number) for number in found.per_class.support] == [int, int]
    assert found.confusion[1] == (1, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"confusion": [[2, 0]]},
        {"confusion": [[2, 0], [1]]},
        {"confusion": []},
        {"labels": ["a", "b", "c"]},
        {"per_class": {"precision": [0.6, 1.0], "recall": [1.0, 0.5], "f1": [0.8, 0.6], "support": [2]}},
    ],
)
def test_a_table_of_another_size_than_the_labels_is_refused(changes: Json) -> None:
    with pytest.raises(FireforgeError, match="BAD_RECORD: Evaluation: a table of"):
        Evaluation.from_json({**evaluation(), **changes})


def test_counts_that_are_not_one_a_class_are_refused() -> None:
    card = {"source": "s", "format": "f", "labels": ["a", "b"], "found": 3, "used": 3, "input": [1, 8, 8]}
    assert DataCard.from_json({**card, "counts": {"train": [1, 2]}}).counts == {"train": (1, 2)}
    with pytest.raises(FireforgeError, match="BAD_RECORD: DataCard: 1 counts of the part 'val' for 2 classes"):
        DataCard.from_json({**card, "counts": {"train": [1, 2], "val": [3]}})


def test_reliability_by_hand() -> None:
    """Bins of 1/15: 0.95 and 0.99 share the last, 0.5 lies in the eighth; the others hold nothing."""
    rows = reliability_bins(np.array([True, False, True]), np.array([0.95, 0.99, 0.5]))
    assert [(row.confidence, row.accuracy, row.n) for row in rows] == [
        (0.5, 1.0, 1),
        (pytest.approx(0.97, abs=1e-15), 0.5, 2),
    ]
    assert reliability_bins(np.zeros(0, bool), np.zeros(0)) == ()
