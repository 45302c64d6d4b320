# SPDX-License-Identifier: Apache-2.0
"""What the walk over an encoded picture found out, before its pixels are decoded."""

from __future__ import annotations

from typing import NamedTuple

from fireforge.base.errors import FireforgeError


class Structure(NamedTuple):
    """An encoded picture as its bytes describe it.

    Args:
      data: what the decoder is given: the file, without metadata that could harm it.
      size: (width, height) in px as stored.
      least_bytes: fewest bytes that any picture of this size takes; 0 where that is not known.
      held_bytes: bytes that are there for the pixels.
      notes: codes of `fireforge.base.picture.notes`.
      end_lost: the end mark of a JPEG is missing; whether its pixels are whole, decoding must tell.
      depth: bits of one channel of a PNG; 8 elsewhere.
      colour: colour type of a PNG, as in its header; 0 elsewhere.
      plain: a JPEG of 1 or 3 channels that lies upright, with an end and without damage in what was walked over, so
        that whatever decodes JPEG may decode it.
    """

    data: bytes
    size: tuple[int, int]
    least_bytes: int = 0
    held_bytes: int = 0
    notes: tuple[str, ...] = ()
    end_lost: bool = False
    depth: int = 8
    colour: int = 0
    plain: bool = False


def check_sides(size: tuple[int, int], *, where: str) -> None:
    """Refuse a head that promises no pixels.

    Args:
      size: (width, height).
      where: named in the error.

    Raises:
      FireforgeError: IMG_CORRUPT.
    """
    if min(size) < 1:
        raise FireforgeError("IMG_CORRUPT", f"the head promises {size[0]} x {size[1]} px", where=where)
