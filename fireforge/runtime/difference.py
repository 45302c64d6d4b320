# SPDX-License-Identifier: Apache-2.0
"""A small picture of where two arrays differ: what was wanted, what came, and the difference."""

from __future__ import annotations

import base64

import numpy as np

from fireforge.base.pixels import encode_png

SIDE = 72  # px that a panel's longer side has at most, and about which a smaller one is enlarged to
GAP = 4  # white px between panels
ROWS = 64  # of outputs that are shown


def difference_png(want: np.ndarray, got: np.ndarray) -> str:
    """Three panels beside each other: wanted, given, and the difference, black where there is none.

    Args:
      want: (H, W, C) of a picture, (C, H, W) of an input, or (N, K) of outputs, a row each.
      got: the same of the other side; it may have another shape.

    Returns:
      A PNG in base64, of a few thousand bytes.
    """
    ends = _ends(want) if want.dtype != np.uint8 else (0.0, 255.0)
    panels = [_panel(array, ends) for array in (want, got)]
    if want.shape == got.shape:
        apart = np.abs(np.nan_to_num(want.astype(np.float64) - got.astype(np.float64)))
        panels.append(_panel(apart, (0.0, max(float(apart.max(initial=0.0)), 1e-12))))
    high = max(panel.shape[0] for panel in panels)
    row: list[np.ndarray] = []
    for panel in panels:
        below = np.full((high - panel.shape[0], panel.shape[1], 3), 255, np.uint8)
        row += [np.concatenate([panel, below]), np.full((high, GAP, 3), 255, np.uint8)]
    return base64.b64encode(encode_png(np.concatenate(row[:-1], axis=1))).decode()


def _ends(array: np.ndarray) -> tuple[float, float]:
    finite = array[np.isfinite(array)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _panel(array: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """uint8 (H, W, 3): the least number black, the greatest white."""
    if array.ndim == 3 and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    array = array[:ROWS] if array.ndim == 2 else array
    array = array if array.size else np.zeros((1, 1))
    array = array[:, :, None] if array.ndim == 2 else array
    share = (np.nan_to_num(array.astype(np.float64)) - ends[0]) / max(ends[1] - ends[0], 1e-12)
    grey = np.rint(np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)
    if grey.shape[2] != 3:
        grey = grey[:, :, :1].repeat(3, axis=2)
    thin = max(1, -(-max(grey.shape[:2]) // SIDE))
    grey = grey[::thin, ::thin]
    wide = max(1, SIDE // max(grey.shape[:2]))
    return grey.repeat(wide, axis=0).repeat(wide, axis=1)
