# SPDX-License-Identifier: Apache-2.0
"""Datasets that `fireforge pack` wrote as shards."""

from __future__ import annotations

import os

from fireforge.base.errors import FireforgeError
from fireforge.data.dataset import Dataset, Known, check_classes
from fireforge.data.formats.format import Format
from fireforge.data.shards.layout import INDEX
from fireforge.data.shards.place import is_unfinished
from fireforge.data.shards.stored import Stored

ACCEPTS = "a folder that fireforge pack wrote: index.ffs and its shards"


def open_shards(source: str) -> Dataset:
    """The pictures of a packed dataset, in the order in which they were packed; no picture is read.

    Args:
      source: the folder, or its index.

    Returns:
      The dataset; what was skipped and noted when it was packed is told again.

    Raises:
      FireforgeError: BAD_SHARDS, BAD_SHARD or ONE_CLASS.
    """
    folder = _folder(source)
    if is_unfinished(folder):
        raise FireforgeError(
            "BAD_SHARDS",
            "packing has not ended here",
            where=source,
            do="fireforge pack once more, from the original data",
        )
    stored = Stored(folder)
    index = stored.index
    check_classes(index.labels, where=source)
    return Dataset(
        format="shards",
        source=source,
        labels=index.labels,
        samples=index.samples,
        skipped=index.skipped,
        notes=index.notes,
        reader=stored,
        known=Known(sha256=index.head.sha256.hex(), digests=index.digests),
    )


def _folder(source: str) -> str:
    return os.path.dirname(source) or "." if os.path.basename(source) == INDEX else source


def _recognise(source: str) -> bool:
    folder = os.path.expanduser(_folder(source))
    return os.path.isdir(folder) and (os.path.lexists(os.path.join(folder, INDEX)) or is_unfinished(folder))


SHARDS = Format(name="shards", accepts=ACCEPTS, recognise=_recognise, open=open_shards)
