# SPDX-License-Identifier: Apache-2.0
"""bench: files side by side on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fireforge.runtime.bench import BenchTable
from fireforge.runtime.bench import bench as time_files

MOST_ROUNDS = 100_000  # the time ends a bench, not the rounds


def bench(models: Sequence[str | Path], *, seconds: float = 3.0, threads: int = 1, batch: int = 1) -> BenchTable:
    """Time files in interleaved rounds, so that a drifting clock hits all of them alike.

    Args:
      models: files or run folders.
      seconds: for each.
      threads: that one operator may use.
      batch: pictures at once.

    Returns:
      The table: a row a file, with the ratio to the fastest.
    """
    return time_files(models, rounds=MOST_ROUNDS, seconds=seconds * len(models), threads=threads, batch=batch)
