# SPDX-License-Identifier: Apache-2.0
"""pack: any dataset as one npz file, with the parts that a build with the same seed would use."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.progress import Progress, silent
from fireforge.base.trial import DataRef
from fireforge.base.units import show_bytes
from fireforge.data.check import drop_broken
from fireforge.data.open import open_dataset
from fireforge.data.pack import write_npz
from fireforge.data.split import split


def pack(data: str, out: str | Path, *, seed: int = 0, progress: Progress = silent) -> list[str]:
    """Write a dataset as npz, which every verb reads without the package or folder that it came from.

    Args:
      data: a path, a URL or a known name.
      out: the .npz file.
      seed: of the split, as for `build`.
      progress: receives updates.

    Returns:
      Lines that say what was written.
    """
    dataset = drop_broken(open_dataset(data, progress=progress))
    parts = split(dataset, DataRef(source=data, seed=seed))
    path = write_npz(dataset, out, parts=parts, progress=progress)
    counts = ", ".join(f"{name} {count:,}" for name, count in parts.counts().items())
    return [f"{path}: {counts}; {show_bytes(path.stat().st_size)}"]
