# SPDX-License-Identifier: Apache-2.0
"""Several files mapped behind each other, as one array: what Python's mmap does not offer by itself."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Sequence

import numpy as np

FIXED = 0x10  # of mmap(2) on Linux: map at the very place that is named
NO_RESERVE = 0x4000  # likewise: set no memory aside


def join(handles: Sequence[int]) -> np.ndarray | None:
    """One array over some files, without reading or copying them.

    A stretch of addresses is set aside, and each file is laid over its place in it, copy on write.

    Args:
      handles: of open files; each but the last must be a whole number of pages.

    Returns:
      uint8 (B,); None where the system or a file's length does not allow it.
    """
    sizes = [os.fstat(handle).st_size for handle in handles]
    if sys.platform != "linux" or any(size % mmap.PAGESIZE or not size for size in sizes[:-1]):
        return None
    try:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
        area = mmap.mmap(-1, sum(sizes), flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        call = ctypes.CDLL(None, use_errno=True).mmap
    except (OSError, ValueError, AttributeError):
        return None
    call.restype = ctypes.c_void_p
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_longlong)
    joined = np.frombuffer(area, np.uint8)
    place = joined.ctypes.data
    for handle, size in zip(handles, sizes):
        if call(place, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | FIXED, handle, 0) != place:
            return None
        place += size
    return joined
