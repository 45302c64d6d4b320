# SPDX-License-Identifier: Apache-2.0
"""Which pictures train, validate and test: by class, and a function of (seed, sample id)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.rng import uniform
from fireforge.base.trial import DataRef
from fireforge.data.dataset import PARTS, Dataset
from fireforge.data.samples import OWNERS, leaders_of

TEST_DRAW, VAL_DRAW = 0, 1  # numbers drawn for a sample: independent orders for the two cuts
SPLIT_EPOCH = -1  # no epoch of a training, so that its draws stay independent of the split's


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """Sample ids of the three parts: disjoint, each rising, together all samples.

    Args:
      train: int64 (N,).
      val: int64 (N,), for choosing.
      test: int64 (N,), touched once at the end.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def ids(self, *names: str) -> np.ndarray:
        """Ids of one part or of several together, rising; int64 (N,)."""
        return np.sort(np.concatenate([getattr(self, name) for name in names]))

    def counts(self) -> dict[str, int]:
        """Number of pictures in each part."""
        return {name: len(getattr(self, name)) for name in PARTS}

    @property
    def sha256(self) -> str:
        """Sha256 over the three lists of ids, 64 hex digits."""
        total = hashlib.sha256()
        for name in PARTS:
            ids = getattr(self, name)
            total.update(f"{name}:{len(ids)}:".encode("ascii") + ids.astype("<i8").tobytes())
        return total.hexdigest()


def split(dataset: Dataset, ref: DataRef, *, digests: Sequence[bytes] | None = None) -> Parts:
    """Train, validation and test part of a dataset.

    Parts that the data has itself are kept: its test part is the test part; where it has no test part but a val part,
    that one is the test part; validation is the val part, or carved from train. Data without parts of its own is cut
    by class. Each class of n pictures gives round(n * share), at least one and never its last. Pictures of a class that
    are equal to the byte stay together wherever a part is cut, so that a class may give a few less; only where all that
    it has are copies of too many are they parted.

    Args:
      dataset: with at least two classes.
      ref: seed and shares are used.
      digests: of each picture as stored; None to read them all, empty where equal pictures may be parted.

    Returns:
      The parts.

    Raises:
      FireforgeError: BAD_SHARE, or TOO_FEW if a class has too few pictures to be in every part that is cut.
    """
    for name, share in (("val_share", ref.val_share), ("test_share", ref.test_share)):
        if not 0 < share < 1:
            raise FireforgeError("BAD_SHARE", f"{name} is {share}", allowed="more than 0, less than 1")
    owners, targets = dataset.owners, dataset.targets
    train = np.flatnonzero((owners == 0) | (owners == OWNERS.index("train")))
    val, test = (np.flatnonzero(owners == OWNERS.index(name)) for name in ("val", "test"))
    if not len(test):
        val, test = test, val
    _check_enough(dataset, targets[train], 1 + (not len(val)) + (not len(test)))
    if len(test) and len(val):
        return Parts(train=train, val=val, test=test)
    leaders = leaders_of(dataset.digests if digests is None else digests, len(owners))
    if not len(test):
        cut = _cut(targets[train], leaders[train], ref.test_share, (ref.seed, TEST_DRAW), keep=2)
        train, test = train[~cut], train[cut]
    if not len(val):
        cut = _cut(targets[train], leaders[train], ref.val_share, (ref.seed, VAL_DRAW), keep=1)
        train, val = train[~cut], train[cut]
    return Parts(train=train, val=val, test=test)


def _cut(targets: np.ndarray, leaders: np.ndarray, share: float, key: tuple[int, int], *, keep: int) -> np.ndarray:
    """Which pictures are cut out, bool (n,), class by class, at least `keep` of each staying."""
    taken = np.zeros(len(targets), bool)
    by_class = np.argsort(targets, kind="stable")
    for mine in np.split(by_class, np.flatnonzero(np.diff(targets[by_class])) + 1):
        heads = leaders[mine]
        order = np.lexsort((heads, uniform(key[0], SPLIT_EPOCH, heads, key[1])))
        count = min(max(1, int(len(mine) * share + 0.5)), len(mine) - keep)
        taken[mine[order[_whole_groups(heads[order], count, most=len(mine) - keep)]]] = True
    return taken


def _whole_groups(heads: np.ndarray, count: int, *, most: int) -> np.ndarray:
    """Places of at most `count` pictures, group after group in their order, of those that still have room.

    Args:
      heads: of each picture the least id of its group; groups lie together.
      count: how many are wanted.
      most: how many may go.

    Returns:
      int64; where every group is larger than `count`, the smallest one, or its first ones where that may not go.
    """
    starts = np.flatnonzero(np.concatenate([[True], heads[1:] != heads[:-1]]))
    if len(starts) == len(heads):  # no picture is equal to another
        return np.arange(count)
    sizes = np.diff(np.append(starts, len(heads)))
    taken, room = [], count
    for start, size in zip(starts, sizes):
        if size <= room:
            taken.append(np.arange(start, start + size))
            room -= size
        if not room:
            break
    least = int(np.argmin(sizes))
    smallest = starts[least] + np.arange(sizes[least] if sizes[least] <= most else count)
    return np.concatenate(taken) if taken else smallest


def _check_enough(dataset: Dataset, targets: np.ndarray, need: int) -> None:
    counts = np.bincount(targets, minlength=len(dataset.labels))
    few = np.flatnonzero(counts < need)
    if len(few):
        others = f" (and {len(few) - 1} more such classes)" if len(few) > 1 else ""
        raise FireforgeError(
            "TOO_FEW",
            f"class {dataset.labels[few[0]]!r} has {counts[few[0]]} images to train and choose by{others}",
            where=dataset.source,
            allowed=f"{need} or more images in each class",
            do="more images of the class, or remove it",
        )
