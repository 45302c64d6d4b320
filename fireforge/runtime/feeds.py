# SPDX-License-Identifier: Apache-2.0
"""Whether arrays are what a session's inputs ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fireforge.base.errors import FireforgeError
from fireforge.base.graph import TensorType


def check_feeds(inputs: Sequence[TensorType], feeds: Mapping[str, np.ndarray]) -> None:
    """Hold arrays against a session's inputs.

    Args:
      inputs: names, dtypes and shapes; a symbol stands for one size, at least 1, throughout.
      feeds: input name to array.

    Raises:
      FireforgeError: BAD_INPUT_TENSOR, if an array is absent, unknown, or of another dtype or shape.
    """
    known = {tensor.name for tensor in inputs}
    for name in feeds:
        if name not in known:
            raise FireforgeError("BAD_INPUT_TENSOR", "no such input", where=str(name), allowed=", ".join(sorted(known)))
    sizes: dict[str, int] = {}
    for tensor in inputs:
        wanted = f"{tensor.dtype} {tensor.shape}"
        array = feeds.get(tensor.name)
        if array is None:
            raise FireforgeError("BAD_INPUT_TENSOR", "input is absent", where=tensor.name, allowed=wanted)
        if not _fits(tensor, array, sizes):
            got = f"{array.dtype} array of shape {array.shape}"
            raise FireforgeError("BAD_INPUT_TENSOR", got, where=tensor.name, allowed=wanted)


def _fits(tensor: TensorType, array: np.ndarray, sizes: dict[str, int]) -> bool:
    if str(array.dtype) != tensor.dtype or array.ndim != len(tensor.shape) or 0 in array.shape:
        return False
    pairs = zip(tensor.shape, array.shape)
    return all((sizes.setdefault(dim, size) if isinstance(dim, str) else dim) == size for dim, size in pairs)
