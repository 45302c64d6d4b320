# SPDX-License-Identifier: Apache-2.0
"""Histograms of oriented gradients, for many pictures at once."""

from __future__ import annotations

import numpy as np

BINS = 9  # unsigned orientations of 20 degrees each
BLOCK = 2  # cells on each side of a block
CLIP = 0.2
EPSILON = 1e-5
REACH = 255  # greatest difference of two pixels
CHUNK = 256  # pictures whose gradients are in memory at once


def hog(pictures: np.ndarray, *, cell_px: int) -> np.ndarray:
    """Features of pictures: gradients by orientation in cells, normalized over blocks of cells.

    The gradient is [-1, 0, 1] along each axis, 0 at the border, of the channel where it is greatest. Each pixel votes
    with its magnitude for one of nine orientations of its cell; every 2 x 2 cells make a block, which is divided by its
    norm, clipped at 0.2 and divided by its norm again (L2-Hys). Pixels behind the last whole cell do not vote.

    Args:
      pictures: uint8 (N, C, H, W).
      cell_px: side of a cell, at most the shorter side.

    Returns:
      float32 (N, D), D = blocks down x blocks across x 2 x 2 x 9; blocks are smaller where there is one cell only.

    Source:
      Dalal and Triggs 2005. Without their linear interpolation of votes between neighbouring bins and cells, without
      the Gaussian window of a block and without the square root of the pixels, as scikit-image has it too.
    """
    return np.concatenate(
        [_blocks(_cells(pictures[i : i + CHUNK], cell_px)) for i in range(0, max(1, len(pictures)), CHUNK)]
    )


def _cells(pictures: np.ndarray, cell_px: int) -> np.ndarray:
    """Histograms of cells, float32 (N, rows, columns, BINS): the mean vote of a cell's pixels."""
    count, channels, high, wide = pictures.shape
    rows, columns = high // cell_px, wide // cell_px
    down, across = np.zeros(pictures.shape, np.int16), np.zeros(pictures.shape, np.int16)
    np.subtract(pictures[:, :, 2:], pictures[:, :, :-2], out=down[:, :, 1:-1], dtype=np.int16)
    np.subtract(pictures[:, :, :, 2:], pictures[:, :, :, :-2], out=across[:, :, :, 1:-1], dtype=np.int16)
    down, across = (part[:, :, : rows * cell_px, : columns * cell_px] for part in (down, across))
    votes = np.hypot(down, across, dtype=np.float32)
    if channels > 1:
        strongest = votes.argmax(axis=1)[:, None]
        down, across, votes = (np.take_along_axis(part, strongest, axis=1) for part in (down, across, votes))
    bins = TABLE[down[:, 0] + REACH, across[:, 0] + REACH]
    places = np.arange(rows)[:, None] * columns + np.arange(columns)
    places = places.repeat(cell_px, axis=0).repeat(cell_px, axis=1) + np.arange(count)[:, None, None] * rows * columns
    total = np.bincount((places * BINS + bins).ravel(), votes.ravel(), count * rows * columns * BINS)
    return (total / cell_px**2).astype(np.float32).reshape(count, rows, columns, BINS)


def _blocks(cells: np.ndarray) -> np.ndarray:
    """All blocks of cells (N, rows, columns, BINS), normalized: float32 (N, D)."""
    count, rows, columns, _ = cells.shape
    size = min(BLOCK, rows), min(BLOCK, columns)
    number = (rows - size[0] + 1) * (columns - size[1] + 1)
    windows = np.lib.stride_tricks.sliding_window_view(cells, size, axis=(1, 2))  # N, down, across, BINS, 2, 2
    blocks = windows.transpose(0, 1, 2, 4, 5, 3).reshape(count, number, size[0] * size[1] * BINS)
    blocks = np.minimum(_unit(blocks), CLIP)
    return _unit(blocks).reshape(count, number * blocks.shape[2])


def _unit(blocks: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.einsum("nbd,nbd->nb", blocks, blocks) + np.float32(EPSILON**2))
    return np.asarray(blocks / norms[:, :, None])


def _table() -> np.ndarray:
    """The orientation's bin for each pair of differences, int64 (511, 511): by rows down, by columns across."""
    steps = np.arange(-REACH, REACH + 1)
    degrees = np.rad2deg(np.arctan2(steps[:, None], steps[None, :])) % 180
    return np.asarray((degrees // (180 / BINS)).astype(np.int64) % BINS)


TABLE = _table()
