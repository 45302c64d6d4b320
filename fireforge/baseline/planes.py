# SPDX-License-Identifier: Apache-2.0
"""Linear layers on features as numpy arrays: what a fitted linear classifier or perceptron needs to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CHUNK = 1024  # pictures whose features are in memory at once

Features = Callable[[np.ndarray], np.ndarray]  # uint8 (M, C, H, W) -> float32 (M, D)


@dataclass(frozen=True, kw_only=True, eq=False)
class Planes:
    """Layers with ReLU between them; a single one is a linear classifier.

    Args:
      weights: of each layer, float32 (D, units).
      biases: of each layer, float32 (units,).
      classes: class number of each unit of the last layer, int64 (units,).
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    classes: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All of them."""
        return (*self.weights, *self.biases, self.classes)

    @property
    def bytes(self) -> int:
        """Of the weights and biases as float32."""
        return sum(4 * array.size for array in (*self.weights, *self.biases))

    def answer(self, features: np.ndarray) -> np.ndarray:
        """Classes of rows of features.

        Args:
          features: float32 (M, D).

        Returns:
          int64 (M,), the first of equal scores.
        """
        out = features
        for weights, biases in zip(self.weights[:-1], self.biases[:-1]):
            out = np.maximum(out @ weights + biases, 0)
        scores = out @ self.weights[-1] + self.biases[-1]
        return np.asarray(self.classes[scores.argmax(axis=1)])

    def centred(self, mean: np.ndarray, scale: float) -> Planes:
        """The same function of raw features x, where this one was fitted to (x - mean) * scale.

        Args:
          mean: float (D,).
          scale: of what is left.

        Returns:
          Planes whose first layer holds both.
        """
        first: np.ndarray = self.weights[0].astype(np.float64) * scale
        bias: np.ndarray = self.biases[0] - mean @ first
        weights = (first.astype(np.float32), *self.weights[1:])
        return Planes(weights=weights, biases=(bias.astype(np.float32), *self.biases[1:]), classes=self.classes)


def in_chunks(features: Features, planes: Planes) -> Callable[[np.ndarray], np.ndarray]:
    """The answer to any number of pictures, some of which are in memory as features at once.

    Args:
      features: of pictures.
      planes: that answer on them.

    Returns:
      Takes uint8 (M, C, H, W), gives int64 (M,).
    """

    def answer(pictures: np.ndarray) -> np.ndarray:
        out = np.empty(len(pictures), np.int64)
        for first in range(0, len(pictures), CHUNK):
            part = slice(first, first + CHUNK)
            out[part] = planes.answer(features(pictures[part]))
        return out

    return answer


def centred_pixels(pictures: np.ndarray, divisor: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels as features of a fit, without their mean.

    Args:
      pictures: uint8 (M, C, H, W).
      divisor: of what is left.

    Returns:
      float32 (M, C * H * W), and the mean, float64 (C * H * W,), for `Planes.centred`.
    """
    features = raw_pixels(pictures)
    mean = features.mean(axis=0, dtype=np.float64)
    features -= mean.astype(np.float32)
    features /= divisor
    return features, mean


def raw_pixels(pictures: np.ndarray) -> np.ndarray:
    """Pixels as features: uint8 (M, C, H, W) to float32 (M, C * H * W)."""
    return pictures.reshape(len(pictures), -1).astype(np.float32)
