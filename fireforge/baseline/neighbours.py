# SPDX-License-Identifier: Apache-2.0
"""The baseline that answers with the classes of the nearest training pictures."""

from __future__ import annotations

import time

import numpy as np

from fireforge.base.baseline import BaselineResult
from fireforge.base.rng import permutation
from fireforge.baseline.result import label_bytes, make_result

CHOICES = (1, 3, 5)
HELD_OUT = 5  # every fifth training picture chooses k
MOST_TRAIN, MOST_ASKED, MOST_SIDE = 20_000, 2_000, 32
CHUNK = 256  # questions at once
EXACT32 = 2**24  # whole numbers below this are exact in float32


def neighbours(
    train_x: np.ndarray, train_y: np.ndarray, val_x: np.ndarray, val_y: np.ndarray, classes: int
) -> BaselineResult:
    """K nearest neighbours by squared Euclidean distance on pixels, each neighbour one vote.

    k is the one of 1, 3, 5 that is best on a fifth of the training part held out, the smallest where equal. To hold a
    few seconds, pictures with a side over 32 px are averaged down in blocks, and at most 20,000 training pictures and
    2,000 questions are used, chosen by position; the notes say so where it happened.

    Args:
      train_x: uint8 (N, C, H, W).
      train_y: int (N,).
      val_x: uint8 (M, C, H, W).
      val_y: int (M,).
      classes: K.

    Returns:
      The result; bytes are those of the stored pictures and labels.
    """
    start = time.perf_counter()
    notes = []
    keep, ask = _chosen(len(train_y), MOST_TRAIN), _chosen(len(val_y), MOST_ASKED)
    known, asked = shrink(train_x[keep]), shrink(val_x[ask])
    truth, targets = val_y[ask], train_y[keep]
    if known.shape[1:] != train_x.shape[1:]:
        notes.append(f"pictures averaged down to {known.shape[2]} x {known.shape[3]} px")
    if len(keep) < len(train_y):
        notes.append(f"{len(keep)} of {len(train_y)} training pictures")
    if len(ask) < len(val_y):
        notes.append(f"{len(ask)} of {len(val_y)} questions")
    k = choose_k(known, targets, classes)
    predicted = vote(nearest(known, asked, k=k), targets, classes)
    return make_result(
        "neighbours",
        truth=truth,
        predicted=predicted,
        stored_bytes=known.size + label_bytes(classes) * len(known),
        seconds=time.perf_counter() - start,
        notes=(f"k = {k}, chosen on the training part", *notes),
    )


def nearest(known: np.ndarray, asked: np.ndarray, *, k: int) -> np.ndarray:
    """The k nearest known pictures of each question, exactly; of equally near ones the earlier first.

    Args:
      known: uint8 (N, ...), N at least 1.
      asked: uint8 (M, ...).
      k: taken as N where there are fewer.

    Returns:
      int64 (M, min(k, N)), nearest first.
    """
    k = min(k, len(known))
    wide = known.reshape(len(known), -1)
    # every distance is a whole number, so a float type that holds the greatest one makes no rounding error
    kind: np.dtype = np.dtype(np.float32 if 2 * wide.shape[1] * 255**2 < EXACT32 else np.float64)
    base: np.ndarray = wide.astype(kind)
    norms = (base * base).sum(axis=1)
    out = np.empty((len(asked), k), np.int64)
    for first in range(0, len(asked), CHUNK):
        part: np.ndarray = asked[first : first + CHUNK].reshape(-1, wide.shape[1]).astype(kind)
        distance = norms - 2 * (part @ base.T)  # the question's own norm changes no order
        bound = np.partition(distance, k - 1, axis=1)[:, k - 1]
        for row in range(len(part)):
            near = np.flatnonzero(distance[row] <= bound[row])
            out[first + row] = near[np.argsort(distance[row, near], kind="stable")[:k]]
    return out


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
    """The best k on a fifth of the known pictures, held out in turn by a fixed permutation.

    Args:
      known: uint8 (N, ...).
      targets: int (N,).
      classes: K.

    Returns:
      One of CHOICES; 1 where there are too few pictures to hold some out.
    """
    order = permutation(0, 0, len(known))
    out, rest = order[: len(known) // HELD_OUT][:MOST_ASKED], order[len(known) // HELD_OUT :]
    if not len(out):
        return CHOICES[0]
    near = nearest(known[rest], known[out], k=max(CHOICES))
    right = [int((vote(near[:, :k], targets[rest], classes) == targets[out]).sum()) for k in CHOICES]
    return CHOICES[int(np.argmax(right))]


def shrink(pictures: np.ndarray) -> np.ndarray:
    """Pictures averaged over square blocks until no side is over 32 px; margins that fill no block are cut off.

    Args:
      pictures: uint8 (N, C, H, W).

    Returns:
      uint8 (N, C, h, w), the same array where it is small already.
    """
    count, channels, high, wide = pictures.shape
    block = -(-max(high, wide) // MOST_SIDE)
    block = min(block, high, wide)
    if block <= 1:
        return pictures
    rows, columns = high // block, wide // block
    out = np.empty((count, channels, rows, columns), np.uint8)
    for i in range(count):
        cut = pictures[i, :, : rows * block, : columns * block].reshape(channels, rows, block, columns, block)
        out[i] = np.rint(cut.mean(axis=(2, 4)))
    return out


def _chosen(count: int, most: int) -> np.ndarray:
    """Positions to use, rising: all, or as many as allowed by a fixed permutation."""
    if count <= most:
        return np.arange(count)
    return np.sort(permutation(0, 1, count)[:most])
