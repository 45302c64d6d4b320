# SPDX-License-Identifier: Apache-2.0
"""Samples in columns: labels, parts and names in arrays, each Sample made when it is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np

from fireforge.base.sample import Sample
from fireforge.data.tree import printable

PARTS = ("train", "val", "test")
T = TypeVar("T")
OWNERS = ("", *PARTS)  # a part by its number


class Rows(Sequence[T]):
    """A sequence whose members are made when they are looked at, one by one; a slice is a tuple of them."""

    def one(self, row: int) -> T:
        """The member at a place, from 0."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...

    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        """One member, or a tuple of those of a slice."""
        rows = range(len(self))
        return tuple(map(self.one, rows[index])) if isinstance(index, slice) else self.one(rows[index])


@dataclass(frozen=True, eq=False)
class Texts(Rows[str]):
    """Texts laid end to end.

    Args:
      blob: UTF-8 bytes of all, uint8 (B,).
      ends: where each one ends, integer (N,), rising.
    """

    blob: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.ends)

    def one(self, row: int) -> str:
        """A text as it can be shown."""
        first = int(self.ends[row - 1]) if row else 0
        text = self.blob[first : int(self.ends[row])].tobytes().decode("utf-8", "replace")
        return printable(text)


@dataclass(frozen=True, eq=False)
class Samples(Rows[Sample]):
    """Many samples; equal to any sequence of equal samples.

    Args:
      labels: label of each, int32 (N,).
      owners: part of each as its place in OWNERS, uint8 (N,).
      names: name of each.
    """

    labels: np.ndarray
    owners: np.ndarray
    names: Sequence[str]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def one(self, row: int) -> Sample:
        """The sample with an id."""
        return Sample(id=row, label=int(self.labels[row]), name=self.names[row], part=OWNERS[int(self.owners[row])])

    def __iter__(self) -> Iterator[Sample]:
        """Each sample in the order of ids."""
        return map(self.one, range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether the other holds equal samples in the same order."""
        if not isinstance(other, (tuple, list, Samples)):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other))

    def __hash__(self) -> int:
        """Of equal samples the same."""
        return hash((len(self), self.labels.tobytes()))

    def taken(self, ids: np.ndarray) -> Samples:
        """Some of the samples, with ids counted anew.

        Args:
          ids: integer (n,).

        Returns:
          Samples of the same names, labels and parts.
        """
        return Samples(self.labels[ids], self.owners[ids], tuple(self.names[int(i)] for i in ids))


def labels_of(samples: Sequence[Sample]) -> np.ndarray:
    """Label of each sample.

    Args:
      samples: in columns or not.

    Returns:
      int64 (N,).
    """
    if isinstance(samples, Samples):
        return samples.labels.astype(np.int64)
    return np.fromiter((sample.label for sample in samples), np.int64, len(samples))


def owners_of(samples: Sequence[Sample]) -> np.ndarray:
    """Part of each sample as its place in OWNERS.

    Args:
      samples: in columns or not.

    Returns:
      uint8 (N,).
    """
    if isinstance(samples, Samples):
        return samples.owners
    return np.fromiter((OWNERS.index(sample.part) for sample in samples), np.uint8, len(samples))


@dataclass(frozen=True, eq=False)
class Digests(Rows[bytes]):
    """Digests in one table; each is bytes when it is looked at.

    Args:
      table: uint8 (N, 32).
    """

    table: np.ndarray

    def __len__(self) -> int:
        """Number of digests."""
        return len(self.table)

    def one(self, row: int) -> bytes:
        """A digest."""
        digest: bytes = self.table[row].tobytes()
        return digest


def leaders_of(digests: Sequence[bytes], count: int) -> np.ndarray:
    """The least id of the pictures that each picture is equal to: its own where none is.

    Args:
      digests: of each picture; empty where equal pictures are not looked for.
      count: of pictures.

    Returns:
      int64 (count,).
    """
    if not digests:
        return np.arange(count, dtype=np.int64)
    if isinstance(digests, Digests):
        found = _sorted_leaders(digests.table)
        if found is not None:
            return found
    first: dict[bytes, int] = {}
    return np.fromiter((first.setdefault(digest, i) for i, digest in enumerate(digests)), np.int64, count)


def _sorted_leaders(table: np.ndarray) -> np.ndarray | None:
    """Leaders by the first 8 bytes of each digest; None where different digests begin alike."""
    heads = np.ascontiguousarray(table[:, :8]).view("<u8")[:, 0]
    order = np.argsort(heads, kind="stable")
    again = np.flatnonzero(heads[order[1:]] == heads[order[:-1]]) + 1
    if (table[order[again]] != table[order[again - 1]]).any():
        return None
    new = np.ones(len(order), bool)
    new[again] = False
    leaders = np.empty(len(order), np.int64)
    leaders[order] = order[new][np.cumsum(new) - 1]
    return leaders
