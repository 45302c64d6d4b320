# SPDX-License-Identifier: Apache-2.0
"""A stratified sample: each class as large a part of it as of the whole."""

from __future__ import annotations

import numpy as np

from fireforge.base.rng import uniform

SAMPLE_EPOCH = -2  # no epoch of a training and not the split's, so that the draws are independent of theirs


def stratified(labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Positions of a sample that depends on (seed, position) alone; a smaller sample is part of a larger one.

    Args:
      labels: int (N,).
      count: how many are wanted; all where there are fewer.
      seed: of the order within the classes.

    Returns:
      int64 (min(count, N),), rising.
    """
    return np.sort(stratified_order(labels, seed=seed)[:count])


def stratified_order(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """All positions in the order in which they join a growing sample.

    Every class gives its first picture; the others follow so that at any moment each class has given the same share of
    its pictures, to within one.

    Args:
      labels: int (N,).
      seed: of the order within the classes.

    Returns:
      int64 (N,).
    """
    total = len(labels)
    drawn = uniform(seed, SAMPLE_EPOCH, np.arange(total), 0)
    order = np.lexsort((drawn, labels))
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.arange(total) - np.repeat(starts, sizes)
    share = np.where(rank == 0, -1.0, (rank + 0.5) / np.repeat(sizes, sizes))
    return np.asarray(order[np.argsort(share, kind="stable")])


def sample_words(count: int, total: int, *, kind: str, seed: int) -> str:
    """The sample by name, for a note.

    Args:
      count: pictures in it.
      total: pictures that it was drawn from.
      kind: "training" or "validation".
      seed: of the draw.

    Returns:
      Such as "2,000 of 51,000 training pictures, stratified, seed 0".
    """
    if count >= total:
        return f"all {total:,} {kind} pictures"
    return f"{count:,} of {total:,} {kind} pictures, stratified, seed {seed}"
