# SPDX-License-Identifier: Apache-2.0
"""Learning rates against hand values and the papers' words."""

from __future__ import annotations

import itertools
import math

import pytest

from fireforge.base.trial import Recipe
from fireforge.train.schedule import learning_rate


def rates(recipe: Recipe, per_epoch: int) -> list[float]:
    return [learning_rate(recipe, step, per_epoch) for step in range(recipe.epochs * per_epoch)]


def test_warm_up_and_cosine_by_hand() -> None:
    recipe = Recipe(epochs=4, lr=1.0, warmup_epochs=1.0, schedule="cosine")
    quarter = math.cos(math.pi / 4)
    # 8 steps, 2 of warm-up: a third, two thirds; then cos(pi * t / 6) for t = 0 .. 5
    hand = [1 / 3, 2 / 3, 1.0, 0.5 * (1 + math.cos(math.pi / 6)), 0.75, 0.5, 0.25, 0.5 * (1 - math.cos(math.pi / 6))]
    assert rates(recipe, 2) == pytest.approx(hand, rel=1e-12)  # rounding of double precision
    assert quarter == pytest.approx(2 * learning_rate(recipe.replace(warmup_epochs=0.0), 2, 2) - 1, rel=1e-12)


def test_linear_by_hand() -> None:
    recipe = Recipe(epochs=5, lr=0.5, warmup_epochs=0.0, schedule="linear")
    assert rates(recipe, 1) == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1], rel=1e-12)


def test_constant_by_hand() -> None:
    recipe = Recipe(epochs=3, lr=0.3, warmup_epochs=2.0, schedule="constant")
    assert rates(recipe, 1) == pytest.approx([0.1, 0.2, 0.3], rel=1e-12)


def test_warm_up_raises_the_rate_by_a_constant_amount_at_each_iteration_as_goyal_section_2_2_says() -> None:
    recipe = Recipe(epochs=10, lr=3.2, warmup_epochs=5.0)
    ramp = rates(recipe, 7)[: 5 * 7 + 1]
    steps = [b - a for a, b in itertools.pairwise(ramp)]
    assert steps == pytest.approx([3.2 / 36] * 35, rel=1e-9)  # differences of doubles
    assert ramp[-1] == 3.2


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_a_warm_up_longer_than_the_training_leaves_one_step_at_the_full_rate(schedule: str) -> None:
    recipe = Recipe.from_json({"epochs": 1, "lr": 1.0, "warmup_epochs": 9.0, "schedule": schedule})
    assert rates(recipe, 4) == pytest.approx([0.25, 0.5, 0.75, 1.0], rel=1e-12)
    assert rates(recipe, 1) == [1.0]


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_no_step_is_wasted_on_a_rate_of_zero(schedule: str) -> None:
    found = rates(Recipe.from_json({"epochs": 3, "lr": 1.0, "warmup_epochs": 1.0, "schedule": schedule}), 5)
    assert min(found) > 0
    assert found[5:] == sorted(found[5:], reverse=True)
