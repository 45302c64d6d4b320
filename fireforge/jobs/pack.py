# SPDX-License-Identifier: Apache-2.0
"""pack: any dataset as one npz file or as shards, with the parts that a build with the same seed would use."""

from __future__ import annotations

from pathlib import Path

from fireforge.base.errors import FireforgeError
from fireforge.base.progress import Progress, silent
from fireforge.base.trial import DataRef
from fireforge.base.units import show_bytes
from fireforge.data.check import drop_broken
from fireforge.data.dataset import Dataset
from fireforge.data.open import open_dataset
from fireforge.data.pack import write_npz
from fireforge.data.shards.place import refuse_taken
from fireforge.data.shards.writer import Packed, Packing, write_shards
from fireforge.data.split import Parts, split


def pack(
    data: str, out: str | Path, *, seed: int = 0, packing: Packing | None = None, progress: Progress = silent
) -> list[str]:
    """Write a dataset as npz or as shards, which every verb reads without the package or folder that it came from.

    Args:
      data: a path, a URL or a known name.
      out: an .npz file, or a folder whose name ends in .shards or that is there and empty.
      seed: of the split, as for `build`.
      packing: of shards; None for decoded pictures as they are.
      progress: receives updates.

    Returns:
      Lines that say what was written.

    Raises:
      FireforgeError: BAD_NAME; OUT_TAKEN; BAD_USAGE, where an npz is asked for and a packing of shards given; or what
        writing raises.
    """
    out = Path(out)
    as_npz = out.suffix.lower() == ".npz" and not out.is_dir()
    if not as_npz and out.suffix.lower() != ".shards" and not out.is_dir():
        raise FireforgeError("BAD_NAME", f"a packed dataset called {out.name!r}", allowed="name.npz or name.shards")
    if as_npz and packing not in (None, Packing()):
        raise FireforgeError("BAD_USAGE", "an .npz has no use for --size and --jpeg", do="a name that ends in .shards")
    refuse_taken(out, data)
    dataset = drop_broken(open_dataset(data, progress=progress), progress=progress)
    parts = split(dataset, DataRef(source=data, seed=seed))
    if as_npz:
        path = write_npz(dataset, out, parts=parts, progress=progress)
        return [f"{path}: {_counts(parts)}; {show_bytes(path.stat().st_size)}"]
    done = write_shards(dataset, out, parts=parts, packing=packing or Packing(), progress=progress)
    return _told(done, dataset, parts)


def _told(done: Packed, dataset: Dataset, parts: Parts) -> list[str]:
    """What was packed: how many, of what kind, and nothing lost."""
    head, ledger = done.stored.index.head, dataset.ledger()
    kind = "x".join(map(str, head.shape)) + " uint8" if done.stored.shape else "image files"
    shards = f"{head.shards:,} shard" + "s" * (head.shards > 1)
    lines = [f"{done.stored.folder}: {_counts(parts)}; {kind} in {shards}, {show_bytes(done.bytes)}"]
    lines.append(", ".join(f"{count:,} {what}" for what, count in done.made.items()))
    why = ", ".join(f"{count:,} {code}" for code, count in ledger["skipped"].items())
    lost = f"{ledger['found'] - ledger['used']:,} skipped" + (f" ({why})" if why else "")
    lines.append(f"{ledger['found']:,} found = {ledger['used']:,} used + {lost}")
    return lines


def _counts(parts: Parts) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in parts.counts().items())
