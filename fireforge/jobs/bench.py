# SPDX-License-Identifier: Apache-2.0
"""bench: files side by side on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fireforge.runtime.bench import BenchRow
from fireforge.runtime.bench import bench as time_files
from fireforge.runtime.predictor import model_file


def bench(models: Sequence[str | Path], *, seconds: float = 3.0, threads: int = 1, batch: int = 1) -> list[BenchRow]:
    """Time files in interleaved rounds, so that a drifting clock hits all of them alike.

    Args:
      models: files or run folders.
      seconds: for each.
      threads: that one operator may use.
      batch: pictures at once.

    Returns:
      A row a file, with the ratio to the fastest.
    """
    return time_files([model_file(model) for model in models], seconds=seconds, threads=threads, batch=batch)
