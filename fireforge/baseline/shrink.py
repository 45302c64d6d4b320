# SPDX-License-Identifier: Apache-2.0
"""Pictures made smaller, for baselines whose work grows with every pixel."""

from __future__ import annotations

import numpy as np


def shrink(pictures: np.ndarray, most_px: int) -> np.ndarray:
    """Pictures averaged over square blocks until no side is over a limit; margins that fill no block are cut off.

    Args:
      pictures: uint8 (N, C, H, W).
      most_px: greatest side.

    Returns:
      uint8 (N, C, h, w), the same array where it is small already. The shorter side keeps at least one pixel, which
      may leave a very long picture longer than the limit.
    """
    count, channels, high, wide = pictures.shape
    block = min(-(-max(high, wide) // most_px), high, wide)
    if block <= 1:
        return pictures
    rows, columns = high // block, wide // block
    out = np.empty((count, channels, rows, columns), np.uint8)
    for i in range(count):
        cut = pictures[i, :, : rows * block, : columns * block].reshape(channels, rows, block, columns, block)
        out[i] = np.rint(cut.mean(axis=(2, 4)))
    return out


def shrink_words(before: np.ndarray, after: np.ndarray) -> tuple[str, ...]:
    """A note on the new size; none where it is the old one.

    Args:
      before: (N, C, H, W).
      after: (N, C, h, w).

    Returns:
      No line or one.
    """
    if before.shape[2:] == after.shape[2:]:
        return ()
    old, new = (" x ".join(map(str, pictures.shape[2:])) for pictures in (before, after))
    return (f"pictures of {old} averaged down to {new} px",)
