# SPDX-License-Identifier: Apache-2.0
"""The baseline that answers with the classes of the nearest training pictures."""

from __future__ import annotations

import numpy as np

from fireforge.base.rng import permutation
from fireforge.baseline.lesson import Fitted, Lesson
from fireforge.baseline.result import label_bytes
from fireforge.baseline.shrink import shrink, shrink_words

CHOICES = (1, 3, 5)
HELD_OUT = 5  # every fifth training picture chooses k ...
MOST_HELD_OUT = 1_000  # ... but no more than so many
MOST_SIDE = 32
CHUNK = 256  # questions at once
MIDDLE = 128  # taken off every pixel, so that products stay below 2^14 ...
EXACT = 1024  # ... and a float32 holds the sum of so many of them without rounding
MOST_INT32 = 33_000  # pixels whose squared distance an int32 holds


class Index:
    """Known pictures, ready to be compared with others.

    Args:
      known: uint8 (N, ...), N at least 1.
    """

    def __init__(self, known: np.ndarray) -> None:
        wide = known.reshape(len(known), -1)
        self._kind: np.dtype = np.dtype(np.int32 if wide.shape[1] <= MOST_INT32 else np.int64)
        self.base: np.ndarray = _centred(wide)
        self.norms = self._products(self.base, self.base)

    def ask(self, asked: np.ndarray, *, k: int) -> np.ndarray:
        """The k nearest known pictures of each question by squared distance, exactly; the earlier first where equal.

        Args:
          asked: uint8 (M, ...).
          k: taken as N where there are fewer.

        Returns:
          int64 (M, min(k, N)), nearest first.
        """
        k = min(k, len(self.base))
        out = np.empty((len(asked), k), np.int64)
        for first in range(0, len(asked), CHUNK):
            part = _centred(asked[first : first + CHUNK].reshape(-1, self.base.shape[1]))
            distance = self.norms - 2 * self._dots(part)  # the question's own norm changes no order
            bound = np.partition(distance, k - 1, axis=1)[:, k - 1]
            rows, near = np.nonzero(distance <= bound[:, None])  # k in each row, or more that are equally far
            order = np.lexsort((near, distance[rows, near], rows))
            starts = np.searchsorted(rows, np.arange(len(part)))
            out[first : first + len(part)] = near[order[starts[:, None] + np.arange(k)]]
        return out

    def _dots(self, part: np.ndarray) -> np.ndarray:
        """Products of questions (M, D) with all known pictures: whole numbers (M, N), each exact."""
        dots = np.zeros((len(part), len(self.base)), self._kind)
        for first in range(0, part.shape[1], EXACT):
            pixels = slice(first, first + EXACT)
            dots += (part[:, pixels] @ self.base[:, pixels].T).astype(self._kind)
        return dots

    def _products(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Product of each row with the row beside it, exactly: (N,)."""
        total = np.zeros(len(left), self._kind)
        for first in range(0, left.shape[1], EXACT):
            pixels = slice(first, first + EXACT)
            total += np.einsum("nd,nd->n", left[:, pixels], right[:, pixels]).astype(self._kind)
        return total


def neighbours(lesson: Lesson) -> Fitted:
    """K nearest neighbours by squared Euclidean distance on pixels, each neighbour one vote.

    k is the one of 1, 3, 5 that is best on a fifth of the lesson held out, the smallest where equal. Pictures with a
    side over 32 px are averaged down in blocks; a note says so.

    Args:
      lesson: what is remembered.

    Returns:
      The baseline; its bytes are those of the stored pictures and labels.
    """
    known = shrink(lesson.pixels, MOST_SIDE)
    k = choose_k(known, lesson.labels, lesson.classes)
    index = Index(known)

    def answer(pictures: np.ndarray) -> np.ndarray:
        return vote(index.ask(shrink(pictures, MOST_SIDE), k=k), lesson.labels, lesson.classes)

    return Fitted(
        answer=answer,
        bytes=known.size + label_bytes(lesson.classes) * len(known),
        held=(index.base, index.norms, lesson.labels),
        notes=(f"k = {k}, chosen on the training part", *shrink_words(lesson.pixels, known)),
    )


def vote(near: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """The most frequent class among neighbours, the smallest class number where equal.

    Args:
      near: int (M, k), positions in targets.
      targets: int (N,).
      classes: K.

    Returns:
      int64 (M,).
    """
    votes = np.zeros((len(near), classes), np.int64)
    for column in range(near.shape[1]):
        votes[np.arange(len(near)), targets[near[:, column]]] += 1
    return np.asarray(votes.argmax(axis=1))


def choose_k(known: np.ndarray, targets: np.ndarray, classes: int) -> int:
    """The best k on a fifth of the known pictures, held out by a fixed permutation.

    Args:
      known: uint8 (N, ...).
      targets: int (N,).
      classes: K.

    Returns:
      One of CHOICES; 1 where there are too few pictures to hold some out.
    """
    order = permutation(0, 0, len(known))
    count = min(len(known) // HELD_OUT, MOST_HELD_OUT)
    out, rest = order[:count], order[count:]
    if not len(out):
        return CHOICES[0]
    near = Index(known[rest]).ask(known[out], k=max(CHOICES))
    right = [int((vote(near[:, :k], targets[rest], classes) == targets[out]).sum()) for k in CHOICES]
    return CHOICES[int(np.argmax(right))]


def _centred(wide: np.ndarray) -> np.ndarray:
    out: np.ndarray = wide.astype(np.float32)
    out -= MIDDLE
    return out
