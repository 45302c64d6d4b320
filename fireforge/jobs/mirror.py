# SPDX-License-Identifier: Apache-2.0
"""Whether a mirrored picture keeps its class, asked of the data: nobody has to tell."""

from __future__ import annotations

import math

import numpy as np

from fireforge.jobs.scene import Scene

TAUGHT, ASKED = 2_000, 1_000  # pictures, at most
SIDE_PX = 16  # that they are reduced to
KEPT = 0.9  # share of the nearest neighbour's right answers that must stay right, over all classes ...
CLASS_KEPT = 0.5  # ... and in each, ...
SURE = 3.0  # ... unless what changes there is within so many standard errors


def mirrors(scene: Scene) -> bool:
    """Whether nearest neighbours know mirrored validation pictures about as well as the pictures themselves.

    Digits and letters lose their class in a mirror, cats do not. The measure is how much worse the nearest neighbour
    among the training pictures answers for the mirrored ones; at most a tenth, and one standard error, may be lost, and
    no class may surely lose half of its own: among many classes two that a mirror exchanges would else not be seen.

    Args:
      scene: its training and validation pictures are used.

    Returns:
      Whether training may mirror.
    """
    taught, asked = scene.part("train"), scene.part("val")
    rows, questions = _some(len(taught), TAUGHT), _some(len(asked), ASKED)
    known = _vectors(scene.pixels["train"][rows])
    labels, truth = scene.truth[taught[rows]], scene.truth[asked[questions]]
    pictures = scene.pixels["val"][questions]
    plain = labels[_nearest(known, _vectors(pictures))] == truth
    mirrored = labels[_nearest(known, _vectors(pictures[..., ::-1]))] == truth
    share = float(plain.mean())
    error = math.sqrt(share * (1 - share) / len(truth))
    if mirrored.mean() < KEPT * share - error:
        return False
    return not any(_loses(plain[truth == label], mirrored[truth == label]) for label in np.unique(truth))


def _loses(plain: np.ndarray, mirrored: np.ndarray) -> bool:
    """Whether a class surely loses half of its right answers, by McNemar's z of those that change; bool (n,) each."""
    lost, gained = int((plain & ~mirrored).sum()), int((~plain & mirrored).sum())
    return bool(mirrored.sum() < CLASS_KEPT * plain.sum() and lost - gained > SURE * math.sqrt(lost + gained))


def _some(count: int, most: int) -> np.ndarray:
    return np.arange(min(count, most)) * count // min(count, most)


def _vectors(pixels: np.ndarray) -> np.ndarray:
    """Pictures (N, C, H, W) as unit vectors of block means, without their own mean: float32 (N, D)."""
    _, _, height, width = pixels.shape
    step_y, step_x = -(-height // SIDE_PX), -(-width // SIDE_PX)
    top, left = height % step_y // 2, width % step_x // 2  # cut about the middle, so that a mirror cuts the same
    trimmed = pixels[:, :, top:, left:][:, :, : height // step_y * step_y, : width // step_x * step_x]
    count, channels, high, wide = trimmed.shape
    blocks = trimmed.reshape(count, channels, high // step_y, step_y, wide // step_x, step_x)
    rows = blocks.mean(axis=(3, 5), dtype=np.float32).reshape(count, -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-6), np.float32)


def _nearest(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.asarray((asked @ known.T).argmax(axis=1))
