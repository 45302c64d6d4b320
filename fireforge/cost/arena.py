# SPDX-License-Identifier: Apache-2.0
"""How ONNX Runtime's arena takes memory from the system, and how it packs the tensors of a run it has seen before."""

from __future__ import annotations

from dataclasses import dataclass

GRAIN = 256  # bytes that every piece is a multiple of
FIRST_REGION = 2**20
MOST_REGION = 2**30
MAPPED = 2**25  # bytes from which glibc takes memory from the system and gives it back, whatever it has learnt
WASTE = 2**27  # bytes beyond what was asked for from which a piece is cut


@dataclass
class _Piece:
    """A stretch of a region, free or used."""

    start: int
    size: int
    free: bool = True


class Arena:
    """Pieces of ever larger regions, best fit first; what was touched stays resident.

    A region is the first power of two of MiB that holds what is asked for, and at least twice the last one. Of the free
    pieces that are large enough the smallest is used, of those the one of the lowest address, whole unless it is twice
    as large, when it is cut. Neighbours that are free are joined.

    Source:
      ONNX Runtime, core/framework/bfc_arena.cc, the strategy kNextPowerOfTwo; observed with 1.31.
    """

    def __init__(self) -> None:
        self._regions: list[list[_Piece]] = []
        self._touched: list[list[tuple[int, int]]] = []
        self._sizes: list[int] = []
        self._next = FIRST_REGION
        self._used: dict[int, tuple[int, _Piece]] = {}
        self._count = 0

    @property
    def regions(self) -> int:
        """How many were taken from the system."""
        return len(self._regions)

    def take(self, size: int) -> int:
        """Use memory.

        Args:
          size: bytes, all of which will be written.

        Returns:
          The handle that `give` takes.
        """
        rounded = -(-max(size, 1) // GRAIN) * GRAIN
        found = self._best(rounded)
        if found is None:
            self._extend(rounded)
            found = self._best(rounded)
            assert found is not None
        region, piece = found
        if piece.size >= 2 * rounded or piece.size - rounded >= WASTE:
            rest = _Piece(piece.start + rounded, piece.size - rounded)
            self._regions[region].insert(self._regions[region].index(piece) + 1, rest)
            piece.size = rounded
        piece.free = False
        self._touched[region].append((piece.start, piece.start + size))
        self._count += 1
        self._used[self._count] = (region, piece)
        return self._count

    def give(self, handle: int) -> None:
        """Free what `take` gave; it stays resident."""
        region, piece = self._used.pop(handle)
        piece.free = True
        joined: list[_Piece] = []
        for each in self._regions[region]:
            if joined and each.free and joined[-1].free:
                joined[-1].size += each.size
            else:
                joined.append(each)
        self._regions[region] = joined

    def resident(self) -> list[tuple[int, int]]:
        """Of each region its bytes, and those of them that have ever been written."""
        return [(size, _union(spans)) for size, spans in zip(self._sizes, self._touched)]

    def _best(self, size: int) -> tuple[int, _Piece] | None:
        fitting = [
            (piece.size, self._order(region), piece.start, region, piece)
            for region, pieces in enumerate(self._regions)
            for piece in pieces
            if piece.free and piece.size >= size
        ]
        if not fitting:
            return None
        *_, region, piece = min(fitting, key=lambda item: item[:3])
        return region, piece

    def _order(self, region: int) -> int:
        """By address: glibc's heap grows upwards, and what the system maps lies above it, each below the last."""
        return region if self._sizes[region] < MAPPED else 2 * len(self._sizes) - region

    def _extend(self, size: int) -> None:
        grown = False
        while self._next < size:
            self._next *= 2
            grown = True
        self._regions.append([_Piece(0, self._next)])
        self._touched.append([])
        self._sizes.append(self._next)
        if not grown:
            self._next = min(2 * self._next, MOST_REGION)


class Pattern:
    """The tensors of a run laid into one block, best gap first."""

    def __init__(self) -> None:
        self.size = 0
        self._laid: dict[int, tuple[int, int]] = {}
        self._count = 0

    def take(self, size: int) -> int:
        """Lay a tensor; arguments and result as for `Arena.take`."""
        rounded = -(-max(size, 1) // GRAIN) * GRAIN
        place, least, end = None, None, 0
        for start, stop in sorted(self._laid.values()):
            if start - end >= rounded and (least is None or start - end < least):
                place, least = end, start - end
            end = max(end, stop)
        if self.size - end >= rounded and (least is None or self.size - end < least):
            place = end
        place = end if place is None else place
        self.size = max(self.size, place + rounded)
        self._count += 1
        self._laid[self._count] = (place, place + rounded)
        return self._count

    def give(self, handle: int) -> None:
        """Lift a tensor."""
        del self._laid[handle]


def _union(spans: list[tuple[int, int]]) -> int:
    total = end = 0
    for start, stop in sorted(spans):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total
