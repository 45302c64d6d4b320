# SPDX-License-Identifier: Apache-2.0
"""A trial's digest is its identity: it changes with every field; each change is written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from fireforge.base.errors import FireforgeError
from fireforge.base.preprocess import ImageSteps, Preprocess
from fireforge.base.spec import NetSpec
from fireforge.base.trial import Augment, DataRef, Recipe, Trial

TRIAL = Trial(
    spec=NetSpec(family="firenet", classes=10, input_shape=(3, 8, 8)),
    recipe=Recipe(epochs=2),
    data=DataRef(source="digits"),
    preprocess=Preprocess(image=ImageSteps(channels=3, resize=None, crop=(8, 8))),
)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"rung": 1},
        {"parts": ("train", "val")},
        {"recipe": Recipe(epochs=3)},
        {"recipe": Recipe(epochs=2, augment=Augment(shift_px=1.0))},
        {"data": DataRef(source="digits", seed=1)},
        {"streamed": True},
        {"spec": NetSpec(family="firenet", params={"w": 1}, classes=10, input_shape=(3, 8, 8))},
    ],
)
def test_every_change_is_another_trial(change: dict[str, Any]) -> None:
    assert TRIAL.replace(**change).digest() != TRIAL.digest()


def test_a_trial_that_is_not_streamed_is_written_as_before_there_was_such_a_thing() -> None:
    assert "streamed" not in TRIAL.to_json()
    streamed = TRIAL.replace(streamed=True)
    assert Trial.from_json(streamed.to_json()) == streamed
    assert Trial.from_json(TRIAL.to_json()) == TRIAL


def test_numbers_that_are_equal_are_the_same_trial() -> None:
    data = TRIAL.to_json()
    data["recipe"]["warmup_epochs"] = 1  # written 1 instead of 1.0
    assert Trial.from_json(data) == TRIAL
    assert Trial.from_json(data).digest() == TRIAL.digest()


@pytest.mark.parametrize(("name", "value"), [("optimizer", "adam"), ("schedule", "step"), ("precision", "int8")])
def test_an_unknown_choice_is_refused(name: str, value: str) -> None:
    with pytest.raises(FireforgeError, match=f"Recipe.{name}"):
        Recipe.from_json({"epochs": 1, name: value})
