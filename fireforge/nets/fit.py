# SPDX-License-Identifier: Apache-2.0
"""How far a network may shrink a picture: strides and pools that presets for small images take."""

from __future__ import annotations

STRIDES = ((128, 4), (64, 2), (0, 1))  # shorter side of the picture from which a first layer has this stride
LEAST_PX = 3  # side of the map below which a preset pools no more


def stem_stride(input_shape: tuple[int, int, int]) -> int:
    """Stride of a first layer that keeps the work of large pictures small.

    Args:
      input_shape: (C, H, W).

    Returns:
      4 from 128 px on, 2 from 64 px on, else 1.
    """
    return next(stride for least, stride in STRIDES if min(input_shape[1:]) >= least)


def halvings(input_shape: tuple[int, int, int], most: int) -> int:
    """How often a map may be halved behind such a first layer.

    Args:
      input_shape: (C, H, W).
      most: pools that the network has on a large picture.

    Returns:
      0 to most, so that a side of LEAST_PX stays, or the whole where the picture is smaller.

    Example:
      >>> halvings((3, 32, 32), 3), halvings((3, 8, 8), 3), halvings((3, 96, 96), 3)
      (3, 1, 3)
    """
    side, count = -(-min(input_shape[1:]) // stem_stride(input_shape)), 0
    while count < most and side // 2 >= LEAST_PX:
        side, count = side // 2, count + 1
    return count
