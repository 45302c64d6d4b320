# SPDX-License-Identifier: Apache-2.0
"""A Gaussian process on what a straight line leaves over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LENGTHS = (0.7, 1.2, 2.0, 3.3, 5.5)  # of the kernel, in standard deviations of the features
NOISES = (0.03, 0.08)  # standard deviation of one sample, as a share
RIDGE = 1e-2
LEAST = 5  # samples below which the mean must do
MOST = 400  # samples that are used; the cost grows with their cube


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted function of features (n, d) to numbers (n,).

    Args:
      mean: of each feature (d,).
      spread: what each feature is divided by (d,).
      line: weights of 1 and the features (d + 1,).
      points: scaled features of the samples (m, d).
      shares: of each sample's kernel in an answer (m,).
      length: of the kernel.
    """

    mean: np.ndarray
    spread: np.ndarray
    line: np.ndarray
    points: np.ndarray
    shares: np.ndarray
    length: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Numbers (n,) of features (n, d)."""
        scaled = (features - self.mean) / self.spread
        straight = self.line[0] + scaled @ self.line[1:]
        return np.asarray(straight + _matern(scaled, self.points, self.length) @ self.shares)


def fit(features: np.ndarray, numbers: Sequence[float]) -> Fit:
    """A line by ridge regression, and a Gaussian process with a Matern 3/2 kernel on its residuals.

    Length and noise are those of LENGTHS and NOISES with the greatest marginal likelihood.

    Args:
      features: (n, d); of more than MOST samples, as many spread evenly over the order are used.
      numbers: n of them.

    Returns:
      The function; with fewer than LEAST samples it is their mean.

    Source:
      Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1 and section 4.2.1.
    """
    taken = np.unique(np.linspace(0, len(features) - 1, min(len(features), MOST)).astype(int))
    features, wanted = features[taken], np.asarray(numbers, float)[taken]
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-6, spread, math.inf)  # what is the same in all tells nothing
    points = (features - mean) / spread
    rows = np.concatenate([np.ones((len(points), 1)), points], axis=1)
    if len(points) < LEAST:
        line = np.zeros(rows.shape[1])
        line[0] = wanted.mean()
        return Fit(mean=mean, spread=spread, line=line, points=points, shares=np.zeros(len(points)), length=1.0)
    penalty = RIDGE * np.eye(rows.shape[1])
    penalty[0, 0] = 0.0
    line = np.linalg.solve(rows.T @ rows + penalty, rows.T @ wanted)
    length, shares = _process(points, wanted - rows @ line)
    return Fit(mean=mean, spread=spread, line=line, points=points, shares=shares, length=length)


def _process(points: np.ndarray, left: np.ndarray) -> tuple[float, np.ndarray]:
    """The kernel's length and each sample's share."""
    power = max(float(left.var()), 1e-4)
    best: tuple[float, float, np.ndarray] | None = None
    for length in LENGTHS:
        kernel = power * _matern(points, points, length)
        for noise in NOISES:
            root = np.linalg.cholesky(kernel + noise**2 * np.eye(len(points)))
            weights = np.linalg.solve(root.T, np.linalg.solve(root, left))
            likelihood = -0.5 * float(left @ weights) - float(np.log(np.diag(root)).sum())
            if best is None or likelihood > best[0]:
                best = likelihood, length, power * weights
    assert best is not None
    return best[1], best[2]


def _matern(a: np.ndarray, b: np.ndarray, length: float) -> np.ndarray:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    far = np.sqrt(3 * np.maximum(squares, 0.0)) / length
    return np.asarray((1 + far) * np.exp(-far))
