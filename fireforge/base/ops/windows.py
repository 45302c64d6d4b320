# SPDX-License-Identifier: Apache-2.0
"""Sliding windows along the spatial axes: their number, and the windows themselves as a view."""

from __future__ import annotations

import numpy as np

from fireforge.base.graph import Dim, Shape
from fireforge.base.ops.rules import bad_attr, bad_shape


def check_window(kernel: tuple[int, ...], strides: tuple[int, ...], pads: tuple[int, ...], shape: Shape) -> None:
    """Check the lengths and ranges of the attributes of a convolution or pooling.

    Args:
      kernel: kernel_shape, one size a spatial axis.
      strides: one step a spatial axis.
      pads: begins of all spatial axes, then ends.
      shape: input (N, C, spatial...).

    Raises:
      FireforgeError: BAD_SHAPE, if the input has another rank; BAD_GRAPH, if an attribute has another length or range.
    """
    rank = len(kernel)
    if len(shape) != rank + 2:
        bad_shape(f"input {shape} with kernel {kernel}: needs (N, C) and {rank} spatial sizes")
    if len(strides) != rank or len(pads) != 2 * rank:
        bad_attr(f"kernel_shape {kernel}, strides {strides}, pads {pads}", allowed=f"{rank} strides, {2 * rank} pads")
    if rank == 0 or min(kernel) < 1 or min(strides) < 1 or min(pads) < 0:
        bad_attr(f"kernel_shape {kernel}, strides {strides}, pads {pads}", allowed="kernel, strides >= 1, pads >= 0")


def count_windows(size: Dim, extent: int, stride: int, pads: tuple[int, int], ceil: bool = False) -> int:
    """Number of windows along one axis.

    With ceil, a last window that hangs over the end counts, unless it would start in the padding behind the input.

    Args:
      size: input size.
      extent: window size with its dilation.
      stride: step between windows.
      pads: padding before and behind.
      ceil: round up.

    Returns:
      The number, at least 1.

    Raises:
      FireforgeError: BAD_SHAPE, if the size is a symbol or no window fits.
    """
    if isinstance(size, str):
        bad_shape(f"spatial size {size} is a symbol; windows need a number")
    room = size + pads[0] + pads[1] - extent
    if room < 0:
        bad_shape(f"window of {extent} does not fit size {size} with pads {pads}")
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + pads[0] else count


def padded(x: np.ndarray, pads: tuple[int, ...], value: float) -> np.ndarray:
    """The array with constant padding on its spatial axes (all but the first two).

    Args:
      x: (N, C, spatial...).
      pads: begins of all spatial axes, then ends.
      value: what to put there.

    Returns:
      The padded array, same dtype.
    """
    rank = len(pads) // 2
    if not any(pads):
        return x
    widths = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:])]
    return np.pad(x, widths, constant_values=value)


def windows(x: np.ndarray, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]) -> np.ndarray:
    """All windows of a padded array, as a view.

    Args:
      x: (N, C, spatial...), padded already.
      kernel: window sizes.
      strides: steps between windows.
      dilations: steps within a window.

    Returns:
      (N, C, positions..., kernel...), same dtype.
    """
    rank = len(kernel)
    extents = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations))
    view = np.lib.stride_tricks.sliding_window_view(x, extents, axis=tuple(range(2, 2 + rank)))
    keep = (slice(None), slice(None))
    return view[(*keep, *(slice(None, None, s) for s in strides), *(slice(None, None, d) for d in dilations))]
