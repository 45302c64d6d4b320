# SPDX-License-Identifier: Apache-2.0
"""The Gaussian process on a line's residuals, held against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from fireforge.cost.regression import LEAST, MOST, NOISES, fit


def samples(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    points = random.uniform(0, 4, (n, 3))
    return points, 2.0 + points @ np.array([1.0, -0.5, 0.2]) + 0.5 * np.sin(2 * points[:, 0])


def test_the_process_is_scikit_learns_with_the_same_kernel() -> None:
    """scikit-learn 1.x GaussianProcessRegressor, Matern 3/2, the length that was chosen, on the same residuals.

    1e-6: two ways to solve the same system in float64.
    """
    gaussian = pytest.importorskip("sklearn.gaussian_process")
    points, numbers = samples(60)
    found = fit(points, list(numbers))
    scaled = (points - found.mean) / found.spread
    left = numbers - (found.line[0] + scaled @ found.line[1:])
    power = max(float(left.var()), 1e-4)
    fresh = (samples(20, seed=1)[0] - found.mean) / found.spread
    own = found(samples(20, seed=1)[0]) - (found.line[0] + fresh @ found.line[1:])
    answers = []
    for noise in NOISES:
        kernel = gaussian.kernels.ConstantKernel(power, "fixed") * gaussian.kernels.Matern(found.length, "fixed", 1.5)
        reference = gaussian.GaussianProcessRegressor(kernel=kernel, alpha=noise**2, optimizer=None)
        answers.append(np.abs(reference.fit(scaled, left).predict(fresh) - own).max())
    assert min(answers) < 1e-6


def test_what_bends_is_learned_that_a_line_cannot() -> None:
    """0.1: a smooth function of three features from 200 points; a line alone leaves more than 0.2 over."""
    points, numbers = samples(200)
    fresh, truth = samples(100, seed=2)
    found = fit(points, list(numbers))
    straight = found.line[0] + (fresh - found.mean) / found.spread @ found.line[1:]
    assert np.sqrt(np.mean((straight - truth) ** 2)) > 0.2
    assert np.sqrt(np.mean((found(fresh) - truth) ** 2)) < 0.1


def test_few_samples_give_their_mean_by_hand() -> None:
    points, numbers = samples(LEAST - 1)
    assert fit(points, list(numbers))(points[:2]) == pytest.approx([numbers.mean()] * 2)


def test_a_feature_that_is_the_same_in_all_tells_nothing() -> None:
    points, numbers = samples(40)
    wide = np.concatenate([points, np.full((40, 1), 7.0)], axis=1)
    moved = wide.copy()
    moved[:, 3] = 9.0
    assert fit(wide, list(numbers))(moved) == pytest.approx(fit(points, list(numbers))(points), abs=1e-9)


def test_of_many_samples_some_stand_for_all() -> None:
    points, numbers = samples(MOST + 150)
    assert len(fit(points, list(numbers)).points) == MOST
