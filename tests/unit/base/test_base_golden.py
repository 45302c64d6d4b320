# SPDX-License-Identifier: Apache-2.0
"""The self-test in an artefact: its size, what it detects, what it ignores; expected values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.golden import Golden, golden_difference, golden_inputs, make_golden
from fireforge.base.preprocess import ImageSteps
from fireforge.base.rng import golden_bytes
from fireforge.base.value import canonical_json

OUT = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 10, 1000, 65_536])
def test_at_most_300_bytes_with_a_digest(classes: int) -> None:
    outputs = np.random.default_rng(1).normal(size=(3, classes)).astype(np.float32)
    golden = make_golden(outputs).replace(sha256="f" * 64)
    assert len(canonical_json(golden.to_json()).encode()) <= 300
    assert golden_difference(golden, outputs) == 0


def test_a_changed_stored_output_is_detected_and_measured() -> None:
    golden = make_golden(OUT)
    changed = OUT.copy()
    row, column = 1, OUT[1].argmax()
    changed[row, column] += 0.25
    assert golden_difference(golden, changed) == pytest.approx(0.25 / np.sort(OUT, axis=1)[:, -8:].max(), rel=1e-5)


def test_another_output_that_becomes_the_greatest_is_detected() -> None:
    golden = make_golden(OUT)
    changed = OUT.copy()
    changed[2, OUT[2].argmin()] = 10.0
    assert golden_difference(golden, changed) > 0.5


def test_a_small_change_far_below_the_greatest_is_no_difference() -> None:
    changed = OUT.copy()
    changed[0, OUT[0].argmin()] -= 1.0
    assert golden_difference(make_golden(OUT), changed) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite_never_pass(bad: float) -> None:
    changed = OUT.copy()
    changed[0, 0] = bad
    assert golden_difference(make_golden(OUT), changed) == np.inf
    with pytest.raises(FireforgeError, match="BAD_GOLDEN"):
        make_golden(changed)


def test_few_classes_and_several_axes() -> None:
    assert golden_difference(make_golden(OUT[:, :2]), OUT[:, :2]) == 0
    assert golden_difference(make_golden(OUT.reshape(3, 10, 100)), OUT) == 0


def test_all_zero_outputs_have_no_division_by_zero() -> None:
    zeros = np.zeros((3, 4), np.float32)
    assert golden_difference(make_golden(zeros), zeros) == 0


@pytest.mark.parametrize("top", ["", "?", "AA==", "QUJDREVG", "ä"])
def test_a_damaged_text_is_refused(top: str) -> None:
    with pytest.raises(FireforgeError, match="BAD_GOLDEN"):
        golden_difference(Golden(top=top), OUT)


def test_the_golden_of_a_larger_network_is_refused() -> None:
    with pytest.raises(FireforgeError, match="BAD_GOLDEN"):
        golden_difference(make_golden(OUT), OUT[:, :5])


def test_inputs_are_the_generated_bytes_normalized() -> None:
    steps = ImageSteps(channels=1, resize=None, crop=(2, 3), order="L", mean=(10.0,), std=(4.0,))
    inputs = golden_inputs(steps)
    assert inputs.dtype == np.float32
    assert np.array_equal(inputs[2], (golden_bytes(2, (1, 2, 3)).astype(np.float32) - 10) / 4)
