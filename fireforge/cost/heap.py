# SPDX-License-Identifier: Apache-2.0
"""Memory as a walk over a graph takes and frees it: storages with readers, and the most that was alive."""

from __future__ import annotations


class Heap:
    """Storages that live while somebody holds them."""

    def __init__(self) -> None:
        self.peak = 0
        self.where = ""
        self._now = 0
        self._place = ""
        self._fixed = 0
        self._bytes: list[int] = []
        self._readers: list[int] = []

    def at(self, place: str) -> None:
        """Say what runs from here on."""
        self._place = place

    def take(self, size: int) -> None:
        """Bytes that stay to the end."""
        self._fixed += size
        self._grow(size)

    def new(self, size: int) -> int:
        """A new storage with one holder.

        Args:
          size: bytes.

        Returns:
          Its number.
        """
        self._bytes.append(size)
        self._readers.append(1)
        self._grow(size)
        return len(self._bytes) - 1

    def hold(self, storage: int) -> int:
        """One holder more.

        Args:
          storage: one that is alive.

        Returns:
          The same number.
        """
        self._readers[storage] += 1
        return storage

    def drop(self, storage: int) -> None:
        """One holder less; the last one frees it."""
        self._readers[storage] -= 1
        if not self._readers[storage]:
            self._now -= self._bytes[storage]

    def readers(self, storage: int) -> int:
        """How many hold it."""
        return self._readers[storage]

    def pulse(self, size: int) -> None:
        """Bytes that are taken and freed at once."""
        self._grow(size)
        self._now -= size

    def saved(self) -> int:
        """What is alive now beyond what stays to the end."""
        return self._now - self._fixed

    def _grow(self, size: int) -> None:
        self._now += size
        if self._now > self.peak:
            self.peak, self.where = self._now, self._place
