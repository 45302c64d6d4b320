# SPDX-License-Identifier: Apache-2.0
"""inspect: what a dataset holds, before anything is trained."""

from __future__ import annotations

from fireforge.base.progress import Progress, silent
from fireforge.data.inspect import Inspection
from fireforge.data.inspect import inspect as look_at
from fireforge.data.open import open_dataset


def inspect(data: str, *, check: bool = True, seed: int = 0, progress: Progress = silent) -> Inspection:
    """Classes, counts, sizes, what the answers are, duplicates, unusable files, and the split that a build would make.

    Args:
      data: a path, a URL or a known name.
      check: decode every picture whole, which finds the broken ones.
      seed: of the split.
      progress: receives updates.

    Returns:
      The inspection; found = used + skipped.
    """
    return look_at(open_dataset(data, progress=progress), check=check, seed=seed, progress=progress)
