# SPDX-License-Identifier: Apache-2.0
"""Freed memory is kept by the process, so that a step does not ask the system for the same pages again."""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # names of glibc's malloc.h
MOST_BYTES = 2**31 - 1  # what mallopt takes: freed memory up to it stays with the process


def keep_freed() -> bool:
    """Let this process keep what it frees; only for processes that train and end.

    glibc hands every block of 32 MiB or more back to the system at once, and takes it again at the next step, when the
    kernel clears each of its pages: with large pictures that is up to half of a training's time.

    Returns:
      Whether the C library is one that can.

    Source:
      mallopt(3): M_MMAP_MAX, M_TRIM_THRESHOLD.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, MOST_BYTES))
