# SPDX-License-Identifier: Apache-2.0
"""Pictures of equal size in arrays, one array a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fireforge.base.errors import FireforgeError


@dataclass(frozen=True, eq=False)
class Block:
    """The pictures of one file.

    Args:
      name: of the file.
      pixels: uint8 (N, H, W) or (N, 3, H, W).
    """

    name: str
    pixels: np.ndarray


def read_block(blocks: tuple[Block, ...], sample_id: int) -> np.ndarray:
    """A picture by its number over all blocks.

    Args:
      blocks: one after the other.
      sample_id: from 0.

    Returns:
      uint8 array (H, W) or (H, W, 3).

    Raises:
      FireforgeError: NO_SAMPLE, past the last picture.
    """
    for block in blocks:
        if sample_id < len(block.pixels):
            picture = block.pixels[sample_id]
            return np.ascontiguousarray(picture if picture.ndim == 2 else picture.transpose(1, 2, 0))
        sample_id -= len(block.pixels)
    raise FireforgeError("NO_SAMPLE", "past the last picture")
